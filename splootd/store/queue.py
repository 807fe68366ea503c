"""The queue of one server: claims, completions, embeddings, and commands of the user."""

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from splootd.core.error_code import ErrorCode
from splootd.core.item import Leased, Priority, Version
from splootd.core.retry_policy import RetryAction
from splootd.event_bus import WakeSignals
from splootd.store import completion
from splootd.store.claims import Claims
from splootd.store.completion import Accepted
from splootd.store.database import Database
from splootd.store.queries import SQL
from splootd.store.rows import json_list

NORMAL_SHARE = 0.8  # of the claims, if both normal and background items are pending
BATCH_MAX = 1_000  # items changed in one transaction
STOPPED_MESSAGE = "The daemon stopped during the upload."
CANCELLED_MESSAGE = "You removed this file from the queue."


@dataclass(frozen=True, slots=True)
class PendingEmbedding:
    """An item whose bytes the server has and is still processing, unless the embedding was never requested."""

    item_id: int
    asset_id: str
    accepted_at: float
    is_requested: bool = True


class Queue:
    """Times are seconds since the epoch. `instance_id` identifies this run of the daemon and contains no colon.

    The completions of a lease return False and change nothing if the lease is no longer valid.
    """

    def __init__(self, database: Database, *, server_id: int, instance_id: str, wake_signals: WakeSignals) -> None:
        self._database = database
        self._server_id = server_id
        self._instance_id = instance_id
        self._wake_signals = wake_signals
        self._claims = Claims(
            database,
            server_id=server_id,
            instance_id=instance_id,
            on_claimed=lambda released: self._wake(work=released),
        )

    # Claims and due times.

    async def claim(self, shard: int, *, now: float, chance: float) -> Leased | None:
        """Lease the next item of a shard: urgent first, then normal or background, decided by `chance` (0 to 1)."""
        return _first_or_none(await self.claim_batch(shard, limit=1, now=now, chance=chance))

    async def claim_batch(self, shard: int, *, limit: int, now: float, chance: float) -> list[Leased]:
        """Lease at most `limit` next items of a shard in one transaction. `chance` decides once for all of them."""
        lower_priorities = [Priority.NORMAL, Priority.BACKGROUND]
        if chance >= NORMAL_SHARE:
            lower_priorities.reverse()
        return await self._claims.claim(shard, lower_priorities=lower_priorities, limit=limit, now=now)

    async def claim_urgent(self, *, now: float) -> Leased | None:
        """Lease the next urgent item of any shard."""
        return _first_or_none(await self.claim_urgent_batch(limit=1, now=now))

    async def claim_urgent_batch(self, *, limit: int, now: float) -> list[Leased]:
        """Lease at most `limit` next urgent items of any shard in one transaction."""
        return await self._claims.claim(None, limit=limit, now=now)

    async def make_due(self, *, now: float) -> int:
        """Make delayed items claimable whose time has come. Returns their number."""
        count = 0
        while rows := await self._update("make_due", now=now, limit=BATCH_MAX):
            count += len(rows)
            self._wake(work=True)
        return count

    async def next_due(self) -> float | None:
        """Return the time at which the first delayed item is due."""
        return await self._fetch_time("next_due")

    async def clamp_delays(self, *, now: float, delay_max_s: float, poll_max_s: float) -> int:
        """Make everything due that is delayed beyond these maxima, after the clock was set back. Returns the number."""
        count = 0
        for query, max_s in (("clamp_delays", delay_max_s), ("clamp_polls", poll_max_s)):
            while rows := await self._update(query, now=now, next_at_max=now + max_s, limit=BATCH_MAX):
                count += len(rows)
        self._wake(work=count > 0, embedding=count > 0)
        return count

    async def release_stale(self, *, now: float) -> int:
        """Release the leases of all other instances, for any server. Called at start. Returns their number.

        No timeout decides which lease is stale: this process holds the lock of the state folder, so no other instance
        runs, and a lease with another instance id has no worker.
        """

        def op(connection: sqlite3.Connection) -> int:
            values = {
                "instance_id": self._instance_id,
                "error_message": STOPPED_MESSAGE,
                "superseded_message": completion.SUPERSEDED_MESSAGE,
                "now": now,
            }
            rows = connection.execute(SQL["release_stale"], values).fetchall()
            for row in rows:
                attempt = {**dict(row), "now": now, "action": RetryAction.SNOOZE}
                connection.execute(SQL["insert_attempt"], attempt)
            return len(rows)

        released = await self._database.write(op)
        self._wake(work=released > 0)
        return released

    # Completions of a lease.

    async def accept(
        self,
        leased: Leased,
        *,
        asset_id: str,
        sha256: bytes,
        duplicate: bool,
        embedded: bool,
        now: float,
        embedding_requested: bool = True,
    ) -> bool:
        """Record that the server has the bytes (201 or 409), in the item and in the ledger in one transaction."""
        values = self._fence(
            leased,
            now=now,
            asset_id=asset_id,
            sha256=sha256,
            duplicate=duplicate,
            embedded=embedded,
            embedding_requested=embedding_requested,
        )
        still_leased = await self._database.write(lambda connection: completion.accept_item(connection, values))
        self._wake(embedding=still_leased and not embedded)
        return still_leased

    async def accept_batch(self, batch: Sequence[Accepted], *, now: float) -> list[bool]:
        """Run `accept` for at most BATCH_MAX items in one transaction. Returns for each whether its lease was valid."""
        if len(batch) > BATCH_MAX:
            raise ValueError(f"{len(batch)} items in one batch; at most {BATCH_MAX} are allowed")
        params = {"server_id": self._server_id, "now": now}
        still_leased = await self._database.write(lambda connection: completion.accept_batch(connection, batch, params))
        self._wake(
            embedding=any(is_ours and not each.embedded for is_ours, each in zip(still_leased, batch, strict=True))
        )
        return still_leased

    async def retry(
        self, leased: Leased, *, error_code: ErrorCode, error_message: str, next_at: float, now: float
    ) -> bool:
        """Count a failed attempt and delay the item until `next_at`."""
        return await self._fail(
            leased,
            RetryAction.RETRY,
            error_code=error_code,
            error_message=error_message,
            next_at=next_at,
            now=now,
        )

    async def snooze(
        self,
        leased: Leased,
        *,
        error_code: ErrorCode,
        error_message: str,
        next_at: float | None,
        now: float,
        version: Version | None = None,
    ) -> bool:
        """Return an item to the queue without counting the attempt. `version` is the new version of a changed file."""
        values = {"error_code": error_code, "error_message": error_message, "next_at": next_at}
        return await self._fail(leased, RetryAction.SNOOZE, now=now, version=version, **values)

    async def discard(self, leased: Leased, *, error_code: ErrorCode, error_message: str, now: float) -> bool:
        """Move an item to the dead-letter queue."""
        return await self._fail(
            leased, RetryAction.DISCARD, error_code=error_code, error_message=error_message, now=now
        )

    async def skip(self, leased: Leased, *, error_code: ErrorCode, error_message: str, now: float) -> bool:
        """Skip an item: it is not uploaded and needs no action from the user."""
        return await self._fail(leased, RetryAction.SKIP, error_code=error_code, error_message=error_message, now=now)

    async def file_missing(self, leased: Leased, *, error_message: str, now: float) -> bool:
        """Record that the file is missing. An item that was renamed since the claim returns to the queue instead."""
        return await self._fail(
            leased,
            RetryAction.FILE_MISSING,
            error_code=ErrorCode.FILE_MISSING,
            error_message=error_message,
            now=now,
        )

    async def refund_attempts(self, item_ids: Collection[int], *, now: float) -> None:
        """Refund one failed attempt of each pending item, after a failure of the server."""
        await self._update("refund_attempts", ids=json_list(item_ids), now=now)

    # Embeddings.

    async def due_embeddings(self, *, now: float, limit: int) -> list[PendingEmbedding]:
        """Return the embeddings whose poll is due, the oldest first."""
        return [_pending_embedding(row) for row in await self._fetch("due_embeddings", now=now, limit=limit)]

    async def embedding_durations(self, *, limit: int) -> list[float]:
        """Return how long the most recent embeddings took, in seconds, the newest first."""
        return [row[0] for row in await self._fetch("embedding_durations", limit=limit)]

    async def embeddings_by_asset_id(self, asset_ids: Collection[str]) -> list[PendingEmbedding]:
        """Return the pending embeddings of these assets."""
        rows = await self._fetch("embeddings_by_asset_id", asset_ids=json_list(asset_ids))
        return [_pending_embedding(row) for row in rows]

    async def count_pending_embeddings(self, *, limit: int) -> int:
        """Return the number of pending embeddings, counted up to `limit`."""
        (row,) = await self._fetch("count_pending_embeddings", limit=limit)
        return int(row[0])

    async def next_embedding_due(self) -> float | None:
        """Return the time of the next embedding poll."""
        return await self._fetch_time("next_embedding_due")

    async def schedule_polls(self, times: Mapping[int, float]) -> None:
        """Set the time of the next poll by item id, for embeddings that are not ready."""
        values = [{"id": item_id, "next_at": at, "server_id": self._server_id} for item_id, at in times.items()]
        await self._database.write(lambda connection: connection.executemany(SQL["schedule_poll"], values).rowcount)

    async def finish(self, item_ids: Collection[int], *, now: float) -> None:
        """Mark items as searchable. Items that are not embedding stay unchanged."""

        def op(connection: sqlite3.Connection) -> None:
            values = {"ids": json_list(item_ids), "server_id": self._server_id, "now": now}
            rows = connection.execute(SQL["finish"], values).fetchall()
            contents = [{**values, "sha256": row["sha256"]} for row in rows]
            connection.executemany(SQL["mark_content_embedded"], contents)

        await self._database.write(op)
        self._wake()

    async def discard_embedding(self, item_id: int, *, error_code: ErrorCode, error_message: str, now: float) -> None:
        """Move an item to the dead-letter queue whose content the server could not make searchable."""
        await self._end_embedding(
            item_id, RetryAction.DISCARD, error_code=error_code, error_message=error_message, now=now
        )

    async def skip_removed(self, item_id: int, *, error_message: str, now: float) -> None:
        """Skip an item whose asset was removed on the server before it was searchable."""
        await self._end_embedding(
            item_id, RetryAction.SKIP, error_code=ErrorCode.REMOVED, error_message=error_message, now=now
        )

    # Commands of the user.

    async def requeue(self, *, ids: Collection[int] = (), error_code: ErrorCode | None = None, now: float) -> list[int]:
        """Requeue items as urgent, with their attempts reset. Returns the ids of the requeued items.

        Items may be failed, missing or skipped. `error_code` selects all that ended with it.
        """
        requeued, after = await self._update_all("requeue", ids, now=now), 0
        while error_code is not None and (
            ended_ids := await self._fetch_ids(
                "ended_by_error_code_after", error_code=error_code, after=after, limit=BATCH_MAX
            )
        ):
            requeued += await self._update_all("requeue", ended_ids, now=now)
            after = ended_ids[-1]
        self._wake(work=bool(requeued))
        return requeued

    async def bump(self, ids: Collection[int], *, now: float) -> list[int]:
        """Make pending items urgent and due. Returns the ids of the changed items."""
        bumped = await self._update_all("bump", ids, now=now)
        self._wake(work=bool(bumped))
        return bumped

    async def forget(self, ids: Collection[int], *, now: float) -> list[int]:
        """Drop items from the queue; their files and assets stay. Returns the ids of the items that were not busy."""
        forgotten = await self._update_all("forget", ids, now=now, error_message=CANCELLED_MESSAGE)
        self._wake()
        return forgotten

    async def _fail(
        self, leased: Leased, action: RetryAction, *, now: float, version: Version | None = None, **values: Any
    ) -> bool:
        fenced = self._fence(leased, now=now, **values)
        still_leased = await self._database.write(
            lambda connection: completion.fail_item(connection, action, fenced, version)
        )
        self._wake(work=still_leased and values.get("next_at") is None)
        return still_leased

    async def _end_embedding(self, item_id: int, action: RetryAction, **values: Any) -> None:
        """End an embedding that will not become searchable."""
        params = {"id": item_id, "server_id": self._server_id, "action": action, **values}
        query = "discard_embedding" if action is RetryAction.DISCARD else "skip_removed"

        def op(connection: sqlite3.Connection) -> None:
            for row in connection.execute(SQL[query], params).fetchall():
                connection.execute(SQL["insert_attempt"], params)
                if action is RetryAction.SKIP:
                    connection.execute(SQL["mark_content_removed"], {**params, "sha256": row["sha256"]})

        await self._database.write(op)
        self._wake()

    async def _update_all(self, query: str, ids: Collection[int], **values: Any) -> list[int]:
        """Run an UPDATE in batches, so that no transaction grows with the number of ids."""
        changed: list[int] = []
        for batch in _batches(list(ids)):
            changed += await self._update(query, bulk=True, ids=json_list(batch), **values)
        return changed

    async def _update(self, query: str, *, bulk: bool = False, **values: Any) -> list[int]:
        """Run an UPDATE and return the ids of the changed items."""
        params = {"server_id": self._server_id, **values}
        rows = await self._database.write(
            lambda connection: connection.execute(SQL[query], params).fetchall(), bulk=bulk
        )
        return [row["id"] for row in rows]

    async def _fetch_ids(self, query: str, **values: Any) -> list[int]:
        return [row["id"] for row in await self._fetch(query, **values)]

    async def _fetch(self, query: str, **values: Any) -> list[sqlite3.Row]:
        params = {"server_id": self._server_id, **values}
        return await self._database.read(lambda connection: connection.execute(SQL[query], params).fetchall())

    async def _fetch_time(self, query: str) -> float | None:
        values = {"server_id": self._server_id}
        row = await self._database.read(lambda connection: connection.execute(SQL[query], values).fetchone())
        return cast(float | None, row[0])

    def _fence(self, leased: Leased, **values: Any) -> dict[str, Any]:
        """Return the parameters of a statement that is valid only while the lease is."""
        item = leased.item
        return {"id": item.id, "path": item.path, "lease": leased.lease, "server_id": self._server_id, **values}

    def _wake(self, *, work: bool = False, embedding: bool = False) -> None:
        if work:
            self._wake_signals.work.notify()
        if embedding:
            self._wake_signals.embedding.notify()
        self._wake_signals.events.notify()


def _first_or_none(leased: Sequence[Leased]) -> Leased | None:
    return leased[0] if leased else None


def _pending_embedding(row: sqlite3.Row) -> PendingEmbedding:
    return PendingEmbedding(row["id"], row["asset_id"], row["accepted_at"], row["embedding_requested"] == 1)


def _batches(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[start : start + BATCH_MAX] for start in range(0, len(ids), BATCH_MAX))
