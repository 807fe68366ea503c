"""The kernel's limit of watches, set in a separate user namespace, so that it affects no other process."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_fixtures import open_store
from watch_fixtures import put, running_watcher

from splootd.watch.ignore import IgnoreRules
from splootd.watch.walker import Tree, Walker
from splootd.watch.watcher import NotifyWatch

WATCHES = 4
FOLDERS = 10


def is_possible() -> bool:
    if shutil.which("unshare") is None:
        return False
    probe = ["unshare", "-U", "-r", "sh", "-c", f"echo {WATCHES} > /proc/sys/user/max_inotify_watches"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not is_possible(), reason="no user namespaces here, or no limit in them")


def run_at_limit(scenario: str, folder: Path) -> list[str]:
    """Run a function of this module where only WATCHES folders can be watched; return the lines that it prints."""
    limit = f'echo {WATCHES} > /proc/sys/user/max_inotify_watches && exec "$0" "$@"'
    done = subprocess.run(
        ["unshare", "-U", "-r", "sh", "-c", limit, sys.executable, __file__, scenario, str(folder)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_at_the_kernels_limit_every_file_is_found_and_the_detail_names_the_remedy(tmp_path: Path) -> None:
    *_, state, detail = run_at_limit("watch_and_find", tmp_path)
    assert state == "polling"
    missing = FOLDERS + 1 - WATCHES
    assert detail.startswith(f"{missing} of {FOLDERS + 1} folders cannot be watched")
    assert "sudo sysctl fs.inotify.max_user_watches=" in detail


def test_a_watch_without_a_single_folder_reports_all_of_them_as_unwatched(tmp_path: Path) -> None:
    """Otherwise nothing would poll them. Another watch of this process, which has them, changes nothing about it."""
    assert run_at_limit("open_two", tmp_path) == [str(FOLDERS + 1 - WATCHES), str(FOLDERS + 1)]


def test_a_watch_that_follows_another_gets_all_that_the_kernel_allows(tmp_path: Path) -> None:
    assert run_at_limit("open_one_after_another", tmp_path) == [str(FOLDERS + 1 - WATCHES)] * 20


def make_folders(tmp_path: Path) -> Path:
    memes = tmp_path / "memes"
    for number in range(FOLDERS):
        (memes / str(number)).mkdir(parents=True)
    return memes


@contextlib.contextmanager
def open_watch(memes: Path) -> Iterator[int]:
    """Open a watch; yield the number of folders that it does not watch."""
    root = os.fsencode(memes)
    rules = IgnoreRules(root)
    walker = Walker([root], rules=rules, now=0)
    walker.next_files(1, float("inf"))
    tree = Tree(root, frozenset(), walker.folders, rules)
    watch = NotifyWatch(tree, recursive=True, on_change=lambda _: None, on_failure=lambda _: None)
    yield len(watch.find_unwatched(walker.folders))
    watch.close()


async def open_two(tmp_path: Path) -> None:
    memes = make_folders(tmp_path)
    with open_watch(memes) as unwatched_by_first, open_watch(memes) as unwatched_by_second:
        print(unwatched_by_first)
        print(unwatched_by_second)


async def open_one_after_another(tmp_path: Path) -> None:
    memes = make_folders(tmp_path)
    for _ in range(20):
        with open_watch(memes) as unwatched:
            print(unwatched)


async def watch_and_find(tmp_path: Path) -> None:
    memes = make_folders(tmp_path)
    folders = [memes / str(number) for number in range(FOLDERS)]
    async with open_store(tmp_path / "queue.db") as store, running_watcher(store) as harness:
        watched = await harness.watch(memes)
        detail = await harness.until_state(watched, "polling")
        for folder in folders:
            put(folder / "x.png")
        await harness.until_paths(*(folder / "x.png" for folder in folders))
        print(harness.watcher.health(watched.id)[0])
        print(detail)


if __name__ == "__main__":
    asyncio.run(globals()[sys.argv[1]](Path(sys.argv[2])))
