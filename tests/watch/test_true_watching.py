"""Watching stays true where folders are unreadable, links or mount points, and where their times do not change."""

# ruff: noqa: ASYNC240 - a test may touch the disk on the loop
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from store_fixtures import Store
from watch_fixtures import LONG_AGO_S, WatchHarness, put, running_watcher, until

from splootd.watch.folder_scanner import ScanSchedule, Watch, WatchUnavailable
from splootd.watch.walker import Tree

# No poll and no periodic scan happens during a test: what is found was found by events.
EVENTS_ONLY = ScanSchedule(settle_s=0.05, rescan_delay_s=0.1, retry_interval_s=0.05)
FOLDERS = ("aa", "bb", "locked", "mm", "yy", "zz")


@pytest.fixture
def other_disk() -> Iterator[Path]:
    """A folder on another file system than `tmp_path`."""
    shm = Path("/dev/shm")
    if not shm.is_dir():
        pytest.skip("no second file system here")
    with tempfile.TemporaryDirectory(dir=shm) as folder:
        yield Path(folder)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system, mounted."""
    yield from mounted(tmp_path / "disk")


def mounted(mount_point: Path) -> Iterator[Path]:
    mount_point.mkdir()
    mount(mount_point)
    yield mount_point
    unmount(mount_point)


def mount(mount_point: Path) -> None:
    done = subprocess.run(["mount", "-t", "tmpfs", "none", mount_point], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this user may not mount file systems")


def unmount(mount_point: Path) -> None:
    subprocess.run(["umount", "--recursive", mount_point], check=True)


@pytest.mark.usefixtures("ordinary_permissions")
async def test_an_unreadable_subfolder_leaves_the_others_watched(store: Store, memes: Path) -> None:
    for name in FOLDERS:
        (memes / name).mkdir()
    (memes / "locked").chmod(0)
    readable = [memes / name for name in FOLDERS if name != "locked"]
    async with running_watcher(store, schedule=EVENTS_ONLY) as harness:
        folder = await harness.watch(memes)
        assert harness.watcher.health(folder.id) == ("watching", f"cannot read {memes}/locked: Permission denied")
        for each in readable:
            put(each / "x.png")
        await harness.until_paths(*(each / "x.png" for each in readable))


@pytest.mark.usefixtures("ordinary_permissions")
async def test_the_complaint_about_a_subfolder_goes_when_it_is_readable_again(
    harness: WatchHarness, memes: Path
) -> None:
    locked = memes / "sub" / "locked"
    locked.mkdir(parents=True)
    put(locked / "x.png")
    locked.chmod(0)
    folder = await harness.watch(memes)
    assert harness.watcher.health(folder.id)[1] == f"cannot read {locked}: Permission denied"
    locked.chmod(0o700)
    await harness.until_paths(locked / "x.png")
    await until(harness.watcher.state_changed, lambda: harness.watcher.health(folder.id) == ("watching", None))
    put(locked / "y.png")
    await harness.until_paths(locked / "x.png", locked / "y.png")


@pytest.mark.usefixtures("ordinary_permissions")
async def test_the_complaint_about_a_subfolder_goes_when_it_is_deleted(harness: WatchHarness, memes: Path) -> None:
    (memes / "locked").mkdir(mode=0)
    folder = await harness.watch(memes)
    assert harness.watcher.health(folder.id)[1] is not None
    (memes / "locked").rmdir()
    await until(harness.watcher.state_changed, lambda: harness.watcher.health(folder.id) == ("watching", None))


async def test_a_root_that_is_moved_and_linked_stays_watched(store: Store, memes: Path, tmp_path: Path) -> None:
    (memes / "sub").mkdir()
    async with running_watcher(store, schedule=replace(EVENTS_ONLY, quick_scan_interval_s=0.3)) as harness:
        folder = await harness.watch(memes)
        memes.rename(tmp_path / "moved")
        memes.symlink_to(tmp_path / "moved")
        put(memes / "a.png")
        put(tmp_path / "moved" / "sub" / "b.png")
        await harness.until_paths(memes / "a.png", memes / "sub" / "b.png")
        await harness.until_state(folder, "watching")
        put(tmp_path / "moved" / "c.png")
        await harness.until_paths(memes / "a.png", memes / "sub" / "b.png", memes / "c.png")


async def test_a_root_that_is_linked_a_while_after_its_move_is_watched_again(
    harness: WatchHarness, memes: Path, tmp_path: Path
) -> None:
    folder = await harness.watch(memes)
    memes.rename(tmp_path / "moved")
    await harness.until_state(folder, "missing")
    memes.symlink_to(tmp_path / "moved")
    await harness.until_state(folder, "watching")
    put(memes / "a.png")
    put(tmp_path / "moved" / "b.png")
    await harness.until_paths(memes / "a.png", memes / "b.png")


async def test_a_root_that_is_moved_to_another_disk_and_linked_stays_watched(
    harness: WatchHarness, memes: Path, other_disk: Path
) -> None:
    put(memes / "old.png")
    folder = await harness.watch(memes)
    shutil.move(memes, other_disk / "memes")
    memes.symlink_to(other_disk / "memes")
    put(memes / "a.png")
    await harness.until_paths(memes / "old.png", memes / "a.png")
    await harness.until_state(folder, "watching")
    put(other_disk / "memes" / "b.png")
    await harness.until_paths(memes / "old.png", memes / "a.png", memes / "b.png")


async def test_a_link_that_is_pointed_elsewhere_is_followed(harness: WatchHarness, memes: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    await harness.watch(memes)
    memes.rename(first)
    memes.symlink_to(first)
    put(first / "a.png")
    await harness.until_paths(memes / "a.png")
    second.mkdir()
    put(second / "b.png")
    memes.unlink()
    memes.symlink_to(second)
    await harness.until_paths(memes / "a.png", memes / "b.png")


async def test_a_moved_and_linked_root_that_is_added_again_is_not_watched_twice(
    harness: WatchHarness, memes: Path, tmp_path: Path
) -> None:
    (memes / "sub").mkdir()
    put(memes / "sub" / "a.png")
    folder = await harness.watch(memes)
    memes.rename(tmp_path / "moved")
    memes.symlink_to(tmp_path / "moved")
    for added in (memes, tmp_path / "moved", memes / "sub", memes / "sub" / "a.png"):
        await harness.add(added)
    assert [each.id for each in await harness.store.folder_store.folders()] == [folder.id]
    await harness.until_paths(memes / "sub" / "a.png")
    assert await harness.rows() == 1


async def test_a_disk_mounted_in_a_watched_disk_is_watched(store: Store, disk: Path) -> None:
    """The roots of both have the same inode number, and no event of inotify tells of the mount."""
    card = disk / "card"
    card.mkdir()
    async with running_watcher(store, schedule=EVENTS_ONLY) as harness:
        folder = await harness.watch(disk)
        mount(card)
        assert card.stat().st_ino == disk.stat().st_ino
        put(card / "a.png")
        await harness.until_paths(card / "a.png")
        await harness.until_state(folder, "watching")
        put(card / "b.png")
        await harness.until_paths(card / "a.png", card / "b.png")


async def test_what_was_below_a_mount_point_is_watched_again_after_the_unmount(store: Store, disk: Path) -> None:
    card = disk / "card"
    card.mkdir()
    async with running_watcher(store, schedule=EVENTS_ONLY) as harness:
        await harness.watch(disk)
        mount(card)
        put(card / "a.png")
        await harness.until_paths(card / "a.png")
        unmount(card)
        put(card / "b.png")
        await harness.until_paths(card / "a.png", card / "b.png")


def raise_unavailable(tree: Tree, **_: object) -> Watch:
    raise WatchUnavailable("network file systems do not report changes")


async def test_a_new_file_is_found_although_the_time_of_its_folder_stays(store: Store, memes: Path) -> None:
    sub = memes / "sub"
    sub.mkdir()
    for folder in (sub, memes):
        os.utime(folder, (LONG_AGO_S, LONG_AGO_S))
    async with running_watcher(store, open_watch=raise_unavailable) as harness:
        watched = await harness.watch(memes)
        assert harness.watcher.health(watched.id) == (
            "polling",
            "network file systems do not report changes; scanned every 0.1 s instead",
        )
        for folder in (memes, sub):
            put(folder / "x.png")
            os.utime(folder, (LONG_AGO_S, LONG_AGO_S))
        await harness.until_paths(memes / "x.png", sub / "x.png")


async def test_all_watched_folders_share_one_thread(harness: WatchHarness, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in FOLDERS]
    for folder in folders:
        folder.mkdir()
        await harness.watch(folder)
    assert [thread.name for thread in threading.enumerate()].count("watch") == 1
    for folder in folders:
        put(folder / "x.png")
    await harness.until_paths(*(folder / "x.png" for folder in folders))
