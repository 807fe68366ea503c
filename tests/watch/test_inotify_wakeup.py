"""A watch blocks while nothing happens, and reports an event without delay."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from watch_fixtures import LIMIT_S

from splootd.watch import watcher
from splootd.watch.ignore import IgnoreRules
from splootd.watch.walker import Tree
from splootd.watch.watcher import NotifyWatch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux sends SIGIO for inotify")

IDLE_S = 1.0


class Reports:
    """The paths that a watch reports."""

    def __init__(self) -> None:
        self.batches: asyncio.Queue[set[bytes]] = asyncio.Queue()

    async def until(self, path: Path) -> None:
        async with asyncio.timeout(LIMIT_S):
            while os.fsencode(path) not in await self.batches.get():
                pass


@asynccontextmanager
async def watching(folder: Path) -> AsyncIterator[tuple[Reports, NotifyWatch]]:
    reports, root = Reports(), os.fsencode(folder)
    tree = Tree(root, frozenset(), {}, IgnoreRules(root))
    watch = NotifyWatch(tree, recursive=True, on_change=reports.batches.put_nowait, on_failure=pytest.fail)
    try:
        yield reports, watch
    finally:
        watch.close()


def wake_ups() -> int:
    """Return how often the watch threads were scheduled."""
    counts = []
    for thread in Path("/proc/self/task").iterdir():
        lines = (thread / "status").read_text().splitlines()
        if lines[0].split()[1] == "watch":
            counts.append(sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line))
    return sum(counts)


async def until_waiting(watch: NotifyWatch) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not watch.is_waiting:  # noqa: ASYNC110 - the thread sends no wake signal
            await asyncio.sleep(0.01)


async def test_nothing_is_done_while_nothing_happens(tmp_path: Path) -> None:
    async with watching(tmp_path) as (_, watch):
        await until_waiting(watch)
        before = wake_ups()
        await asyncio.sleep(IDLE_S)
        assert wake_ups() - before <= 2


async def test_each_event_wakes_it(tmp_path: Path) -> None:
    async with watching(tmp_path) as (reports, watch):
        for number in range(3):
            await until_waiting(watch)
            (tmp_path / f"{number}.png").write_bytes(b"x")
            await reports.until(tmp_path / f"{number}.png")


async def test_several_watches_wait_and_each_reports_its_own_events(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    async with watching(folders[0]) as (one, first), watching(folders[1]) as (other, second):
        for watch in (first, second):
            await until_waiting(watch)
        (folders[1] / "late.png").write_bytes(b"x")
        await other.until(folders[1] / "late.png")
        first.close()
        (folders[1] / "later.png").write_bytes(b"x")
        await other.until(folders[1] / "later.png")
        assert one.batches.empty()


async def test_a_watch_that_was_opened_while_another_closed_waits(tmp_path: Path) -> None:
    """The new descriptor often gets the number that the old one has just released."""
    removed = tmp_path / "removed"
    removed.mkdir()
    async with watching(removed):
        pass
    async with watching(tmp_path) as (reports, watch):
        await until_waiting(watch)
        (tmp_path / "new.png").write_bytes(b"x")
        await reports.until(tmp_path / "new.png")


async def test_an_event_while_it_begins_to_wait_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "IDLE_AFTER_MS", 15)
    async with watching(tmp_path) as (reports, _):
        for number in range(150):  # at every step between polling and waiting
            time.sleep(number % 50 / 1000)  # noqa: ASYNC251 - the loop has nothing else to do
            (tmp_path / f"{number}.png").write_bytes(b"x")
            await reports.until(tmp_path / f"{number}.png")
