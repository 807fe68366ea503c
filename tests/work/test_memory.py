"""What is remembered of folders saves work and changes nothing: whatever happens, a look comes to the same with it."""

import itertools
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from storekit import Store, opened, origin
from watchkit import LONG_AGO_S, PNG, put

from splootd.clock import Clock
from splootd.core.failure import Fault
from splootd.core.item import SHARDS, Priority, State
from splootd.store.arrivals import Arrival, Origin
from splootd.work import memory
from splootd.work.ignore import Rules
from splootd.work.intake import Intake
from splootd.work.memory import Memory, Seen
from splootd.work.walk import Tally, Walk

ROW = "path, inode, latest, size, mtime_ns, state, folder_id, add_id"
RAM = "/dev/shm" if Path("/dev/shm").is_dir() else None  # each commit waits for the disk


class Looks:
    """Looks at one folder, with an intake that remembers or with a new one each time; `offered` counts files."""

    def __init__(self, store: Store, folder: Path, *, remember: bool = True) -> None:
        self.store = store
        self.folder = folder
        self.offered = 0
        self._remember = remember
        self._intake = self._fresh()
        offer = store.arrivals.offer

        async def counted(candidates: Any, *args: Any, **options: Any) -> list[Arrival]:
            self.offered += len(candidates)
            return await offer(candidates, *args, **options)

        store.arrivals.offer = counted  # type: ignore[method-assign]  # only counts

    def _fresh(self) -> Intake:
        return Intake(self.store.arrivals, Clock(), settle_s=2.0)

    async def look(self, as_: Origin | None = None, *, at: Path | None = None) -> Counter[str]:
        root, tally = os.fsencode(at or self.folder), Tally()
        if not self._remember:
            self._intake = self._fresh()
        await self._intake.walk(Walk([root], rules=Rules(root), now=Clock().now()), as_ or origin(), tally)
        return tally.counts

    async def end_all(self, state: State) -> None:
        """Lead all that waits into `state`."""
        for shard in range(SHARDS):
            for leased in await self.store.queue.claim_group(shard, limit=100, now=1.0, chance=0.0):
                await self.store.lead(leased, state)

    async def rest(self, state: State = State.READY) -> None:
        """Until nothing is left to do in the folder, and that is known."""
        await self.look()
        await self.end_all(state)
        await self.look()


def fill(folder: Path) -> Path:
    (folder / "inner").mkdir(parents=True)
    for name in ("a.png", "b.png", "inner/c.png", "inner/d"):
        put(folder / name)
    put(folder / "notes.txt", b"no picture")
    return folder


