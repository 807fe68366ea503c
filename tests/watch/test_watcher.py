"""The watcher on real folders. Each way in which inotify was seen to lose an event has its test here."""

# ruff: noqa: ASYNC240 - a test may touch the disk on the loop
import asyncio
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from store_fixtures import Store
from watch_fixtures import LIMIT_S, LONG_AGO_S, PNG, WatchHarness, put, running_watcher, until

from splootd.clock import IDLE_WAKE_S, Clock
from splootd.config import Config
from splootd.core.item import Priority, State
from splootd.errors import StoreFull
from splootd.protocol import Add
from splootd.watch.folder_scanner import ScanSchedule, Watch, WatchUnavailable
from splootd.watch.importer import Importer
from splootd.watch.inotify_info import inotify_fds, watched_inodes
from splootd.watch.walker import Tree
from splootd.watch.watcher import NotifyWatch, Watcher

OnChange = Callable[[set[bytes]], None]
OnFailure = Callable[[str], None]
IDLE_SCHEDULE = ScanSchedule(settle_s=0.05)  # no periodic scan happens during a test


async def test_existing_and_new_files_are_queued(harness: WatchHarness, memes: Path) -> None:
    put(memes / "old.png")
    await harness.watch(memes)
    put(memes / "new.png", at=None)
    await harness.until_paths(memes / "old.png", memes / "new.png")


async def test_an_event_is_enough(store: Store, memes: Path) -> None:
    async with running_watcher(store, schedule=IDLE_SCHEDULE) as harness:
        await harness.watch(memes)
        put(memes / "new.png", at=None)
        await harness.until_paths(memes / "new.png")


async def test_a_download_renamed_into_place_is_new(store: Store, memes: Path) -> None:
    async with running_watcher(store, schedule=IDLE_SCHEDULE) as harness:
        await harness.watch(memes)
        put(memes / "x.png.crdownload", at=None)
        (memes / "x.png.crdownload").rename(memes / "x.png")
        await harness.until_paths(memes / "x.png")


async def test_a_file_that_goes_on_growing_makes_one_row(store: Store, memes: Path) -> None:
    async with running_watcher(store, schedule=replace(IDLE_SCHEDULE, settle_s=0.5)) as harness:
        await harness.watch(memes)
        events = harness.store.wake_signals.events
        with (memes / "slow.png").open("wb") as stream:
            for _ in range(20):
                stream.write(PNG)
                stream.flush()
                await events.wait(events.snapshot(), 0.02)
        await harness.until_paths(memes / "slow.png")
        (item,) = await harness.items()
        assert item.version.size == 20 * len(PNG)
        assert await harness.rows() == 1


async def test_new_content_under_an_old_name_is_a_new_version(harness: WatchHarness, memes: Path) -> None:
    put(memes / "a.png")
    await harness.watch(memes)
    put(memes / "a.png", PNG + b"more", at=LONG_AGO_S + 5)
    async with asyncio.timeout(LIMIT_S):
        while True:
            snapshot = harness.store.wake_signals.events.snapshot()
            (item, *_) = await harness.store.read_queries.items_by_path(os.fsencode(memes / "a.png"))
            if item.version.size == len(PNG) + 4:
                break
            await harness.store.wake_signals.events.wait(snapshot, LIMIT_S)


async def test_files_in_folders_made_at_once_are_all_found(harness: WatchHarness, memes: Path) -> None:
    await harness.watch(memes)
    wanted = []
    for number in range(50):
        folder = memes / f"n{number}" / "m"
        folder.mkdir(parents=True)
        put(folder / "x.png", at=None)
        wanted.append(folder / "x.png")
    await harness.until_paths(*wanted)


