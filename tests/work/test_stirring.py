"""A watch that is told when to look sleeps while nothing happens, and is not late when something does."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from watchkit import LIMIT_S

from splootd.work import watcher
from splootd.work.ignore import Rules
from splootd.work.walk import Tree
from splootd.work.watcher import NotifyWatch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when to look")

CALM_S = 1.0


class Ear:
    """Hears what a watch tells."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[set[bytes]] = asyncio.Queue()

    async def hears(self, path: Path) -> None:
        async with asyncio.timeout(LIMIT_S):
            while os.fsencode(path) not in await self.heard.get():
                pass


@asynccontextmanager
async def watching(folder: Path) -> AsyncIterator[tuple[Ear, NotifyWatch]]:
    ear, root = Ear(), os.fsencode(folder)
    tree = Tree(root, frozenset(), {}, Rules(root))
    watch = NotifyWatch(tree, recursive=True, told=ear.heard.put_nowait, died=pytest.fail)
    try:
        yield ear, watch
    finally:
        watch.close()


def wake_ups() -> int:
    """How often the threads that watch have been woken."""
    counts = []
    for thread in Path("/proc/self/task").iterdir():
        lines = (thread / "status").read_text().splitlines()
        if lines[0].split()[1] == "watch":
            counts.append(sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line))
    return sum(counts)


async def until_asleep(watch: NotifyWatch) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not watch.is_asleep:  # noqa: ASYNC110 - a thread rings no bell
            await asyncio.sleep(0.01)


async def test_nothing_is_done_while_nothing_happens(tmp_path: Path) -> None:
    async with watching(tmp_path) as (_, watch):
        await until_asleep(watch)
        before = wake_ups()
        await asyncio.sleep(CALM_S)
        assert wake_ups() - before <= 2


async def test_what_happens_wakes_it_again_and_again(tmp_path: Path) -> None:
    async with watching(tmp_path) as (ear, watch):
        for number in range(3):
            await until_asleep(watch)
            (tmp_path / f"{number}.png").write_bytes(b"x")
            await ear.hears(tmp_path / f"{number}.png")


async def test_several_sleep_and_each_hears_its_own(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    async with watching(folders[0]) as (one, first), watching(folders[1]) as (other, second):
        for watch in (first, second):
            await until_asleep(watch)
        (folders[1] / "late.png").write_bytes(b"x")
        await other.hears(folders[1] / "late.png")
        first.close()
        (folders[1] / "later.png").write_bytes(b"x")
        await other.hears(folders[1] / "later.png")
        assert one.heard.empty()


async def test_a_watch_sleeps_that_was_opened_while_another_closed(tmp_path: Path) -> None:
    """The descriptor of the new one is often the number that the old one has just given back."""
    gone = tmp_path / "gone"
    gone.mkdir()
    async with watching(gone):
        pass
    async with watching(tmp_path) as (ear, watch):
        await until_asleep(watch)
        (tmp_path / "new.png").write_bytes(b"x")
        await ear.hears(tmp_path / "new.png")


async def test_what_comes_while_it_falls_asleep_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "QUIET_MS", 15)
    async with watching(tmp_path) as (ear, _):
        for number in range(150):  # at every moment of falling asleep
            time.sleep(number % 50 / 1000)  # noqa: ASYNC251 - the loop has nothing else to do
            (tmp_path / f"{number}.png").write_bytes(b"x")
            await ear.hears(tmp_path / f"{number}.png")
