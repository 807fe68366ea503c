"""The store as tests meet it: a real database, everything that works on it, and a disk that is a dictionary."""

import contextlib
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from splootd.bus import Bells
from splootd.core.fault import Fault
from splootd.core.item import Item, Leased, Priority, State, Version
from splootd.store.answers import Accepted
from splootd.store.arrivals import Arrival, Arrivals, Candidate, Origin
from splootd.store.database import Database
from splootd.store.ledger import Ledger, server_id
from splootd.store.listing import Listing
from splootd.store.queue import Queue
from splootd.store.schema import READ_THROUGH_AT

Opener = Callable[[Path], Awaitable[Database]]
PAGE_BYTES = 4096
INTERIOR_PAGE = 5
URL = "https://library.test"
RECOUNT = """
SELECT server_id, state, priority, duplicate, state = 'pending' AND next_at IS NOT NULL AS delayed, count(*), sum(size)
FROM items GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
"""


def version(number: int, *, inode: int | None = None, size: int = 100) -> Version:
    """The version `number` of some file; two numbers are two versions."""
    return Version(size=size, mtime_ns=number, device=7, inode=number if inode is None else inode)


def origin(
    priority: Priority = Priority.NORMAL,
    *,
    add_id: int | None = None,
    folder_id: int | None = None,
    tags: tuple[str, ...] = (),
    force: bool = False,
) -> Origin:
    return Origin(add_id, folder_id, priority, tags, force)


def digest(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


@dataclass
class Store:
    """Everything that works on one open database."""

    database: Database
    server: int
    bells: Bells
    queue: Queue
    arrivals: Arrivals
    ledger: Ledger
    listing: Listing
    disk: dict[bytes, Version] = field(default_factory=dict)

    def queue_of(self, boot: str) -> Queue:
        """The queue as a daemon started later sees it."""
        return Queue(self.database, server_id=self.server, boot=boot, bells=self.bells)

    async def put(
        self, path: bytes, of: Version, as_: Origin | None = None, *, now: float = 0.0, settles_at: float | None = None
    ) -> Arrival:
        """Put a file on the disk, and offer it."""
        self.disk[path] = of
        (arrival,) = await self.offer(path, as_=as_, now=now, settles_at=settles_at)
        return arrival

    async def offer(
        self, *paths: bytes, as_: Origin | None = None, now: float = 0.0, settles_at: float | None = None
    ) -> list[Arrival]:
        """Offer files that are on the disk."""
        candidates = [Candidate(path, self.disk[path], settles_at) for path in paths]
        return await self.arrivals.offer(candidates, as_ or origin(), still_there=self.is_still_there, now=now)

    def is_still_there(self, path: bytes, of: Version) -> bool:
        return self.disk.get(path) == of

    async def claim(self, item_id: int, *, now: float = 0.0) -> Leased:
        """Lease one item, by making it the most urgent of all."""
        await self.queue.bump([item_id], now=now)
        leased = await self.queue.claim_urgent(now=now)
        assert leased is not None
        assert leased.item.id == item_id
        return leased

    async def accept(self, leased: Leased, *, embedded: bool = False, now: float = 0.0) -> bool:
        """The library takes it; asset id and digest follow from the item's id."""
        number = leased.item.id
        return await self.queue.accept(
            leased, asset_id=f"a{number}", sha256=digest(number), duplicate=False, embedded=embedded, now=now
        )

    def accepted(self, leased: Leased, *, embedded: bool = False) -> Accepted:
        """The same as `accept` says, for a group."""
        number = leased.item.id
        return Accepted(leased, f"a{number}", digest(number), duplicate=False, embedded=embedded)

    async def item(self, item_id: int) -> Item:
        item = await self.listing.item(item_id)
        assert item is not None
        return item

    async def new_in(self, state: State, number: int) -> int:
        """A new file, led into `state` as the daemon would."""
        arrival = await self.put(b"/memes/%d.png" % number, version(number))
        if state is not State.PENDING:
            await self.lead(await self.claim(arrival.item_id), state)
        return arrival.item_id

    async def lead(self, leased: Leased, state: State) -> None:
        """End a claim so that its item is in `state`; it is in `uploading` already."""
        match state:
            case State.EMBEDDING | State.READY:
                assert await self.accept(leased, embedded=state is State.READY)
            case State.DEAD:
                assert await self.queue.bury(leased, fault=Fault.REFUSED, reason="refused", now=0.0)
            case State.GONE:
                assert await self.queue.vanish(leased, reason="gone", now=0.0)
            case State.SKIPPED:
                assert await self.queue.skip(leased, fault=Fault.UNSUPPORTED, reason="unsupported", now=0.0)

    async def rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return await self.database.read(lambda c: [tuple(row) for row in c.execute(sql, values)])

    async def run(self, sql: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        return await self.database.write(lambda c: c.execute(sql, values).fetchall())

    async def assert_sums_are_right(self) -> None:
        await self.database.read(assert_sums_are_right)


def assert_sums_are_right(connection: sqlite3.Connection) -> None:
    """What the triggers keep equals a full recount."""

    def rows(sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in connection.execute(sql)]

    assert rows("SELECT * FROM counts WHERE n > 0 ORDER BY 1, 2, 3, 4, 5") == rows(RECOUNT)
    assert rows("SELECT * FROM counts WHERE n = 0 AND bytes <> 0") == []
    assert rows("SELECT id, items FROM folders ORDER BY id") == rows(
        "SELECT f.id, count(items.id) FROM folders AS f LEFT JOIN items ON folder_id = f.id GROUP BY 1 ORDER BY 1"
    )


def insert(name: str, *, pages: int = 0) -> Callable[[sqlite3.Connection], str]:
    """An operation on a database that needs about so many pages of room, and returns the name it has inserted."""

    def op(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO settings VALUES (?, ?, 0)", (name, "x" * pages * PAGE_BYTES))
        return name

    return op


def names(connection: sqlite3.Connection) -> set[str]:
    """All that was inserted."""
    return {row[0] for row in connection.execute("SELECT name FROM settings")} - {"stopped_cleanly", READ_THROUGH_AT}


def damage(path: Path, table: str) -> None:
    """Write nonsense over a page in the middle of `table`, of which nobody knows who does not read all of it.

    Within a table (sqlite.org/fileformat2.html), a page names the pages below it; rows are in those at the bottom.
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
    assert start != PAGE_BYTES * (root - 1), f"{table} is but one page"
    content[start : start + PAGE_BYTES] = digest(start) * (PAGE_BYTES // len(digest(start)))
    path.write_bytes(content)


@contextlib.asynccontextmanager
async def opened(path: Path, *, boot: str = "boot1") -> AsyncIterator[Store]:
    database = await Database.open(path)
    try:
        server = await server_id(database, URL)
        bells = Bells()
        yield Store(
            database,
            server,
            bells,
            Queue(database, server_id=server, boot=boot, bells=bells),
            Arrivals(database, server_id=server, bells=bells),
            Ledger(database, server_id=server),
            Listing(database, server_id=server),
        )
    finally:
        await database.close()
