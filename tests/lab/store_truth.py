"""Check of the store: every acknowledged write is there."""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from store_fixtures import Store, open_store

from splootd.core.item import Item, State, Version
from splootd.store import schema

STORED = (State.EMBEDDING, State.READY)


def path_of(number: int) -> bytes:
    return b"/memes/%d.png" % number


def number_of(path: bytes) -> int:
    return int(path.removeprefix(b"/memes/").removesuffix(b".png"))


def version_of(number: int) -> Version:
    return Version(size=100 + number, mtime_ns=number, device=7, inode=number)


def digest(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


@dataclass
class Promises:
    """The acknowledgements of one or more runs."""

    enqueued: set[int] = field(default_factory=set)
    accepted: set[int] = field(default_factory=set)
    ready: set[int] = field(default_factory=set)
    discarded: set[int] = field(default_factory=set)
    retried: dict[int, int] = field(default_factory=dict)  # attempts by number
    others: dict[str, list[str]] = field(default_factory=dict)  # details by word

    @classmethod
    def of(cls, output: bytes | Iterable[bytes]) -> "Promises":
        """Parse the lines that `store_work` prints. An incomplete last line is ignored."""
        promises = cls()
        whole = output if isinstance(output, bytes) else b"".join(output)
        for line in whole.decode().split("\n")[:-1]:
            promises.record(*line.split(" "))
        return promises

    def record(self, word: str, *rest: str) -> None:
        if word in ("enqueued", "accepted", "ready", "discarded"):
            getattr(self, word).update(map(int, rest))
        elif word == "retried":
            number, tries = map(int, rest)
            self.retried[number] = max(tries, self.retried.get(number, 0))
        else:
            self.others.setdefault(word, []).append(" ".join(rest))

    def __len__(self) -> int:
        kept = (self.enqueued, self.accepted, self.ready, self.discarded, self.retried)
        return sum(map(len, kept)) + len(self.others)

    async def check(self, folder: Path) -> None:
        """Open the store with the code of the daemon, and check all acknowledgements. Raises AssertionError."""
        async with open_store(folder / "queue.db", instance_id="afterwards") as store:
            assert await store.rows("PRAGMA integrity_check") == [("ok",)]
            assert await store.rows("PRAGMA foreign_key_check") == []
            await store.queue.release_stale(now=1e6)
            await self._check_items(store)
            await self._check_sums(store)
            await self._check_others(store)
            await _check_works(store)
        if "backed_up" in self.others or (folder / "backup.db").exists():
            await _check_backup(folder / "backup.db")

    async def _check_items(self, store: Store) -> None:
        items = {number_of(item.path): item for item in await store.read_queries.items(limit=1_000_000)}
        (rows,) = (await store.rows("SELECT count(*) FROM items"))[0]
        assert rows == len(items), "a file has two items"
        assert self.enqueued <= items.keys(), f"lost: {sorted(self.enqueued - items.keys())}"
        for number, item in items.items():
            self._check_item(number, item)
        for number in self.accepted | self.ready:
            content = await store.ledger.get(digest(number))
            assert content is not None, f"{number} is not in the ledger"
            assert content.asset_id == f"a{number}"
            assert content.was_embedded or number not in self.ready

    def _check_item(self, number: int, item: Item) -> None:
        assert item.version == version_of(number)
        assert item.state is not State.UPLOADING
        if item.state in STORED:
            assert (item.asset_id, item.sha256) == (f"a{number}", digest(number))
        if number in self.accepted:
            assert item.state in STORED, f"{number} was accepted and is {item.state}"
        if number in self.ready:
            assert item.state is State.READY, f"{number} was ready and is {item.state}"
        if number in self.discarded:
            assert item.state is State.FAILED, f"{number} was discarded and is {item.state}"
        assert item.attempts >= self.retried.get(number, 0), f"{number} has fewer attempts than acknowledged"

    async def _check_sums(self, store: Store) -> None:
        await store.assert_sums_are_right()
        seqs = [seq for (seq,) in await store.rows("SELECT seq FROM events ORDER BY seq")]
        assert seqs == list(range(1, len(seqs) + 1)), "the events have a gap"
        last = "SELECT state FROM events WHERE item_id = items.id ORDER BY seq DESC LIMIT 1"
        missing = await store.rows(f"SELECT id, state, ({last}) AS last_state FROM items WHERE last_state IS NOT state")
        assert missing == [], "an item has a state without an event"

    async def _check_others(self, store: Store) -> None:
        others = self.others
        if "watched" in others:
            assert [folder.path for folder in await store.folder_store.folders()] == [b"/memes"]
        if "imported" in others:
            (import_id,) = map(int, others["imported"])
            assert (await store.import_store.get_source(import_id, None)).tags == ("cat",)
        if "scanned" in others:
            assert await store.import_store.unfinished_roots() == []
        if "set" in others:
            assert await store.settings_store.get("paused") == "yes"


async def _check_works(store: Store) -> None:
    """Check that a new item can be uploaded."""
    result = await store.put(b"/memes/afterwards.png", version_of(1_000_000))
    assert await store.accept(await store.claim(result.item_id), embedded=True)
    assert (await store.item(result.item_id)).state is State.READY


async def _check_backup(file: Path) -> None:
    """Check the backup: six items, two of them finished and one accepted as ready."""
    async with open_store(file, instance_id="afterwards") as backup:
        await backup.database.check_integrity()
        states = [state for (state,) in await backup.rows("SELECT state FROM items ORDER BY state")]
        assert states == ["failed", "pending", "pending", "ready", "ready", "ready"]


@contextlib.contextmanager
def next_version() -> Iterator[None]:
    """Add two made-up versions to the migrations of the schema."""
    migrations = schema.migrations()
    newest = max(migrations)
    steps = {newest + 1: "ALTER TABLE servers ADD COLUMN name TEXT; UPDATE servers SET name = url;"}
    steps[newest + 2] = "CREATE TABLE made_up (item_id INTEGER) STRICT; INSERT INTO made_up SELECT id FROM items;"
    with mock.patch.object(schema, "migrations", return_value=migrations | steps):
        yield


async def create_old_database(folder: Path) -> Path:
    """Create a database of the newest real version with items in all states, and return a copy of it."""
    async with open_store(folder / "queue.db") as store:
        for number, state in enumerate(State):
            await store.new_in(state, number)
        await store.database.backup(folder / "old.db")
    return folder / "old.db"


def rows_of(file: Path) -> list[tuple[int, bytes]]:
    """Return the items of a database of any version."""
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute("SELECT id, path FROM items ORDER BY id").fetchall()


def _check_backups(folder: Path, rows: list[tuple[int, bytes]]) -> None:
    for backup in folder.glob("queue.db.v*.backup"):
        assert rows_of(backup) == rows


async def check_migrated(folder: Path, rows: list[tuple[int, bytes]]) -> None:
    """Check that the migrated database has all its rows, and that a backup of the old version is complete."""
    _check_backups(folder, rows)
    with next_version():
        await _check_migrated_rows(folder, rows)


async def _check_migrated_rows(folder: Path, rows: list[tuple[int, bytes]]) -> None:
    async with open_store(folder / "queue.db", instance_id="afterwards") as store:
        assert await store.rows("PRAGMA integrity_check") == [("ok",)]
        assert await store.rows("SELECT id, path FROM items ORDER BY id") == rows
        assert await store.rows("SELECT count(*) FROM made_up") == [(len(rows),)]
        await store.assert_sums_are_right()
