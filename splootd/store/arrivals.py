"""How things get in: what is found, what an add named, which folders are watched."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from splootd.bus import Bells
from splootd.core.after import After
from splootd.core.item import Priority, Version
from splootd.errors import RequestError
from splootd.store.database import Database
from splootd.store.offers import Arrival, Candidate, Offer, Origin, Outcome
from splootd.store.queries import SQL
from splootd.store.rows import after_of, seconds, signed, tags_of, unsigned

__all__ = ["Arrival", "Arrivals", "Candidate", "Folder", "Origin", "Outcome", "Root"]

T = TypeVar("T")

OFFER_MAX = 1_000  # candidates in one transaction
FEW = 100  # so many do not wait behind the thousands that a walk finds: a person may be waiting for them
LEAVE_MAX = 1_000  # items that leave a folder in one transaction


@dataclass(frozen=True, slots=True)
class Root:
    """A path that an add named and that has still to be walked."""

    id: int
    add_id: int
    path: bytes
    folder_id: int | None


@dataclass(frozen=True, slots=True)
class Folder:
    """A watched folder. `items` counts every item found in it, whatever has become of it."""

    id: int
    path: bytes
    device: int
    inode: int
    priority: Priority
    tags: tuple[str, ...]
    added_at: float
    scanned_at: float | None
    last_new_at: float | None
    items: int
    after: After | None = None


class Arrivals:
    """Times are seconds since the epoch."""

    def __init__(self, database: Database, *, server_id: int, bells: Bells) -> None:
        self._database = database
        self._server_id = server_id
        self._bells = bells

    async def offer(
        self,
        candidates: Sequence[Candidate],
        origin: Origin,
        *,
        still_there: Callable[[bytes, Version], bool],
        now: float,
    ) -> list[Arrival]:
        """Place at most `OFFER_MAX` files that were found, in one transaction; `offers.Offer` has the rules.

        `still_there` runs on the database's thread while writes wait: one lstat, no more.
        """
        if len(candidates) > OFFER_MAX:
            raise ValueError(f"{len(candidates)} candidates in one offer; {OFFER_MAX} are allowed")

        def op(connection: sqlite3.Connection) -> list[Arrival]:
            offer = Offer(connection, origin, server_id=self._server_id, still_there=still_there, now=now)
            return offer.place_all(candidates)

        arrivals = await self._place(op, len(candidates))
        self._ring_for(arrivals)
        return arrivals

    async def _place(self, op: Callable[[sqlite3.Connection], T], files: int) -> T:
        """Write what is found.

        Lanes are woken for a few files before these are committed: they claim behind them, and in their commit while
        the writer is busy, so that what is urgent waits for one commit less.
        """
        if files > FEW:
            return await self._database.write(op, bulk=True, rows=files)
        return await self._database.write(op, urgent=True, queued=self._bells.work.ring)

    def _ring_for(self, arrivals: Sequence[Arrival]) -> None:
        if any(arrival.outcome is not Outcome.KNOWN for arrival in arrivals):
            if len(arrivals) > FEW:
                self._bells.work.ring()
            self._bells.news.ring()

    async def rehearse(
        self, candidates: Sequence[Candidate], *, force: bool, still_there: Callable[[bytes, Version], bool], now: float
    ) -> list[Outcome]:
        """What `offer` would make of them. Nothing is kept, and nobody is told."""
        origin = Origin(None, None, Priority.NORMAL, (), force)

        def op(connection: sqlite3.Connection) -> list[Outcome]:
            offer = Offer(connection, origin, server_id=self._server_id, still_there=still_there, now=now)
            connection.execute("SAVEPOINT rehearsal")
            try:
                return [offer.place(candidate).outcome for candidate in candidates]
            finally:
                connection.execute("ROLLBACK TO rehearsal")
                connection.execute("RELEASE rehearsal")

        return await self._database.write(op, bulk=True)

    async def start_add(
        self,
        key: str,
        *,
        add_id: int | None = None,
        priority: Priority,
        tags: Sequence[str],
        force: bool,
        after: After | None = None,
        paths: Sequence[bytes],
        now: float,
        files: Sequence[Candidate] = (),
        still_there: Callable[[bytes, Version], bool] = lambda path, version: True,
    ) -> tuple[int, list[Arrival]]:
        """Note the paths that a command named, to be walked, and return the number of its add.

        At most `OFFER_MAX` files that it named are placed in the same transaction, as by `offer`. The same key again
        gives the same add, and no path is walked twice. `add_id` goes on with an earlier add, whose options hold;
        RequestError when there is none. A path that is a watched folder gives its items to that folder.
        """
        if len(files) > OFFER_MAX:
            raise ValueError(f"{len(files)} files in one add; {OFFER_MAX} are allowed")

        def op(connection: sqlite3.Connection) -> tuple[int, list[Arrival]]:
            if add_id is None:
                rows = (
                    connection.execute(SQL["add_by_key"], values).fetchall()
                    or connection.execute(SQL["insert_add"], values).fetchall()
                )
            else:
                rows = connection.execute(SQL["add"], values).fetchall()
            origin = _origin_of(rows, add_id, None)
            connection.executemany(SQL["insert_root"], [{"add_id": origin.add_id, "path": path} for path in paths])
            offer = Offer(connection, origin, server_id=self._server_id, still_there=still_there, now=now)
            return int(rows[0]["id"]), offer.place_all(files)

        values = {
            "server_id": self._server_id,
            "id": add_id,
            "key": key,
            "priority": priority,
            "tags": json.dumps(list(tags)),
            "force": force,
            "after": after and after.word,
            "now": now,
        }
        number, arrivals = await self._place(op, len(files))
        self._ring_for(arrivals)
        return number, arrivals

    async def roots_left(self) -> list[Root]:
        """What has still to be walked, the oldest first."""
        return [Root(*row) for row in await self._read("roots_left")]

    async def root_done(self, root_id: int, *, now: float) -> None:
        """A root is walked to its end, and all that was found there has been offered."""
        await self._write("root_done", id=root_id, now=now)
        self._bells.news.ring()

    async def origin(self, add_id: int, folder_id: int | None) -> Origin:
        """As what an add's files are offered. RequestError when there is no such add."""
        return _origin_of(await self._read("add", id=add_id), add_id, folder_id)

    async def reply(self, key: str) -> str | None:
        """The answer that the command with this key was given."""
        rows = await self._read("reply", key=key)
        return rows[0]["reply"] if rows else None

    async def remember(self, key: str, reply: str, *, now: float) -> None:
        """Keep the answer to a command for a day. The first one stays."""
        await self._write("remember_reply", key=key, reply=reply, now=now)

    async def watch(
        self,
        path: bytes,
        *,
        device: int,
        inode: int,
        priority: Priority,
        tags: Sequence[str],
        after: After | None = None,
        now: float,
    ) -> Folder:
        """Watch a folder, or change how it is watched."""
        rows = await self._write(
            "watch",
            path=path,
            device=signed(device),
            inode=signed(inode),
            priority=priority,
            tags=json.dumps(list(tags)),
            after=after and after.word,
            now=now,
        )
        return _folder_of(rows[0])

    async def unwatch(self, path: bytes) -> bool:
        """No longer watch a folder; its items stay. False when it was not watched."""
        folders = await self._read("folder_at_path", path=path)
        if not folders:
            return False
        values = {"folder_id": folders[0]["id"], "limit": LEAVE_MAX}

        def op(connection: sqlite3.Connection) -> bool:
            left = connection.execute(SQL["leave_folder"], values).fetchall()
            if len(left) < LEAVE_MAX:
                connection.execute(SQL["unwatch"], values)
            return len(left) < LEAVE_MAX

        while not await self._database.write(op, bulk=True):
            pass
        return True

    async def folders(self) -> list[Folder]:
        """All watched folders, by path."""
        return [_folder_of(row) for row in await self._read("folders")]

    async def upheavals(self) -> int:
        """While this number stays, files that were at rest in a look, and are as they were, are at rest."""
        return int((await self._read("upheavals"))[0][0])

    async def looked(self, folder_id: int, *, now: float) -> None:
        """A full look at a folder has ended."""
        await self._write("looked", id=folder_id, now=now)

    async def _read(self, query: str, **values: Any) -> list[sqlite3.Row]:
        every = {"server_id": self._server_id, **values}
        return await self._database.read(lambda connection: connection.execute(SQL[query], every).fetchall())

    async def _write(self, query: str, **values: Any) -> list[sqlite3.Row]:
        return await self._database.write(lambda connection: connection.execute(SQL[query], values).fetchall())


def _origin_of(rows: Sequence[sqlite3.Row], add_id: int | None, folder_id: int | None) -> Origin:
    if not rows:
        raise RequestError("no_such_add", f"There is no add {add_id} (any more).", status=404)
    number, priority, tags, force, after = rows[0]
    return Origin(number, folder_id, Priority(priority), tags_of(tags), bool(force), after_of(after))


def _folder_of(row: sqlite3.Row) -> Folder:
    return Folder(
        id=row["id"],
        path=row["path"],
        device=unsigned(row["device"]),
        inode=unsigned(row["inode"]),
        priority=Priority(row["priority"]),
        tags=tags_of(row["tags"]),
        added_at=float(row["added_at"]),
        scanned_at=seconds(row["scanned_at"]),
        last_new_at=seconds(row["last_new_at"]),
        items=row["items"],
        after=after_of(row["after"]),
    )
