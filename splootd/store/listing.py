"""What people and scripts read. Lists are paged by key, sums are kept by the database: nothing here grows with it."""

import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

from splootd.core.item import Item, Priority, State
from splootd.core.lifecycle import ENDED
from splootd.store.database import Database
from splootd.store.names import matcher
from splootd.store.queries import SQL
from splootd.store.rows import item_of, json_list

NEWEST = (1 << 63) - 1  # a cursor beyond every id
SCAN_ROWS_MAX = 5_000  # looked at for one page that is searched for by name: some tens of milliseconds


@dataclass(frozen=True, slots=True)
class Counts:
    """Every item once. `duplicates` are part of the ready ones, `delayed` part of the pending ones."""

    by_state: Mapping[State, int]
    by_state_and_priority: Mapping[tuple[State, Priority], int]
    bytes_by_state: Mapping[State, int]
    by_priority_pending: Mapping[Priority, int]
    duplicates: int
    delayed: int

    @property
    def total(self) -> int:
        return sum(self.by_state.values())


@dataclass(frozen=True, slots=True)
class Attempt:
    """One line of an item's story."""

    at: float
    fault: str
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one add has come. Bytes are done once the library has them, or the item has ended otherwise.

    `due_at` is the first time of what is delayed, where nothing else is left.
    """

    total: int
    by_state: Mapping[State, int]
    bytes_total: int
    bytes_done: int
    duplicates: int
    walking: bool
    due_at: float | None


@dataclass(frozen=True, slots=True)
class Event:
    """At `at` an item reached `state`, or changed its path or priority in it. What follows is as it is now."""

    seq: int
    at: float
    item_id: int
    state: State
    path: bytes
    fault: str | None = None
    reason: str | None = None
    accepted_at: float | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which items a list shows. `text` is looked for in the names of files."""

    state: State | None = None
    folder_id: int | None = None
    fault: str | None = None
    text: str | None = None

    @property
    def statement(self) -> str:
        """The statement that walks the fewest rows."""
        if self.fault is not None:
            return "items_by_fault"
        if self.folder_id is not None:
            return "items_by_folder"
        return "items" if self.state is None else "items_by_state"


