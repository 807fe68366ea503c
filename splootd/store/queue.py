"""The queue of one server: who is next, how it ended, and what people wish."""

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from splootd.bus import Bells
from splootd.core.failure import Verdict
from splootd.core.fault import Fault
from splootd.core.item import Leased, Priority, Version
from splootd.store import answers
from splootd.store.answers import Accepted
from splootd.store.claims import Claims
from splootd.store.database import Database
from splootd.store.queries import SQL
from splootd.store.rows import json_list

NORMAL_SHARE = 0.8  # of the claims, when both normal and background items wait
BATCH_MAX = 1_000  # items changed in one transaction
STOPPED = "The daemon stopped while it was being sent."
FORGOTTEN = "You took it out of the queue."


@dataclass(frozen=True, slots=True)
class Embedding:
    """An item whose bytes the server has, and works on."""

    item_id: int
    asset_id: str
    accepted_at: float


class Queue:
    """Times are seconds since the epoch. `boot` names this run of the daemon, without a colon.

    The answers to a claim return False, and have changed nothing, when the item was no longer ours.
    """

    def __init__(self, database: Database, *, server_id: int, boot: str, bells: Bells) -> None:
        self._database = database
        self._server_id = server_id
        self._boot = boot
        self._bells = bells
        self._claims = Claims(database, server_id=server_id, boot=boot, claimed=lambda lost: self._ring(work=lost))

    # Who is next.

    async def claim(self, shard: int, *, now: float, chance: float) -> Leased | None:
        """Lease the next item of a shard: urgent first, then normal or background as `chance` (0 to 1) falls."""
        return _only(await self.claim_group(shard, limit=1, now=now, chance=chance))

    async def claim_group(self, shard: int, *, limit: int, now: float, chance: float) -> list[Leased]:
        """Lease the next items of a shard, at most `limit`, in one transaction. `chance` falls once for all of them."""
        later = [Priority.NORMAL, Priority.BACKGROUND]
        if chance >= NORMAL_SHARE:
            later.reverse()
        return await self._claims.claim(shard, later=later, limit=limit, now=now)

    async def claim_urgent(self, *, now: float) -> Leased | None:
        """Lease the next urgent item of any shard."""
        return _only(await self.claim_urgent_group(limit=1, now=now))

    async def claim_urgent_group(self, *, limit: int, now: float) -> list[Leased]:
        """Lease the next urgent items of any shards, at most `limit`, in one transaction."""
        return await self._claims.claim(None, limit=limit, now=now)

    async def promote(self, *, now: float) -> int:
        """Make the delayed items whose time has come claimable. Returns how many."""
        promoted = 0
        while rows := await self._change("promote", now=now, limit=BATCH_MAX):
            promoted += len(rows)
            self._ring(work=True)
        return promoted

    async def next_due(self) -> float | None:
        """When the first of the delayed items is due."""
        return await self._time("next_due")

    async def bound_waits(self, *, now: float, delay_max_s: float, ask_max_s: float) -> int:
        """The clock was set back: what would wait longer than these times is due now. Returns how many."""
        bounded = 0
        for query, limit_s in (("bound_delays", delay_max_s), ("bound_embeddings", ask_max_s)):
            while rows := await self._change(query, now=now, latest=now + limit_s, limit=BATCH_MAX):
                bounded += len(rows)
        self._ring(work=bounded > 0, embedding=bounded > 0)
        return bounded

    async def recover(self, *, now: float) -> int:
        """At start: what any other boot had leased waits again, whichever server it was for. Returns how many."""

        def op(connection: sqlite3.Connection) -> int:
            values = {"boot": self._boot, "reason": STOPPED, "superseded": answers.SUPERSEDED, "now": now}
            rows = connection.execute(SQL["recover"], values).fetchall()
            for row in rows:
                connection.execute(SQL["note_attempt"], {**dict(row), "now": now, "verdict": Verdict.WAIT})
            return len(rows)

        recovered = await self._database.write(op)
        self._ring(work=recovered > 0)
        return recovered

    # How it ended.

    async def accept(
        self, leased: Leased, *, asset_id: str, sha256: bytes, duplicate: bool, embedded: bool, now: float
    ) -> bool:
        """The library has the bytes (201 or 409). The ledger learns it in the same transaction."""
        values = self._fence(leased, now=now, asset_id=asset_id, sha256=sha256, duplicate=duplicate, embedded=embedded)
        ours = await self._database.write(lambda connection: answers.accepted(connection, values))
        self._ring(embedding=ours and not embedded)
        return ours

    async def accept_group(self, group: Sequence[Accepted], *, now: float) -> list[bool]:
        """`accept` for each of at most BATCH_MAX items, in one transaction. Says of each whether it was still ours."""
        if len(group) > BATCH_MAX:
            raise ValueError(f"{len(group)} items in one group; {BATCH_MAX} are allowed")
        every = {"server_id": self._server_id, "now": now}
        ours = await self._database.write(lambda connection: answers.all_accepted(connection, group, every))
        self._ring(embedding=any(is_ours and not each.embedded for is_ours, each in zip(ours, group, strict=True)))
        return ours

    async def retry(self, leased: Leased, *, fault: Fault, reason: str, next_at: float, now: float) -> bool:
        """Its own try failed: it counts, and comes again at `next_at`."""
        return await self._fail(leased, Verdict.RETRY, fault=fault, reason=reason, next_at=next_at, now=now)

    async def wait(
        self,
        leased: Leased,
        *,
        fault: Fault,
        reason: str,
        next_at: float | None,
        now: float,
        version: Version | None = None,
    ) -> bool:
        """Not the item's fault, or handed back: not counted. `version` is what the file has become meanwhile."""
        told = {"fault": fault, "reason": reason, "next_at": next_at}
        return await self._fail(leased, Verdict.WAIT, now=now, version=version, **told)

    async def bury(self, leased: Leased, *, fault: Fault, reason: str, now: float) -> bool:
        """To the dead letters."""
        return await self._fail(leased, Verdict.BURY, fault=fault, reason=reason, now=now)

    async def skip(self, leased: Leased, *, fault: Fault, reason: str, now: float) -> bool:
        """Not to be sent, and nobody needs to look."""
        return await self._fail(leased, Verdict.SKIP, fault=fault, reason=reason, now=now)

    async def vanish(self, leased: Leased, *, reason: str, now: float) -> bool:
        """The file is no longer there. One that was only renamed since the claim waits again instead."""
        return await self._fail(leased, Verdict.DROP, fault=Fault.VANISHED, reason=reason, now=now)

    async def pardon(self, item_ids: Collection[int], *, now: float) -> None:
        """The server was sick, not they: take back one failed try of each that waits."""
        await self._change("pardon", ids=json_list(item_ids), now=now)

    # What the server still works on.

    async def due_embeddings(self, *, now: float, limit: int) -> list[Embedding]:
        """What the server is to be asked about now, the oldest first."""
        return [Embedding(*row) for row in await self._rows("due_embeddings", now=now, limit=limit)]

    async def embeddings_of(self, asset_ids: Collection[str]) -> list[Embedding]:
        """What the server still works on, of these assets."""
        return [Embedding(*row) for row in await self._rows("embeddings_of", asset_ids=json_list(asset_ids))]

    async def next_embedding_due(self) -> float | None:
        """When the server is to be asked next."""
        return await self._time("next_embedding_due")

    async def ask_again(self, times: Mapping[int, float]) -> None:
        """The server is still working on these: item id to when it is asked next."""
        values = [{"id": item_id, "next_at": at, "server_id": self._server_id} for item_id, at in times.items()]
        await self._database.write(lambda connection: connection.executemany(SQL["ask_again"], values).rowcount)

    async def finish(self, item_ids: Collection[int], *, now: float) -> None:
        """These are searchable. What is not embedding stays as it is."""

        def op(connection: sqlite3.Connection) -> None:
            values = {"ids": json_list(item_ids), "server_id": self._server_id, "now": now}
            rows = connection.execute(SQL["finish"], values).fetchall()
            connection.executemany(SQL["content_is_ready"], [{**values, "sha256": row["sha256"]} for row in rows])

        await self._database.write(op)
        self._ring()

    async def embedding_failed(self, item_id: int, *, fault: Fault, reason: str, now: float) -> None:
        """The library has it, but could not make it searchable: to the dead letters."""
        await self._give_up(item_id, Verdict.BURY, fault=fault, reason=reason, now=now)

    async def removed(self, item_id: int, *, reason: str, now: float) -> None:
        """Removed on the server before it was searchable: it stays removed."""
        await self._give_up(item_id, Verdict.SKIP, fault=Fault.REMOVED, reason=reason, now=now)

    # What people wish.

    async def revive(
        self, *, ids: Collection[int] = (), fault: Fault | None = None, all_dead: bool = False, now: float
    ) -> list[int]:
        """A fresh start before all others. Returns those that were revived.

        `ids` may be dead, gone or skipped; `fault` names the dead letters of one kind, `all_dead` all of them.
        """
        revived = await self._change_all("revive", ids, now=now)
        if fault is not None or all_dead:
            query = "dead_after" if all_dead else "dead_of_fault_after"
            after = 0
            while dead := await self._ids(query, fault=fault, after=after, limit=BATCH_MAX):
                revived += await self._change_all("revive", dead, now=now)
                after = dead[-1]
        self._ring(work=bool(revived))
        return revived

    async def bump(self, ids: Collection[int], *, now: float) -> list[int]:
        """To the front: urgent, and claimable now. Returns those that were waiting."""
        bumped = await self._change_all("bump", ids, now=now)
        self._ring(work=bool(bumped))
        return bumped

    async def forget(self, ids: Collection[int], *, now: float) -> list[int]:
        """Out of the queue; never off the disk or the server. Returns those that were in it and not under way."""
        forgotten = await self._change_all("forget", ids, now=now, reason=FORGOTTEN)
        self._ring()
        return forgotten

    async def _fail(
        self, leased: Leased, verdict: Verdict, *, now: float, version: Version | None = None, **values: Any
    ) -> bool:
        fenced = self._fence(leased, now=now, **values)
        ours = await self._database.write(lambda connection: answers.failed(connection, verdict, fenced, version))
        self._ring(work=ours and values.get("next_at") is None)
        return ours

    async def _give_up(self, item_id: int, verdict: Verdict, **values: Any) -> None:
        """An item that was embedding will never be searchable."""
        every = {"id": item_id, "server_id": self._server_id, "verdict": verdict, **values}
        query = "embedding_failed" if verdict is Verdict.BURY else "removed_while_embedding"

        def op(connection: sqlite3.Connection) -> None:
            for row in connection.execute(SQL[query], every).fetchall():
                connection.execute(SQL["note_attempt"], every)
                if verdict is Verdict.SKIP:
                    connection.execute(SQL["content_removed"], {**every, "sha256": row["sha256"]})

        await self._database.write(op)
        self._ring()

    async def _change_all(self, query: str, ids: Collection[int], **values: Any) -> list[int]:
        """In batches, so that no transaction grows with what is asked for."""
        changed: list[int] = []
        for batch in _batches(list(ids)):
            changed += await self._change(query, bulk=True, ids=json_list(batch), **values)
        return changed

    async def _change(self, query: str, *, bulk: bool = False, **values: Any) -> list[int]:
        """The ids of the items that a statement has changed."""
        every = {"server_id": self._server_id, **values}
        rows = await self._database.write(
            lambda connection: connection.execute(SQL[query], every).fetchall(), bulk=bulk
        )
        return [row["id"] for row in rows]

    async def _ids(self, query: str, **values: Any) -> list[int]:
        return [row["id"] for row in await self._rows(query, **values)]

    async def _rows(self, query: str, **values: Any) -> list[sqlite3.Row]:
        every = {"server_id": self._server_id, **values}
        return await self._database.read(lambda connection: connection.execute(SQL[query], every).fetchall())

    async def _time(self, query: str) -> float | None:
        values = {"server_id": self._server_id}
        row = await self._database.read(lambda connection: connection.execute(SQL[query], values).fetchone())
        return cast(float | None, row[0])

    def _fence(self, leased: Leased, **values: Any) -> dict[str, Any]:
        item = leased.item
        return {"id": item.id, "path": item.path, "lease": leased.lease, "server_id": self._server_id, **values}

    def _ring(self, *, work: bool = False, embedding: bool = False) -> None:
        if work:
            self._bells.work.ring()
        if embedding:
            self._bells.embedding.ring()
        self._bells.news.ring()


def _only(leased: Sequence[Leased]) -> Leased | None:
    return leased[0] if leased else None


def _batches(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[start : start + BATCH_MAX] for start in range(0, len(ids), BATCH_MAX))