async def test_what_is_in_a_folder_that_is_moved_in_is_found(store: Store, memes: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside" / "deep"
    outside.mkdir(parents=True)
    put(outside / "x.png")
    async with running_watcher(store, schedule=IDLE_SCHEDULE) as harness:
        await harness.watch(memes)
        outside.parent.rename(memes / "inside")
        await harness.until_paths(memes / "inside" / "deep" / "x.png")
        put(memes / "inside" / "deep" / "later.png")
        await harness.until_paths(memes / "inside" / "deep" / "x.png", memes / "inside" / "deep" / "later.png")


async def test_five_thousand_files_dropped_at_once_are_all_found(harness: WatchHarness, memes: Path) -> None:
    await harness.watch(memes)

    def drop() -> None:
        for number in range(5_000):
            put(memes / f"{number}.png", at=None)

    await asyncio.to_thread(drop)
    await harness.until_count(5_000)
    assert await harness.rows() == 5_000


class Forgetful(NotifyWatch):
    """Reports one path and loses the rest, as the kernel does when its queue overflows."""

    def __init__(self, tree: Tree, *, recursive: bool, on_change: OnChange, on_failure: OnFailure) -> None:
        super().__init__(
            tree, recursive=recursive, on_change=lambda paths: on_change({min(paths)}), on_failure=on_failure
        )


async def test_what_an_overflow_lost_is_found_without_waiting_for_a_full_scan(store: Store, memes: Path) -> None:
    async with running_watcher(store, open_watch=Forgetful) as harness:
        await harness.watch(memes)
        wanted = [memes / f"{number}.png" for number in range(100)]
        for path in wanted:
            put(path)
        await harness.until_paths(*wanted)


async def test_a_folder_that_an_overflow_hid_is_found_and_watched(store: Store, memes: Path) -> None:
    async with running_watcher(store, open_watch=Forgetful) as harness:
        await harness.watch(memes)
        (memes / "z").mkdir()
        put(memes / "z" / "hidden.png")
        put(memes / "a.png")
        await harness.until_paths(memes / "a.png", memes / "z" / "hidden.png")


async def test_a_flood_of_events_is_followed_by_a_scan(store: Store, memes: Path) -> None:
    """A thousand paths in one batch may be all that an overflow left."""

    class Flooded(NotifyWatch):
        def __init__(self, tree: Tree, *, recursive: bool, on_change: OnChange, on_failure: OnFailure) -> None:
            lost = {b"%s/lost%d" % (tree.root, number) for number in range(1_000)}
            super().__init__(tree, recursive=recursive, on_change=lambda _: on_change(lost), on_failure=on_failure)

    async with running_watcher(
        store, schedule=replace(IDLE_SCHEDULE, rescan_delay_s=0.05), open_watch=Flooded
    ) as harness:
        await harness.watch(memes)
        put(memes / "x.png")
        await harness.until_paths(memes / "x.png")


async def test_more_events_than_can_be_buffered_cause_a_full_scan(store: Store, memes: Path) -> None:
    class Overwhelming(NotifyWatch):
        def __init__(self, tree: Tree, *, recursive: bool, on_change: OnChange, on_failure: OnFailure) -> None:
            lost = {b"%s/lost%d" % (tree.root, number) for number in range(20_001)}
            super().__init__(tree, recursive=recursive, on_change=lambda _: on_change(lost), on_failure=on_failure)

    async with running_watcher(
        store, schedule=replace(IDLE_SCHEDULE, rescan_delay_s=0.05), open_watch=Overwhelming
    ) as harness:
        await harness.watch(memes)
        put(memes / "x.png")
        await harness.until_paths(memes / "x.png")


async def test_a_name_that_is_not_utf8_is_queued_and_does_not_end_the_watching(
    harness: WatchHarness, memes: Path
) -> None:
    folder = await harness.watch(memes)
    odd, odder = os.fsencode(memes) + b"/caf\xe9.png", os.fsencode(memes) + b"/\xff.png"
    put(odd)
    await harness.until_paths(odd)
    put(odder)
    detail = await harness.until_state(folder, "polling")
    assert detail is not None
    assert detail.startswith("it contains a file whose name is not UTF-8, so it cannot be watched; scanned every")
    put(memes / "plain.png")
    await harness.until_paths(odd, odder, memes / "plain.png")


async def test_a_folder_whose_own_name_is_not_utf8_is_polled(harness: WatchHarness, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    watched = await harness.watch(folder)
    assert harness.watcher.health(watched.id)[0] == "polling"
    put(folder / "x.png")
    await harness.until_paths(folder / "x.png")


class Narrow(NotifyWatch):
    """Watches only the outermost folder, as when the system allows no more watches."""

    def __init__(self, tree: Tree, *, recursive: bool, on_change: OnChange, on_failure: OnFailure) -> None:
        outermost = {tree.root: tree.folders[tree.root]}
        super().__init__(replace(tree, folders=outermost), recursive=False, on_change=on_change, on_failure=on_failure)


async def test_what_cannot_be_watched_is_polled_and_named_and_the_limit_is_not_blamed(
    store: Store, memes: Path
) -> None:
    (memes / "sub").mkdir()
    async with running_watcher(store, open_watch=Narrow) as harness:
        folder = await harness.watch(memes)
        detail = await harness.until_state(folder, "polling")
        assert detail is not None
        assert detail.startswith("1 of 2 folders cannot be watched")
        assert detail.endswith(f"; {memes}/sub is one of them")
        put(memes / "sub" / "x.png")
        await harness.until_paths(memes / "sub" / "x.png")


async def test_a_limit_that_is_reached_later_is_noticed(store: Store, memes: Path) -> None:
    async with running_watcher(store, open_watch=Narrow) as harness:
        folder = await harness.watch(memes)
        assert harness.watcher.health(folder.id) == ("watching", None)
        (memes / "sub").mkdir()
        await harness.until_state(folder, "polling")
        put(memes / "sub" / "x.png")
        await harness.until_paths(memes / "sub" / "x.png")


async def test_a_file_that_changes_while_its_watch_is_opened_again_is_found(store: Store, memes: Path) -> None:
    """No event names it, and the time of its folder stays the same."""
    file = memes / "before" / "a.png"
    file.parent.mkdir()
    put(file)
    os.utime(file.parent, (LONG_AGO_S, LONG_AGO_S))
    changed = asyncio.Event()

    class ChangingWatch(Narrow):
        def __init__(self, tree: Tree, *, recursive: bool, on_change: OnChange, on_failure: OnFailure) -> None:
            if os.fsencode(memes / "sub") in tree.folders:
                put(file, PNG + b"more", at=LONG_AGO_S + 5)
                changed.set()
            super().__init__(tree, recursive=recursive, on_change=on_change, on_failure=on_failure)

    async with running_watcher(store, schedule=IDLE_SCHEDULE, open_watch=ChangingWatch) as harness:
        await harness.watch(memes)
        (memes / "sub").mkdir()
        async with asyncio.timeout(LIMIT_S):
            await changed.wait()
            while True:
                snapshot = store.wake_signals.events.snapshot()
                (item, *_) = await store.read_queries.items_by_path(os.fsencode(file))
                if item.version.size == len(PNG) + 4:
                    break
                await store.wake_signals.events.wait(snapshot, LIMIT_S)


def raise_unavailable(tree: Tree, *, recursive: bool, on_change: OnChange, on_failure: OnFailure) -> Watch:
    raise WatchUnavailable("inotify is not available")


async def test_a_folder_that_cannot_be_watched_at_all_is_polled(store: Store, memes: Path) -> None:
    (memes / "sub").mkdir()
    async with running_watcher(store, open_watch=raise_unavailable) as harness:
        folder = await harness.watch(memes)
        assert harness.watcher.health(folder.id) == (
            "polling",
            "inotify is not available; scanned every 0.1 s instead",
        )
        put(memes / "sub" / "x.png")
        await harness.until_paths(memes / "sub" / "x.png")


async def test_a_watch_that_fails_is_opened_again(store: Store, memes: Path) -> None:
    failure_callbacks: list[OnFailure] = []

    class FailingWatch(NotifyWatch):
        def __init__(self, tree: Tree, *, recursive: bool, on_change: OnChange, on_failure: OnFailure) -> None:
            failure_callbacks.append(on_failure)
            super().__init__(tree, recursive=recursive, on_change=on_change, on_failure=on_failure)

    async with running_watcher(store, schedule=IDLE_SCHEDULE, open_watch=FailingWatch) as harness:
        folder = await harness.watch(memes)
        failure_callbacks[0]("an I/O error")
        await until(harness.watcher.state_changed, lambda: len(failure_callbacks) == 2)
        put(memes / "x.png")
        await harness.until_paths(memes / "x.png")
        assert harness.watcher.health(folder.id) == ("watching", None)


async def test_a_missing_root_is_missing_and_not_emptied(harness: WatchHarness, memes: Path, tmp_path: Path) -> None:
    put(memes / "a.png")
    folder = await harness.watch(memes)
    memes.rename(tmp_path / "away")
    detail = await harness.until_state(folder, "missing")
    assert detail is not None
    assert detail.endswith("is missing (unmounted?); its queued files are kept")
    assert {item.state for item in await harness.items()} == {State.PENDING}
    put(tmp_path / "away" / "b.png")
    (tmp_path / "away").rename(memes)
    await harness.until_paths(memes / "a.png", memes / "b.png")
    await harness.until_state(folder, "watching")
    assert await harness.rows() == 2


async def test_a_root_that_was_deleted_and_made_again_is_watched_again(harness: WatchHarness, memes: Path) -> None:
    folder = await harness.watch(memes)
    shutil.rmtree(memes)
    await harness.until_state(folder, "missing")
    memes.mkdir()
    put(memes / "a.png")
    await harness.until_paths(memes / "a.png")
    await harness.until_state(folder, "watching")
    put(memes / "b.png")
    await harness.until_paths(memes / "a.png", memes / "b.png")
    assert (await harness.folder(memes)).inode == memes.stat().st_ino


async def test_the_loss_of_a_root_is_noticed_at_once(store: Store, memes: Path) -> None:
    async with running_watcher(store, schedule=replace(IDLE_SCHEDULE, rescan_delay_s=0.05)) as harness:
        folder = await harness.watch(memes)
        memes.rmdir()
        await harness.until_state(folder, "missing")


@pytest.mark.usefixtures("ordinary_permissions")
async def test_a_root_that_may_not_be_read_any_more_is_unreadable(harness: WatchHarness, memes: Path) -> None:
    folder = await harness.watch(memes)
    memes.chmod(0)
    await harness.until_state(folder, "unreadable")
    memes.chmod(0o700)
    put(memes / "x.png")
    await harness.until_paths(memes / "x.png")


async def test_a_root_that_was_replaced_by_another_is_scanned_again(
    harness: WatchHarness, memes: Path, tmp_path: Path
) -> None:
    await harness.watch(memes)
    other = tmp_path / "other"
    other.mkdir()
    put(other / "x.png")
    memes.rename(tmp_path / "away")
    other.rename(memes)
    await harness.until_paths(memes / "x.png")


async def test_an_empty_folder_of_another_disk_is_a_missing_disk(store: Store, memes: Path) -> None:
    here = memes.stat()
    folder = await store.folder_store.watch(
        os.fsencode(memes), device=here.st_dev + 1, inode=1, priority=Priority.NORMAL, tags=(), now=0
    )
    async with running_watcher(store) as harness:
        detail = await harness.until_state(folder, "missing")
        assert detail is not None
        assert "is an empty mount point" in detail
        put(memes / "x.png")
        await harness.until_paths(memes / "x.png")
        assert (await harness.folder(memes)).device == here.st_dev


async def test_an_empty_folder_whose_disk_has_a_new_number_is_watched(store: Store, memes: Path) -> None:
    here = memes.stat()
    await store.folder_store.watch(
        os.fsencode(memes), device=here.st_dev + 1, inode=here.st_ino, priority=Priority.NORMAL, tags=(), now=0
    )
    async with running_watcher(store) as harness:
        put(memes / "x.png")
        await harness.until_paths(memes / "x.png")
        assert (await harness.folder(memes)).device == here.st_dev


async def test_a_folder_that_is_missing_at_the_start_is_watched_when_it_comes(store: Store, tmp_path: Path) -> None:
    memes = tmp_path / "later"
    folder = await store.folder_store.watch(
        os.fsencode(memes), device=1, inode=1, priority=Priority.NORMAL, tags=(), now=0
    )
    async with running_watcher(store) as harness:
        await harness.until_state(folder, "missing")
        memes.mkdir()
        put(memes / "x.png")
        await harness.until_paths(memes / "x.png")


async def test_links_out_of_the_folder_are_not_followed(store: Store, memes: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    put(outside / "before.png")
    (memes / "link").symlink_to(outside)
    (memes / "circle").symlink_to(memes)
    (memes / "file.png").symlink_to(outside / "before.png")
    async with running_watcher(store) as harness:
        folder = await harness.watch(memes)
        assert harness.watcher.health(folder.id) == ("watching", None)
        put(outside / "after.png")
        (memes / "sub").mkdir()
        put(memes / "sub" / "x.png")
        await harness.until_paths(memes / "sub" / "x.png")
        put(memes / "sub" / "y.png")
        await harness.until_paths(memes / "sub" / "x.png", memes / "sub" / "y.png")
        assert all(outside.stat().st_ino not in watched_inodes(fd) for fd in inotify_fds())


async def test_a_folder_watched_inside_another_has_its_files_to_itself(harness: WatchHarness, memes: Path) -> None:
    inner = memes / "inner"
    inner.mkdir()
    await harness.add(memes)
    await harness.add(inner, tags=("inner",))
    outer_row, inner_row = await harness.folder(memes), await harness.folder(inner)
    await harness.until_state(outer_row, "watching")
    await harness.until_state(inner_row, "watching")
    put(memes / "a.png")
    put(inner / "b.png")
    await harness.until_paths(memes / "a.png", inner / "b.png")
    folders = {item.path: item.folder_id for item in await harness.items()}
    assert folders == {os.fsencode(memes / "a.png"): outer_row.id, os.fsencode(inner / "b.png"): inner_row.id}
    assert await harness.rows() == 2


def fill(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        put(folder / f"{number}.png", PNG + b"%d" % number)


async def test_a_renamed_folder_makes_no_new_row(harness: WatchHarness, memes: Path) -> None:
    fill(memes / "before", 1_000)
    await harness.watch(memes)
    assert await harness.rows() == 1_000
    (memes / "before").rename(memes / "after")
    await harness.until_paths(*(memes / "after" / f"{number}.png" for number in range(1_000)))
    assert await harness.rows() == 1_000


async def test_a_folder_renamed_while_the_watcher_was_off_makes_no_new_row(store: Store, memes: Path) -> None:
    fill(memes / "before", 1_000)
    async with running_watcher(store) as harness:
        await harness.watch(memes)
    (memes / "before").rename(memes / "after")
    async with running_watcher(store) as harness:
        await harness.until_paths(*(memes / "after" / f"{number}.png" for number in range(1_000)))
        assert await harness.rows() == 1_000


async def test_what_was_created_while_the_watcher_was_off_is_found(store: Store, memes: Path) -> None:
    async with running_watcher(store) as harness:
        await harness.watch(memes)
    put(memes / "x.png")
    async with running_watcher(store) as harness:
        await harness.until_paths(memes / "x.png")


async def test_new_rules_take_effect(store: Store, memes: Path) -> None:
    (memes / ".splootignore").write_text("*\n")
    put(memes / "a.png")
    async with running_watcher(store, schedule=replace(IDLE_SCHEDULE, rescan_delay_s=0.05)) as harness:
        await harness.watch(memes)
        assert await harness.rows() == 0
        (memes / ".splootignore").write_text("b.png\n")
        await harness.until_paths(memes / "a.png")
        put(memes / "b.png")
        put(memes / "c.png")
        await harness.until_paths(memes / "a.png", memes / "c.png")


async def test_what_is_hidden_or_ignored_is_never_queued(harness: WatchHarness, memes: Path) -> None:
    (memes / ".splootignore").write_text("private/\n")
    await harness.watch(memes)
    for folder in (".hidden", "private", "x.download"):
        (memes / folder).mkdir()
        put(memes / folder / "no.png")
    put(memes / ".no.png")
    put(memes / "note.txt", b"no image")
    put(memes / "no-suffix")
    await harness.until_paths(memes / "no-suffix")


async def test_a_removed_folder_is_no_longer_watched(harness: WatchHarness, memes: Path, tmp_path: Path) -> None:
    put(memes / "a.png")
    folder = await harness.watch(memes)
    await harness.store.folder_store.unwatch(folder.path)
    harness.watcher.unwatch(folder.path)
    await until(harness.watcher.state_changed, lambda: harness.watcher.health(folder.id)[0] == "scanning")
    put(memes / "b.png")
    other = tmp_path / "other"
    other.mkdir()
    put(other / "c.png")
    await harness.watch(other)
    await harness.until_paths(memes / "a.png", other / "c.png")


async def test_a_store_error_delays_files_and_loses_none(
    store: Store, memes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_watcher(store) as harness:
        await harness.watch(memes)
        enqueue, failures = store.import_store.enqueue, iter([True, True])

        async def failing_enqueue(*args: object, **options: object) -> object:
            if next(failures, False):
                raise StoreFull("the disk is full")
            return await enqueue(*args, **options)  # type: ignore[arg-type]  # passed on unchanged

        monkeypatch.setattr(store.import_store, "enqueue", failing_enqueue)
        put(memes / "x.png")
        await harness.until_paths(memes / "x.png")


async def test_nothing_wakes_an_idle_watcher_within_a_minute(store: Store, memes: Path) -> None:
    async with running_watcher(store, schedule=ScanSchedule()) as harness:
        await harness.watch(memes)
        await harness.store.database.read(lambda connection: None)
        loop = asyncio.get_running_loop()
        timers = [timer.when() for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]  # no other way to see what would wake the loop
        assert timers
        off_s = [abs(at - IDLE_WAKE_S * round(at / IDLE_WAKE_S)) for at in timers if at < loop.time() + IDLE_WAKE_S]
        assert max(off_s, default=0) < 1.0  # a machine may stall between reading the clock and setting a timer


async def test_what_an_import_finds_in_a_new_folder_counts_for_the_import(harness: WatchHarness, memes: Path) -> None:
    """Otherwise `add --wait` would wait for nothing."""
    for number in range(100):
        put(memes / f"{number}.png")
    added = await harness.add(memes)
    await harness.until_scanned(added)
    await harness.until_state(await harness.folder(memes), "watching")
    assert (await harness.store.read_queries.progress(added.import_id or 0)).total == 100


async def test_a_scan_that_a_crash_cut_off_is_finished_before_its_folder_is_watched(store: Store, memes: Path) -> None:
    """Otherwise the watcher would find the import's files first."""
    put(memes / "x.png")
    clock = Clock()
    importer = Importer(store.import_store, store.folder_store, clock, settle_s=0)
    await importer.add(Add((str(memes),)), "key")  # no scan runs, as if the daemon had crashed here
    watcher = Watcher(store.import_store, store.folder_store, importer, clock, Config())
    await watcher.run_once()
    assert watcher._monitors == {}
    (folder,) = await store.folder_store.folders()
    assert watcher.health(folder.id) == ("scanning", None)