AFTER = {
    "items": "items_after",
    "items_by_state": "items_by_state_after",
    "items_by_folder": "items_by_folder_after",
    "items_by_fault": "items_by_fault_after",
}
"""The statement that pages the other way."""


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list, newest first. The list goes on at `next`, whatever the page holds; None at its end."""

    items: list[Item]
    next: int | None


class Listing:
    """The items of one server, for people."""

    def __init__(self, database: Database, *, server_id: int) -> None:
        self._database = database
        self._server_id = server_id

    async def counts(self) -> Counts:
        """The sums, without counting."""
        rows = await self._read("counts")
        pending = [row for row in rows if row["state"] == State.PENDING]
        return Counts(
            by_state={state: sum(row["n"] for row in rows if row["state"] == state) for state in State},
            by_state_and_priority={
                (state, each): sum(row["n"] for row in rows if (row["state"], row["priority"]) == (state, each))
                for state in State
                for each in Priority
            },
            bytes_by_state={state: sum(row["bytes"] for row in rows if row["state"] == state) for state in State},
            by_priority_pending={
                each: sum(row["n"] for row in pending if row["priority"] == each) for each in Priority
            },
            duplicates=sum(row["n"] for row in rows if row["state"] == State.READY and row["duplicate"]),
            delayed=sum(row["n"] for row in pending if row["delayed"]),
        )

    async def items(
        self,
        *,
        state: State | None = None,
        folder_id: int | None = None,
        fault: str | None = None,
        before: int | None = None,
        limit: int,
    ) -> list[Item]:
        """The newest items first. The id of the last one is the `before` of the next page."""
        return (await self.page(Filter(state, folder_id, fault), before=before, limit=limit)).items

    async def page(self, of: Filter, *, before: int | None = None, limit: int) -> Page:
        """The newest items older than `before`."""
        return await self._page(of, of.statement, limit, before=NEWEST if before is None else before)

    async def page_after(self, of: Filter, *, after: int, limit: int) -> Page:
        """The oldest items newer than `after`."""
        page = await self._page(of, AFTER[of.statement], limit, after=after)
        return Page(page.items[::-1], page.next)

    async def _page(self, of: Filter, statement: str, limit: int, **cursor: int) -> Page:
        """One page in the order of `statement`. Looking for a text ends after SCAN_ROWS_MAX, whatever was found."""
        rows_max = limit if of.text is None else max(limit, SCAN_ROWS_MAX)
        values = {"state": of.state, "folder_id": of.folder_id, "fault": of.fault, **cursor}
        is_named = matcher(of.text or "")

        def look(connection: sqlite3.Connection) -> Page:
            found: list[Item] = []
            seen, last = 0, 0
            every = {"server_id": self._server_id, "limit": rows_max, **values}
            for row in connection.execute(SQL[statement], every):
                seen, last = seen + 1, row["id"]
                if of.text is None or is_named(row["path"]):
                    found.append(item_of(row))
                if len(found) == limit:
                    break
            return Page(found, last if len(found) == limit or seen == rows_max else None)

        return await self._database.read(look)

    async def item(self, item_id: int) -> Item | None:
        rows = await self._read("item", id=item_id)
        return item_of(rows[0]) if rows else None

    async def by_path(self, path: bytes) -> list[Item]:
        """All that was ever at this path, the latest first."""
        rows = await self._read("latest_at_path", path=path) + await self._read("former_at_path", path=path)
        return [item_of(row) for row in rows]

    async def attempts(self, item_id: int) -> list[Attempt]:
        """The story of one item: its last twenty troubles, the oldest first."""
        return [Attempt(*row) for row in await self._read("attempts", id=item_id)]

    async def progress(self, add_id: int) -> Progress:
        """How far one add has come."""

        def query(connection: sqlite3.Connection) -> Progress:
            rows = connection.execute(SQL["progress"], {"add_id": add_id}).fetchall()
            (walking,) = connection.execute(SQL["walking"], {"add_id": add_id}).fetchone()
            done = {State.EMBEDDING, *ENDED}
            left = {row["state"] for row in rows}.difference(ENDED)
            due_at = None
            if left == {State.PENDING} and not walking:
                (due_at,) = connection.execute(SQL["first_due"], {"add_id": add_id}).fetchone()
            return Progress(
                total=sum(row["n"] for row in rows),
                by_state={state: sum(row["n"] for row in rows if row["state"] == state) for state in State},
                bytes_total=sum(row["bytes"] for row in rows),
                bytes_done=sum(row["bytes"] for row in rows if row["state"] in done),
                duplicates=sum(row["n"] for row in rows if row["duplicate"]),
                walking=bool(walking),
                due_at=due_at,
            )

        return await self._database.read(query)

    async def events(self, *, since: int, limit: int) -> list[Event]:
        """What has changed after the event number `since`, in the order of the commits."""
        rows = await self._read("events", since=since, limit=limit)
        return [Event(row["seq"], row["at"], row["item_id"], State(row["state"]), *row[4:]) for row in rows]

    async def newest_event(self) -> int:
        """The number of the last event; 0 before the first."""
        return int((await self._read("newest_event"))[0][0])

    async def oldest_event(self) -> int:
        """The number of the first event that is still kept; 0 before the first."""
        return int((await self._read("oldest_event"))[0][0])

    async def by_assets(self, asset_ids: Collection[str]) -> Mapping[str, bytes]:
        """Asset id to the path of its file here: of the newest, when several have the same bytes."""
        rows = await self._read("by_assets", asset_ids=json_list(asset_ids))
        return {row["asset_id"]: row["path"] for row in rows}

    async def setting(self, name: str) -> str | None:
        rows = await self._read("setting", name=name)
        return cast(str, rows[0]["value"]) if rows else None

    async def set_setting(self, name: str, value: str, *, now: float) -> None:
        """Kept over a restart."""
        values = {"name": name, "value": value, "now": now}
        await self._database.write(lambda connection: connection.execute(SQL["set_setting"], values).fetchall())

    async def _read(self, query: str, **values: Any) -> list[sqlite3.Row]:
        every = {"server_id": self._server_id, **values}
        return await self._database.read(lambda connection: connection.execute(SQL[query], every).fetchall())
