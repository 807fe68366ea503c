"""The scan cache saves work and changes nothing: after any change, a scan has the same result with and without it."""

import itertools
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from store_fixtures import Store, open_store, source
from watch_fixtures import LONG_AGO_S, PNG, put

from splootd.clock import Clock
from splootd.core.error_code import ErrorCode
from splootd.core.item import SHARDS, Priority, State
from splootd.store.upsert import EnqueueResult, Source
from splootd.watch import scan_cache
from splootd.watch.ignore import IgnoreRules
from splootd.watch.importer import Importer
from splootd.watch.scan_cache import FolderFingerprint, ScanCache
from splootd.watch.walker import ScanCounts, Walker

ROW = "path, inode, latest, size, mtime_ns, state, folder_id, import_id"
RAM = "/dev/shm" if Path("/dev/shm").is_dir() else None  # each commit waits for the disk


class Scans:
    """Scans one folder, with one importer or with a new one, and so an empty cache, each time.

    `enqueued` counts the files compared with the store.
    """

    def __init__(self, store: Store, folder: Path, *, use_cache: bool = True) -> None:
        self.store = store
        self.folder = folder
        self.enqueued = 0
        self._use_cache = use_cache
        self._importer = self._new_importer()
        enqueue = store.import_store.enqueue

        async def counting_enqueue(files: Any, *args: Any, **options: Any) -> list[EnqueueResult]:
            self.enqueued += len(files)
            return await enqueue(files, *args, **options)

        store.import_store.enqueue = counting_enqueue  # type: ignore[method-assign]  # only counts

    def _new_importer(self) -> Importer:
        return Importer(self.store.import_store, self.store.folder_store, Clock(), settle_s=2.0)

    async def scan(self, as_: Source | None = None, *, at: Path | None = None) -> Counter[str]:
        root, counts = os.fsencode(at or self.folder), ScanCounts()
        if not self._use_cache:
            self._importer = self._new_importer()
        await self._importer.enqueue_walk(
            Walker([root], rules=IgnoreRules(root), now=Clock().now()), as_ or source(), counts
        )
        return counts.by_outcome

    async def finish_all(self, state: State) -> None:
        """Bring all pending items into `state`."""
        for shard in range(SHARDS):
            for leased in await self.store.queue.claim_batch(shard, limit=100, now=1.0, chance=0.0):
                await self.store.lead(leased, state)

    async def fill_cache(self, state: State = State.READY) -> None:
        """Scan until the folder has no unfinished file and the cache knows that."""
        await self.scan()
        await self.finish_all(state)
        await self.scan()


def fill(folder: Path) -> Path:
    (folder / "inner").mkdir(parents=True)
    for name in ("a.png", "b.png", "inner/c.png", "inner/d"):
        put(folder / name)
    put(folder / "notes.txt", b"no picture")
    return folder


async def test_files_in_a_final_state_are_not_compared_with_the_store(tmp_path: Path) -> None:
    async with open_store(tmp_path / "queue.db") as store:
        scans = Scans(store, fill(tmp_path / "memes"))
        await scans.fill_cache()
        scans.enqueued = 0
        assert await scans.scan() == {"known": 4}
        assert scans.enqueued == 0
        put(scans.folder / "inner" / "new.png")
        assert await scans.scan() == {"known": 4, "queued": 1}
        assert scans.enqueued == 3  # those beside the new one
        assert await scans.scan() == {"known": 5}
        assert scans.enqueued == 6  # it is unfinished


def rename(scans: Scans, name: str, target: str) -> None:
    (scans.folder / name).rename(scans.folder / target)


async def requeue_and_lose(scans: Scans) -> None:
    """Requeue an item; its file is missing for a moment, so the item is given up, and then returns unchanged."""
    item, *_ = await scans.store.read_queries.items_by_path(os.fsencode(scans.folder / "a.png"))
    await scans.store.queue.requeue(ids=[item.id], now=3.0)
    leased = await scans.store.queue.claim_urgent(now=4.0)
    if leased:
        await scans.store.queue.file_missing(leased, error_message="missing", now=5.0)


async def there_and_back(scans: Scans) -> None:
    """Move a file away, find it there, and move it back."""
    other = scans.folder.parent / "other"
    other.mkdir()
    (scans.folder / "a.png").rename(other / "a.png")
    await scans.scan(at=other)
    (other / "a.png").rename(scans.folder / "a.png")


async def watched(scans: Scans) -> None:
    options: dict[str, Any] = {"device": 1, "inode": 1, "priority": Priority.NORMAL, "tags": [], "now": 3.0}
    folder = await scans.store.folder_store.watch(os.fsencode(scans.folder), **options)
    for _ in range(2):
        await scans.scan(source(folder_id=folder.id))


async def unwatched_and_watched_again(scans: Scans) -> None:
    await watched(scans)
    await scans.store.folder_store.unwatch(os.fsencode(scans.folder))
    await watched(scans)


async def on_disk(change: Callable[[], object]) -> None:
    change()


def comparable(rows: Sequence[tuple[Any, ...]], folder: Path) -> list[tuple[Any, ...]]:
    """Replace what differs between two equal folders: the path prefix, and inodes by the names that they have now."""
    prefix = len(os.fsencode(folder))
    inodes = {each.stat().st_ino: each.name for each in folder.rglob("*")}
    return [(path[prefix:], inodes.get(inode), *others) for path, inode, *others in rows]


