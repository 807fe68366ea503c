"""Read queries for people and scripts.

Lists are paged by key and triggers maintain the sums, so that no query gets slower as the table grows.
"""

import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from splootd.core.item import Item, Priority, State
from splootd.core.lifecycle import FINAL_STATES
from splootd.store.database import Database
from splootd.store.name_search import name_matcher
from splootd.store.queries import SQL
from splootd.store.rows import item_from_row, json_list

CURSOR_MAX = (1 << 63) - 1  # a cursor after every id
SCAN_ROWS_MAX = 5_000  # rows read for one page of a search by name: some tens of milliseconds


@dataclass(frozen=True, slots=True)
class Counts:
    """The number of items. Each counts once: `duplicates` are part of the ready ones, `delayed` of the pending ones."""

    by_state: Mapping[State, int]
    by_state_and_priority: Mapping[tuple[State, Priority], int]
    bytes_by_state: Mapping[State, int]
    pending_by_priority: Mapping[Priority, int]
    duplicates: int
    delayed: int

    @property
    def total(self) -> int:
        return sum(self.by_state.values())


@dataclass(frozen=True, slots=True)
class Attempt:
    """One entry in the history of an item."""

    at: float
    error_code: str
    action: str
    error_message: str


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """Progress of one import. Bytes are done once the server has them or the item has ended otherwise.

    `due_at` is the earliest time of the delayed items, if nothing else remains.
    """

    total: int
    by_state: Mapping[State, int]
    bytes_total: int
    bytes_done: int
    duplicates: int
    scanning: bool
    due_at: float | None
    copies: int = 0  # of the duplicates; 0 until the import has ended
    errors: Mapping[str, int] = field(default_factory=dict)  # by error code; empty until the import has ended


@dataclass(frozen=True, slots=True)
class ItemEvent:
    """A change of state, priority or path at `at`. The fields from `path` on hold the current values."""

    seq: int
    at: float
    item_id: int
    state: State
    path: bytes
    error_code: str | None = None
    error_message: str | None = None
    accepted_at: float | None = None
    priority: Priority = Priority.NORMAL
    size: int = 0  # bytes

    @property
    def embedding_s(self) -> float | None:
        """The seconds from the upload to searchable; None for a content that was searchable already."""
        if self.state is not State.READY or self.accepted_at is None or self.at <= self.accepted_at:
            return None
        return self.at - self.accepted_at


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """The filter of a list. `text` matches file names."""

    state: State | None = None
    folder_id: int | None = None
    error_code: str | None = None
    text: str | None = None

    @property
    def query_name(self) -> str:
        """Return the query that reads the fewest rows."""
        if self.error_code is not None:
            return "items_by_error_code"
        if self.folder_id is not None:
            return "items_by_folder"
        return "items" if self.state is None else "items_by_state"


QUERY_AFTER = {
    "items": "items_after",
    "items_by_state": "items_by_state_after",
    "items_by_folder": "items_by_folder_after",
    "items_by_error_code": "items_by_error_code_after",
}
"""The query that pages in the other direction."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, newest first. `next` is the cursor of the next page; None at the end of the list."""

    items: list[Item]
    next: int | None


