"""What the daemon's store has acknowledged, and whether it is there."""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from storekit import Store, opened

from splootd.core.item import Item, State, Version

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

    offered: set[int] = field(default_factory=set)
    accepted: set[int] = field(default_factory=set)
    ready: set[int] = field(default_factory=set)
    buried: set[int] = field(default_factory=set)
    retried: dict[int, int] = field(default_factory=dict)  # number to its tries
    others: dict[str, list[str]] = field(default_factory=dict)  # word to what came with it

    @classmethod
    def of(cls, told: bytes | Iterable[bytes]) -> "Promises":
        """From the lines that `store_work` prints; a last line that was cut off counts for nothing."""
        promises = cls()
        whole = told if isinstance(told, bytes) else b"".join(told)
        for line in whole.decode().split("\n")[:-1]:
            promises.hear(*line.split(" "))
        return promises

    def hear(self, word: str, *rest: str) -> None:
        if word in ("offered", "accepted", "ready", "buried"):
            getattr(self, word).update(map(int, rest))
        elif word == "retried":
            number, tries = map(int, rest)
            self.retried[number] = max(tries, self.retried.get(number, 0))
        else:
            self.others.setdefault(word, []).append(" ".join(rest))

    def __len__(self) -> int:
        kept = (self.offered, self.accepted, self.ready, self.buried, self.retried)
        return sum(map(len, kept)) + len(self.others)

    async def check(self, folder: Path) -> None:
        """Open the store with the daemon's own code, and hold it to all of this. AssertionError when it fails."""
        async with opened(folder / "queue.db", boot="afterwards") as store:
            assert await store.rows("PRAGMA integrity_check") == [("ok",)]
            assert await store.rows("PRAGMA foreign_key_check") == []
            await store.queue.recover(now=1e6)
            await self._check_items(store)
            await self._check_sums(store)
            await self._check_others(store)
            await _check_works(store)
        if "backed_up" in self.others or (folder / "backup.db").exists():
            await _check_backup(folder / "backup.db")

    async def _check_items(self, store: Store) -> None:
        items = {number_of(item.path): item for item in await store.listing.items(limit=1_000_000)}
        (rows,) = (await store.rows("SELECT count(*) FROM items"))[0]
        assert rows == len(items), "a file is there twice"
        assert self.offered <= items.keys(), f"lost: {sorted(self.offered - items.keys())}"
        for number, item in items.items():
            self._check_item(number, item)
        for number in self.accepted | self.ready:
            content = await store.ledger.content(digest(number))
            assert content is not None, f"{number} is not in the ledger"
            assert content.asset_id == f"a{number}"
            assert content.ready or number not in self.ready

    def _check_item(self, number: int, item: Item) -> None:
        assert item.version == version_of(number)
        assert item.state is not State.UPLOADING
        if item.state in STORED:
            assert (item.asset_id, item.sha256) == (f"a{number}", digest(number))
        if number in self.accepted:
            assert item.state in STORED, f"{number} was accepted and is {item.state}"
        if number in self.ready:
            assert item.state is State.READY, f"{number} was ready and is {item.state}"
        if number in self.buried:
            assert item.state is State.DEAD, f"{number} was buried and is {item.state}"
        assert item.attempts >= self.retried.get(number, 0), f"{number} was tried more often than it knows"

    async def _check_sums(self, store: Store) -> None:
        await store.assert_sums_are_right()
        seqs = [seq for (seq,) in await store.rows("SELECT seq FROM events ORDER BY seq")]
        assert seqs == list(range(1, len(seqs) + 1)), "the news have a gap"
        last = "SELECT state FROM events WHERE item_id = items.id ORDER BY seq DESC LIMIT 1"
        untold = await store.rows(f"SELECT id, state, ({last}) AS told FROM items WHERE told IS NOT state")
        assert untold == [], "an item is in a state that was not told"

    async def _check_others(self, store: Store) -> None:
        told = self.others
        if "watched" in told:
            assert [folder.path for folder in await store.arrivals.folders()] == [b"/memes"]
        if "added" in told:
            (add,) = map(int, told["added"])
            assert (await store.arrivals.origin(add, None)).tags == ("cat",)
        if "walked" in told:
            assert await store.arrivals.roots_left() == []
        if "set" in told:
            assert await store.listing.setting("paused") == "yes"


async def _check_works(store: Store) -> None:
    """It goes on from here: what comes in now can be led to its end."""
    arrival = await store.put(b"/memes/afterwards.png", version_of(1_000_000))
    assert await store.accept(await store.claim(arrival.item_id), embedded=True)
    assert (await store.item(arrival.item_id)).state is State.READY


async def _check_backup(file: Path) -> None:
    """It holds what was acknowledged before it was taken: six items, two of them ready, and one ready at once."""
    async with opened(file, boot="afterwards") as copy:
        await copy.database.check()
        states = [state for (state,) in await copy.rows("SELECT state FROM items ORDER BY state")]
        assert states == ["dead", "pending", "pending", "ready", "ready", "ready"]


def rows_of(file: Path) -> list[tuple[int, bytes]]:
    """The items of a database of any version."""
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute("SELECT id, path FROM items ORDER BY id").fetchall()


def _check_copies(folder: Path, rows: list[tuple[int, bytes]]) -> None:
    for copy in folder.glob("queue.db.v*.backup"):
        assert rows_of(copy) == rows


async def check_migrated(folder: Path, rows: list[tuple[int, bytes]]) -> None:
    """It can be opened, with all the rows it had; a copy of the earlier version is whole where there is one."""
    _check_copies(folder, rows)
    async with opened(folder / "queue.db", boot="afterwards") as store:
        assert await store.rows("PRAGMA integrity_check") == [("ok",)]
        assert await store.rows("SELECT id, path FROM items ORDER BY id") == rows
        await store.assert_sums_are_right()