Change = Callable[[Scans], Awaitable[None]]
CHANGES: dict[str, Change] = {
    "nothing": lambda scans: on_disk(lambda: None),
    "other time": lambda scans: on_disk(lambda: os.utime(scans.folder / "a.png", (LONG_AGO_S, LONG_AGO_S + 1))),
    "other size": lambda scans: on_disk(lambda: put(scans.folder / "a.png", PNG + b"more")),
    "another file in its place": lambda scans: on_disk(lambda: rename(scans, "b.png", "a.png")),
    "renamed": lambda scans: on_disk(lambda: rename(scans, "a.png", "z.png")),
    "renamed to another folder": lambda scans: on_disk(lambda: rename(scans, "a.png", "inner/a.png")),
    "names exchanged": lambda scans: on_disk(
        lambda: [rename(scans, "a.png", "x.png"), rename(scans, "b.png", "a.png"), rename(scans, "x.png", "b.png")]
    ),
    "removed": lambda scans: on_disk((scans.folder / "a.png").unlink),
    "a text that is a picture now": lambda scans: on_disk(lambda: put(scans.folder / "notes.txt", PNG)),
    "an empty one": lambda scans: on_disk(lambda: put(scans.folder / "a.png", b"")),
    "a new folder": lambda scans: on_disk(lambda: fill(scans.folder / "new")),
    "a folder is deleted": lambda scans: on_disk(lambda: shutil.rmtree(scans.folder / "inner")),
    "left out by rules": lambda scans: on_disk(lambda: (scans.folder / ".splootignore").write_text("a.*\n")),
    "requeued and lost": requeue_and_lose,
    "there and back": there_and_back,
    "watched": watched,
    "unwatched and watched again": unwatched_and_watched_again,
    "another origin": lambda scans: on_disk(lambda: None),
}


@pytest.mark.parametrize("state", [State.READY, State.FAILED, State.PENDING])
@pytest.mark.parametrize("change", CHANGES)
async def test_after_any_change_a_scan_has_the_same_result_with_and_without_the_cache(
    tmp_path: Path, change: str, state: State
) -> None:
    async def result(folder: Path, *, use_cache: bool) -> tuple[object, ...]:
        memes = fill(folder / "memes")
        with tempfile.TemporaryDirectory(dir=RAM) as scratch:
            async with open_store(Path(scratch, "queue.db")) as store:
                return await result_after_change(Scans(store, memes, use_cache=use_cache))

    async def result_after_change(scans: Scans) -> tuple[object, ...]:
        await scans.fill_cache(state)
        await scans.scan()
        await CHANGES[change](scans)
        counts = [await scans.scan(), await scans.scan(source(force=True)), await scans.scan()]
        rows = await scans.store.rows(f"SELECT {ROW} FROM items ORDER BY id")
        await scans.store.assert_sums_are_right()
        return counts, *sorted(comparable(rows, scans.folder.parent), key=repr)

    with_cache = await result(tmp_path / "with", use_cache=True)
    assert with_cache == await result(tmp_path / "without", use_cache=False)


async def test_the_cache_epoch_changes_with_items_in_a_final_state_and_with_nothing_else(
    store_in_all_states: Store,
) -> None:
    store = store_in_all_states
    counts = [await store.folder_store.cache_epoch()]
    await store.new_in(State.PENDING, 50)  # a new item, a step of an item, a known file
    await store.new_in(State.EMBEDDING, 51)
    await store.enqueue(b"/memes/3.png")
    counts.append(await store.folder_store.cache_epoch())
    (failed, *_) = await store.read_queries.items(state=State.FAILED, limit=1)
    await store.queue.requeue(ids=[failed.id], now=1.0)
    counts.append(await store.folder_store.cache_epoch())
    leased = await store.claim(failed.id)  # not in a final state any more, so its failure changes nothing
    await store.queue.discard(leased, error_code=ErrorCode.REJECTED, error_message="r", now=1.0)
    counts.append(await store.folder_store.cache_epoch())
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
        counts.append(await store.folder_store.cache_epoch())
    steps = [after - before for before, after in itertools.pairwise(counts)]
    assert steps == [0, 1, 0, *[1] * 7]


@pytest.fixture
async def store_in_all_states(tmp_path: Path) -> Any:
    async with open_store(tmp_path / "queue.db") as store:
        for number, state in enumerate(State):
            await store.new_in(state, number)
        yield store


def test_a_new_epoch_clears_the_cache_and_its_size_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_cache, "FOLDERS_MAX", 2)
    cache, fingerprint = ScanCache(), FolderFingerprint(1, 2)
    lookup = cache.lookup(cache_epoch=1, is_watched=False)
    cache.update(
        {b"/a": fingerprint, b"/b": fingerprint, b"/c": fingerprint},
        dirty_folders={b"/b"},
        cache_epoch=1,
        is_watched=False,
    )
    cache.update({b"/d": fingerprint}, dirty_folders=(), cache_epoch=1, is_watched=False)
    assert [lookup(each) for each in (b"/a", b"/b", b"/c", b"/d")] == [fingerprint, None, fingerprint, None]
    assert cache.lookup(cache_epoch=1, is_watched=True)(b"/a") is None
    cache.update({b"/c": fingerprint}, dirty_folders={b"/c"}, cache_epoch=1, is_watched=False)
    assert lookup(b"/c") is None
    assert cache.lookup(cache_epoch=2, is_watched=False)(b"/a") is None
    cache.update({b"/a": fingerprint}, dirty_folders=(), cache_epoch=1, is_watched=False)  # a scan that started before
    assert cache.lookup(cache_epoch=2, is_watched=False)(b"/a") is None
