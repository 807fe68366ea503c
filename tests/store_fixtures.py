"""A store for tests: a real database, every class that works on it, and a disk that is a dictionary."""

import contextlib
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from splootd.core.error_code import ErrorCode
from splootd.core.item import FoundFile, Item, Leased, Priority, State, Version
from splootd.event_bus import WakeSignals
from splootd.store.accounts import open_account
from splootd.store.completion import Accepted
from splootd.store.database import Database
from splootd.store.folders import FolderStore
from splootd.store.idempotency import IdempotencyStore
from splootd.store.imports import ImportStore
from splootd.store.ledger import Ledger
from splootd.store.queue import Queue
from splootd.store.read_queries import ReadQueries
from splootd.store.schema import CLEAN_SHUTDOWN, INTEGRITY_CHECKED_AT
from splootd.store.settings import SettingsStore
from splootd.store.upsert import EnqueueResult, Source

Opener = Callable[[Path], Awaitable[Database]]
PAGE_BYTES = 4096
INTERIOR_PAGE = 5
URL = "https://library.test"
RECOUNT = """
SELECT server_id, state, priority, duplicate, state = 'pending' AND next_at IS NOT NULL AS delayed, count(*), sum(size)
FROM items GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
"""


def version(number: int, *, inode: int | None = None, size: int = 100) -> Version:
    """Return version `number` of a file. Two numbers give two versions."""
    return Version(size=size, mtime_ns=number, device=7, inode=number if inode is None else inode)


def source(
    priority: Priority = Priority.NORMAL,
    *,
    import_id: int | None = None,
    folder_id: int | None = None,
    tags: tuple[str, ...] = (),
    force: bool = False,
) -> Source:
    return Source(import_id, folder_id, priority, tags, force)