class ReadQueries:
    """Queries on the items of one server."""

    def __init__(self, database: Database, *, server_id: int) -> None:
        self._database = database
        self._server_id = server_id

    async def counts(self) -> Counts:
        """Return the sums that the triggers maintain."""
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
            pending_by_priority={
                each: sum(row["n"] for row in pending if row["priority"] == each) for each in Priority
            },
            duplicates=sum(row["n"] for row in rows if row["state"] == State.READY and row["duplicate"]),
            delayed=sum(row["n"] for row in pending if row["delayed"]),
        )

    async def embedding_backlog(self) -> int:
        """Return how many embeddings the server has reported as not ready."""
        return int((await self._read("embedding_backlog"))[0][0])

    async def unsearchable_count(self) -> int:
        """Return the number of failed items that the library has, but cannot find."""
        return int((await self._read("unsearchable_count"))[0][0])

    async def items(
        self,
        *,
        state: State | None = None,
        folder_id: int | None = None,
        error_code: str | None = None,
        before: int | None = None,
        limit: int,
    ) -> list[Item]:
        """Return the newest items. The id of the last one is the `before` of the next page."""
        return (await self.page(ItemFilter(state, folder_id, error_code), before=before, limit=limit)).items

    async def page(self, item_filter: ItemFilter, *, before: int | None = None, limit: int) -> Page:
        """Return the newest items before the cursor `before`."""
        return await self._fetch_page(
            item_filter, item_filter.query_name, limit, before=CURSOR_MAX if before is None else before
        )

    async def page_after(self, item_filter: ItemFilter, *, after: int, limit: int) -> Page:
        """Return the oldest items after the cursor `after`."""
        page = await self._fetch_page(item_filter, QUERY_AFTER[item_filter.query_name], limit, after=after)
        return Page(page.items[::-1], page.next)

    async def _fetch_page(self, item_filter: ItemFilter, query_name: str, limit: int, **cursor: int) -> Page:
        """Fetch one page in the order of the query. A search by name ends after SCAN_ROWS_MAX rows.

        A page of a search may therefore be empty and still have a `next`: the cursor is the last row that was read,
        not the last one that matched.
        """
        rows_max = limit if item_filter.text is None else max(limit, SCAN_ROWS_MAX)
        values = {
            "state": item_filter.state,
            "folder_id": item_filter.folder_id,
            "error_code": item_filter.error_code,
            **cursor,
        }
        matches_name = name_matcher(item_filter.text or "")

        def query(connection: sqlite3.Connection) -> Page:
            matching: list[Item] = []
            row_count, last_id = 0, 0
            params = {"server_id": self._server_id, "limit": rows_max, **values}
            for row in connection.execute(SQL[query_name], params):
                row_count, last_id = row_count + 1, row["id"]
                if item_filter.text is None or matches_name(row["path"]):
                    matching.append(item_from_row(row))
                if len(matching) == limit:
                    break
            return Page(matching, last_id if len(matching) == limit or row_count == rows_max else None)

        return await self._database.read(query)

    async def get_item(self, item_id: int) -> Item | None:
        rows = await self._read("item", id=item_id)
        return item_from_row(rows[0]) if rows else None

    async def items_by_path(self, path: bytes) -> list[Item]:
        """Return every item that ever had this path, the latest first."""
        rows = await self._read("latest_at_path", path=path) + await self._read("superseded_at_path", path=path)
        return [item_from_row(row) for row in rows]

    async def attempts(self, item_id: int) -> list[Attempt]:
        """Return the history of one item: its last twenty failed attempts, the oldest first."""
        return [Attempt(*row) for row in await self._read("attempts", id=item_id)]

    async def progress(self, import_id: int) -> ImportProgress:
        """Return the progress of one import."""

        def query(connection: sqlite3.Connection) -> ImportProgress:
            params = {"import_id": import_id}
            queries = (SQL["import_progress"], SQL["joined_progress"])
            rows = [row for sql in queries for row in connection.execute(sql, params)]
            (scanning,) = connection.execute(SQL["import_is_scanning"], params).fetchone()
            done = {State.EMBEDDING, *FINAL_STATES}
            unfinished = {row["state"] for row in rows}.difference(FINAL_STATES)
            due_at = None
            if unfinished == {State.PENDING} and not scanning:
                (due_at,) = connection.execute(SQL["import_first_due"], params).fetchone()
            copies, errors = 0, {}
            if not unfinished and not scanning:
                (copies,) = connection.execute(SQL["import_copies"], params).fetchone()
                errors = {row["error_code"]: row["n"] for row in connection.execute(SQL["import_errors"], params)}
            return ImportProgress(
                total=sum(row["n"] for row in rows),
                by_state={state: sum(row["n"] for row in rows if row["state"] == state) for state in State},
                bytes_total=sum(row["bytes"] for row in rows),
                bytes_done=sum(row["bytes"] for row in rows if row["state"] in done),
                duplicates=sum(row["n"] for row in rows if row["duplicate"]),
                scanning=bool(scanning),
                due_at=due_at,
                copies=copies,
                errors=errors,
            )

        return await self._database.read(query)

    async def events(self, *, since: int, limit: int) -> list[ItemEvent]:
        """Return the events after the sequence number `since`, in the order of their commits."""
        rows = await self._read("events", since=since, limit=limit)
        return [
            ItemEvent(
                seq, at, item, State(state), path, error_code, error_message, accepted_at, Priority(priority), size
            )
            for seq, at, item, state, path, error_code, error_message, accepted_at, priority, size in rows
        ]

    async def newest_event_seq(self) -> int:
        """Return the sequence number of the newest event; 0 if there is none."""
        return int((await self._read("newest_event"))[0][0])

    async def oldest_event_seq(self) -> int:
        """Return the sequence number of the oldest event that is kept; 0 if there is none."""
        return int((await self._read("oldest_event"))[0][0])

    async def paths_by_asset_id(self, asset_ids: Collection[str]) -> Mapping[str, bytes]:
        """Return the local path of each asset; of several files with the same content, the newest."""
        rows = await self._read("paths_by_asset_id", asset_ids=json_list(asset_ids))
        return {row["asset_id"]: row["path"] for row in rows}

    async def _read(self, query: str, **values: Any) -> list[sqlite3.Row]:
        params = {"server_id": self._server_id, **values}
        return await self._database.read(lambda connection: connection.execute(SQL[query], params).fetchall())
