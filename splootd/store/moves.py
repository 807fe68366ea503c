"""The journal of files that are put away once the library has them, and of their way back."""

import enum
import sqlite3
from dataclasses import dataclass
from typing import Any

from splootd.bus import Bells
from splootd.core.after import After
from splootd.core.failure import Verdict
from splootd.core.fault import Fault
from splootd.core.item import Item, Version
from splootd.store.answers import SUPERSEDED
from splootd.store.database import Database
from splootd.store.queries import SQL
from splootd.store.rows import after_of, item_of, version_of


class Whereabouts(enum.StrEnum):
    GOING = "going"  # on its way; after a crash the disk says how far it came
    THERE = "there"
    RETURNING = "returning"  # on its way back; as above
    BACK = "back"
    LOST = "lost"  # neither here nor there: somebody else has taken it away


@dataclass(frozen=True, slots=True)
class Wish:
    """A file that the library has, and what is to become of it."""

    item: Item
    after: After


@dataclass(frozen=True, slots=True)
class Move:
    """One file that was put away. `note` is the file in which the trash keeps where it came from."""

    id: int
    item_id: int
    source: bytes
    target: bytes
    is_trashed: bool
    note: bytes | None
    version: Version
    state: Whereabouts


class Moves:
    """Times are seconds since the epoch."""

    def __init__(self, database: Database, *, server_id: int, bells: Bells) -> None:
        self._database = database
        self._server_id = server_id
        self._bells = bells

    async def wishes(self, *, beyond: int, limit: int) -> list[Wish]:
        """What is to be put away, by item id; those after the item `beyond`."""
        rows = await self._read("wishes", beyond=beyond, limit=limit)
        return [Wish(item_of(row), after) for row in rows if (after := after_of(row["after"]))]

    async def drop(self, item_id: int, *, reason: str, now: float) -> None:
        """It is kept where it is after all; `reason` becomes a line of the item's story."""

        def op(connection: sqlite3.Connection) -> None:
            connection.execute(SQL["wish"], {"id": item_id, "after": None})
            line = {"id": item_id, "now": now, "fault": Fault.DISTURBED, "verdict": Verdict.SKIP, "reason": reason}
            connection.execute(SQL["note_attempt"], line)

        await self._database.write(op)
        self._bells.news.ring()

    async def begin(
        self, item: Item, *, target: bytes, is_trashed: bool, note: bytes | None, now: float
    ) -> Move | None:
        """Write down that the file is about to go to `target`. None when that is no longer wanted."""
        values = {"id": item.id, "source": item.path, "target": target, "trashed": is_trashed, "note": note, "now": now}
        return await self._change("begin_move", values)

    async def begin_return(self, move: Move, *, source: bytes, now: float) -> Move | None:
        """Write down that the file is about to come back, to `source`. None when it is not there."""
        return await self._change("begin_return", {"id": move.id, "source": source, "now": now})

    async def end(self, move: Move, state: Whereabouts, *, now: float) -> None:
        """Where the file is now. Its item follows it, though not into the trash; once it is there, no wish is left."""

        def op(connection: sqlite3.Connection) -> None:
            if not connection.execute(SQL["end_move"], {"id": move.id, "state": state, "now": now}).fetchall():
                return
            if state in (Whereabouts.THERE, Whereabouts.LOST):
                connection.execute(SQL["wish"], {"id": move.item_id, "after": None})
            if state is Whereabouts.BACK:
                self._follow(connection, move.item_id, move.source, now)
            elif state is Whereabouts.THERE and not move.is_trashed:
                self._follow(connection, move.item_id, move.target, now)

        await self._database.write(op)
        self._bells.news.ring()

    async def under_way(self) -> list[Move]:
        """What a crash has interrupted."""
        return [_move_of(row) for row in await self._read("moves_under_way")]

    async def of_item(self, item_id: int) -> Move | None:
        """Where the file of this item was put, if it was and has not come back."""
        rows = await self._read("move_of_item", id=item_id)
        return _move_of(rows[0]) if rows else None

    async def last(self) -> Move | None:
        """What was put away last and has not come back."""
        rows = await self._read("last_move")
        return _move_of(rows[0]) if rows else None

    def _follow(self, connection: sqlite3.Connection, item_id: int, path: bytes, now: float) -> None:
        values = {"server_id": self._server_id, "path": path, "id": item_id, "folder_id": None, "now": now}
        for row in connection.execute(SQL["latest_at_path"], values).fetchall():
            if row["id"] == item_id:
                return
            connection.execute(SQL["supersede"], {"id": row["id"], "superseded": SUPERSEDED, "now": now})
        connection.execute(SQL["rename"], values)

    async def _read(self, query: str, **values: Any) -> list[sqlite3.Row]:
        every = {"server_id": self._server_id, **values}
        return await self._database.read(lambda connection: connection.execute(SQL[query], every).fetchall())

    async def _change(self, query: str, values: dict[str, Any]) -> Move | None:
        rows = await self._database.write(lambda connection: connection.execute(SQL[query], values).fetchall())
        return _move_of(rows[0]) if rows else None


def _move_of(row: sqlite3.Row) -> Move:
    return Move(
        id=row["id"],
        item_id=row["item_id"],
        source=row["source"],
        target=row["target"],
        is_trashed=bool(row["trashed"]),
        note=row["note"],
        version=version_of(row),
        state=Whereabouts(row["state"]),
    )