def digest(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


@dataclass
class Store:
    """One open database and every class that works on it."""

    database: Database
    server_id: int
    wake_signals: WakeSignals
    queue: Queue
    import_store: ImportStore
    folder_store: FolderStore
    ledger: Ledger
    read_queries: ReadQueries
    idempotency_store: IdempotencyStore
    settings_store: SettingsStore
    disk: dict[bytes, Version] = field(default_factory=dict)

    def queue_of(self, instance_id: str) -> Queue:
        """Return the queue of another instance of the daemon."""
        return Queue(self.database, server_id=self.server_id, instance_id=instance_id, wake_signals=self.wake_signals)

    async def put(
        self, path: bytes, of: Version, as_: Source | None = None, *, now: float = 0.0, settles_at: float | None = None
    ) -> EnqueueResult:
        """Write a file to the disk, and enqueue it."""
        self.disk[path] = of
        (result,) = await self.enqueue(path, as_=as_, now=now, settles_at=settles_at)
        return result

    async def enqueue(
        self, *paths: bytes, as_: Source | None = None, now: float = 0.0, settles_at: float | None = None
    ) -> list[EnqueueResult]:
        """Enqueue files that are on the disk."""
        files = [FoundFile(path, self.disk[path], settles_at) for path in paths]
        return await self.import_store.enqueue(files, as_ or source(), is_still_there=self.is_still_there, now=now)

    def is_still_there(self, path: bytes, of: Version) -> bool:
        return self.disk.get(path) == of

    async def claim(self, item_id: int, *, now: float = 0.0) -> Leased:
        """Lease one item, by making it the only urgent one."""
        await self.queue.bump([item_id], now=now)
        leased = await self.queue.claim_urgent(now=now)
        assert leased is not None
        assert leased.item.id == item_id
        return leased

    async def accept(self, leased: Leased, *, embedded: bool = False, now: float = 0.0) -> bool:
        """Accept an item, with an asset id and a SHA-256 made of its id."""
        number = leased.item.id
        return await self.queue.accept(
            leased, asset_id=f"a{number}", sha256=digest(number), duplicate=False, embedded=embedded, now=now
        )

    def accepted(self, leased: Leased, *, embedded: bool = False) -> Accepted:
        """Return the same values as `accept`, for a batch."""
        number = leased.item.id
        return Accepted(leased, f"a{number}", digest(number), duplicate=False, embedded=embedded)

    async def item(self, item_id: int) -> Item:
        item = await self.read_queries.get_item(item_id)
        assert item is not None
        return item

    async def new_in(self, state: State, number: int) -> int:
        """Enqueue a new file and bring its item to `state` as the daemon does."""
        result = await self.put(b"/memes/%d.png" % number, version(number))
        if state is not State.PENDING:
            await self.lead(await self.claim(result.item_id), state)
        return result.item_id

    async def lead(self, leased: Leased, state: State) -> None:
        """Complete a lease so that its item reaches `state`. It is `uploading` already."""
        match state:
            case State.EMBEDDING | State.READY:
                assert await self.accept(leased, embedded=state is State.READY)
            case State.FAILED:
                assert await self.queue.discard(leased, error_code=ErrorCode.REJECTED, error_message="refused", now=0.0)
            case State.MISSING:
                assert await self.queue.file_missing(leased, error_message="missing", now=0.0)
            case State.SKIPPED:
                assert await self.queue.skip(
                    leased, error_code=ErrorCode.UNSUPPORTED, error_message="unsupported", now=0.0
                )

    async def rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return await self.database.read(lambda c: [tuple(row) for row in c.execute(sql, values)])

    async def run(self, sql: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        return await self.database.write(lambda c: c.execute(sql, values).fetchall())

    async def assert_sums_are_right(self) -> None:
        await self.database.read(assert_sums_are_right)


def assert_sums_are_right(connection: sqlite3.Connection) -> None:
    """Compare the sums of the triggers with a full count."""

    def rows(sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in connection.execute(sql)]

    assert rows("SELECT * FROM item_counts WHERE n > 0 ORDER BY 1, 2, 3, 4, 5") == rows(RECOUNT)
    assert rows("SELECT * FROM item_counts WHERE n = 0 AND bytes <> 0") == []
    assert rows("SELECT folder_id, server_id, n FROM folder_counts WHERE n > 0 ORDER BY 1, 2") == rows(
        "SELECT folder_id, server_id, count(*) FROM items WHERE folder_id IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"
    )


def insert(name: str, *, pages: int = 0) -> Callable[[sqlite3.Connection], str]:
    """Return an operation that inserts a row of about `pages` pages and returns its name."""

    def op(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO settings VALUES (?, ?, 0)", (name, "x" * pages * PAGE_BYTES))
        return name

    return op


def names(connection: sqlite3.Connection) -> set[str]:
    """Return the names of all rows that `insert` has inserted."""
    return {row[0] for row in connection.execute("SELECT name FROM settings")} - {
        CLEAN_SHUTDOWN,
        INTEGRITY_CHECKED_AT,
    }


def damage(path: Path, table: str) -> None:
    """Overwrite a leaf page in the middle of `table`, which only a check of the whole file detects.

    A table is a B-tree (sqlite.org/fileformat2.html): interior pages hold pointers, leaf pages hold the rows.
    """
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    content = bytearray(path.read_bytes())

    def number(at: int, length: int) -> int:
        return int.from_bytes(content[at : at + length], "big")

    start = PAGE_BYTES * (root - 1)
    while content[start] == INTERIOR_PAGE:
        middle = start + 12 + 2 * (number(start + 3, 2) // 2)
        start = PAGE_BYTES * (number(start + number(middle, 2), 4) - 1)
    assert start != PAGE_BYTES * (root - 1), f"{table} has only one page"
    content[start : start + PAGE_BYTES] = digest(start) * (PAGE_BYTES // len(digest(start)))
    path.write_bytes(content)


@contextlib.asynccontextmanager
async def open_store(path: Path, *, instance_id: str = "instance1") -> AsyncIterator[Store]:
    database = await Database.open(path)
    try:
        server_id, _ = await open_account(database, URL)
        wake_signals = WakeSignals()
        yield Store(
            database,
            server_id,
            wake_signals,
            Queue(database, server_id=server_id, instance_id=instance_id, wake_signals=wake_signals),
            ImportStore(database, server_id=server_id, wake_signals=wake_signals),
            FolderStore(database, server_id=server_id),
            Ledger(database, server_id=server_id),
            ReadQueries(database, server_id=server_id),
            IdempotencyStore(database),
            SettingsStore(database),
        )
    finally:
        await database.close()