async def test_what_is_at_rest_is_only_looked_at(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.db") as store:
        looks = Looks(store, fill(tmp_path / "memes"))
        await looks.rest()
        looks.offered = 0
        assert await looks.look() == {"known": 4}
        assert looks.offered == 0
        put(looks.folder / "inner" / "new.png")
        assert await looks.look() == {"known": 4, "queued": 1}
        assert looks.offered == 3  # those beside the new one
        assert await looks.look() == {"known": 5}
        assert looks.offered == 6  # it has not ended yet


def moved(looks: Looks, source: str, target: str) -> None:
    (looks.folder / source).rename(looks.folder / target)


async def revive_and_lose(looks: Looks) -> None:
    """The user wants one again; its file is away for a moment, so that it is given up, and comes back as it was."""
    item, *_ = await looks.store.listing.by_path(os.fsencode(looks.folder / "a.png"))
    await looks.store.queue.revive(ids=[item.id], now=3.0)
    leased = await looks.store.queue.claim_urgent(now=4.0)
    if leased:
        await looks.store.queue.vanish(leased, reason="gone", now=5.0)


async def there_and_back(looks: Looks) -> None:
    """One is moved away, found there, and moved back where it was."""
    shelf = looks.folder.parent / "shelf"
    shelf.mkdir()
    (looks.folder / "a.png").rename(shelf / "a.png")
    await looks.look(at=shelf)
    (shelf / "a.png").rename(looks.folder / "a.png")


async def watched(looks: Looks) -> None:
    options: dict[str, Any] = {"device": 1, "inode": 1, "priority": Priority.NORMAL, "tags": [], "now": 3.0}
    folder = await looks.store.arrivals.watch(os.fsencode(looks.folder), **options)
    for _ in range(2):
        await looks.look(origin(folder_id=folder.id))


async def unwatched_and_watched_again(looks: Looks) -> None:
    await watched(looks)
    await looks.store.arrivals.unwatch(os.fsencode(looks.folder))
    await watched(looks)


async def on_disk(change: Callable[[], object]) -> None:
    change()


def comparable(rows: Sequence[tuple[Any, ...]], folder: Path) -> list[tuple[Any, ...]]:
    """Two folders filled alike have other paths and other inodes: which file is at which name is what counts."""
    prefix = len(os.fsencode(folder))
    inodes = {each.stat().st_ino: each.name for each in folder.rglob("*")}
    return [(path[prefix:], inodes.get(inode), *others) for path, inode, *others in rows]


Story = Callable[[Looks], Awaitable[None]]
STORIES: dict[str, Story] = {
    "nothing": lambda looks: on_disk(lambda: None),
    "other time": lambda looks: on_disk(lambda: os.utime(looks.folder / "a.png", (LONG_AGO_S, LONG_AGO_S + 1))),
    "other size": lambda looks: on_disk(lambda: put(looks.folder / "a.png", PNG + b"more")),
    "another file in its place": lambda looks: on_disk(lambda: moved(looks, "b.png", "a.png")),
    "renamed": lambda looks: on_disk(lambda: moved(looks, "a.png", "z.png")),
    "renamed to another folder": lambda looks: on_disk(lambda: moved(looks, "a.png", "inner/a.png")),
    "names exchanged": lambda looks: on_disk(
        lambda: [moved(looks, "a.png", "x.png"), moved(looks, "b.png", "a.png"), moved(looks, "x.png", "b.png")]
    ),
    "removed": lambda looks: on_disk((looks.folder / "a.png").unlink),
    "a text that is a picture now": lambda looks: on_disk(lambda: put(looks.folder / "notes.txt", PNG)),
    "an empty one": lambda looks: on_disk(lambda: put(looks.folder / "a.png", b"")),
    "a new folder": lambda looks: on_disk(lambda: fill(looks.folder / "new")),
    "a folder is gone": lambda looks: on_disk(lambda: shutil.rmtree(looks.folder / "inner")),
    "left out by rules": lambda looks: on_disk(lambda: (looks.folder / ".splootignore").write_text("a.*\n")),
    "revived and lost": revive_and_lose,
    "there and back": there_and_back,
    "watched": watched,
    "unwatched and watched again": unwatched_and_watched_again,
    "another origin": lambda looks: on_disk(lambda: None),
}


@pytest.mark.parametrize("state", [State.READY, State.DEAD, State.PENDING])
@pytest.mark.parametrize("story", STORIES)
async def test_whatever_happens_a_look_comes_to_the_same(tmp_path: Path, story: str, state: State) -> None:
    async def told(folder: Path, *, remember: bool) -> tuple[object, ...]:
        memes = fill(folder / "memes")
        with tempfile.TemporaryDirectory(dir=RAM) as scratch:
            async with opened(Path(scratch, "queue.db")) as store:
                return await story_of(Looks(store, memes, remember=remember))

    async def story_of(looks: Looks) -> tuple[object, ...]:
        await looks.rest(state)
        await looks.look()
        await STORIES[story](looks)
        counts = [await looks.look(), await looks.look(origin(force=True)), await looks.look()]
        rows = await looks.store.rows(f"SELECT {ROW} FROM items ORDER BY id")
        await looks.store.assert_sums_are_right()
        return counts, *sorted(comparable(rows, looks.folder.parent), key=repr)

    with_it = await told(tmp_path / "with", remember=True)
    assert with_it == await told(tmp_path / "without", remember=False)


async def test_an_upheaval_is_a_change_to_what_had_ended_and_nothing_else(store_at_rest: Store) -> None:
    store = store_at_rest
    counts = [await store.arrivals.upheavals()]
    await store.new_in(State.PENDING, 50)  # what is new, or goes on, or is seen to be known
    await store.new_in(State.EMBEDDING, 51)
    await store.offer(b"/memes/3.png")
    counts.append(await store.arrivals.upheavals())
    (dead, *_) = await store.listing.items(state=State.DEAD, limit=1)
    await store.queue.revive(ids=[dead.id], now=1.0)
    counts.append(await store.arrivals.upheavals())
    leased = await store.claim(dead.id)  # it is under way already: that it is lost unsettles nobody
    await store.queue.bury(leased, fault=Fault.REFUSED, reason="r", now=1.0)
    counts.append(await store.arrivals.upheavals())
    for change in (
        "path = x'00'",
        "latest = 0",
        "size = 1",
        "mtime_ns = 1",
        "device = 1",
        "inode = 1",
        "folder_id = 1",
    ):
        folder = "INSERT OR IGNORE INTO folders (id, path, device, inode, priority, tags, added_at)"
        await store.run(f"{folder} VALUES (1, x'2f', 1, 1, 1, '[]', 0)")
        await store.run(f"UPDATE items SET {change} WHERE state = 'ready' AND latest = 1")
        await store.run("UPDATE items SET latest = 1 WHERE state = 'ready'")
        counts.append(await store.arrivals.upheavals())
    steps = [after - before for before, after in itertools.pairwise(counts)]
    assert steps == [0, 1, 0, *[1] * 7]


@pytest.fixture
async def store_at_rest(tmp_path: Path) -> Any:
    async with opened(tmp_path / "queue.db") as store:
        for number, state in enumerate(State):
            await store.new_in(state, number)
        yield store


def test_a_memory_is_void_after_an_upheaval_and_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "FOLDERS_MAX", 2)
    kept, seen = Memory(), Seen(1, 2)
    recall = kept.recall(upheavals=1, is_watched=False)
    kept.remember({b"/a": seen, b"/b": seen, b"/c": seen}, but={b"/b"}, upheavals=1, is_watched=False)
    kept.remember({b"/d": seen}, but=(), upheavals=1, is_watched=False)
    assert [recall(each) for each in (b"/a", b"/b", b"/c", b"/d")] == [seen, None, seen, None]
    assert kept.recall(upheavals=1, is_watched=True)(b"/a") is None
    kept.remember({b"/c": seen}, but={b"/c"}, upheavals=1, is_watched=False)
    assert recall(b"/c") is None
    assert kept.recall(upheavals=2, is_watched=False)(b"/a") is None
    kept.remember({b"/a": seen}, but=(), upheavals=1, is_watched=False)  # a look that began before
    assert kept.recall(upheavals=2, is_watched=False)(b"/a") is None
