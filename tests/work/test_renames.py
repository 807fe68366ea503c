"""A folder of ten thousand memes gets another name: nothing is sent, nothing is hashed, no row is new."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted import Scripted
from specimens import mass
from walkkit import Walk, walking
from watchkit import BRISK, Post, until

from splootd.config import Config
from splootd.core.item import State
from splootd.work import files
from splootd.work.intake import Intake
from splootd.work.watcher import Watcher

COUNT = 10_000
LIMIT_S = 90


@pytest.fixture(scope="module")
def memes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COUNT small pictures in a folder `memes/a`, all of them last changed long ago."""
    root = tmp_path_factory.mktemp("root") / "memes"
    for path in mass(root / "a", COUNT, 4_096):
        os.utime(path, (1e9, 1e9))
    return root


@contextlib.contextmanager
def nothing_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever hashes a file, or only opens it, fails the test."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a file was read")

    with monkeypatch.context() as patch:
        patch.setattr(files, "_read", refuse)
        patch.setattr("splootd.work.walk.read_head", refuse)
        patch.setattr("splootd.work.named.read_head", refuse)
        yield


@contextlib.asynccontextmanager
async def on_duty(walk: Walk) -> AsyncIterator[Post]:
    """Intake, watcher and uploader at work, as in a daemon that runs."""
    intake = Intake(walk.store.arrivals, walk.clock, settle_s=BRISK.settle_s)
    watcher = Watcher(walk.store.arrivals, intake, walk.clock, Config(), rhythm=BRISK)
    tasks = [asyncio.create_task(worker.run()) for worker in (intake, watcher, walk.uploader)]
    try:
        yield Post(walk.store, intake, watcher)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)


async def everything_is_in_the_library(walk: Walk) -> None:
    """As if all that is queued had been sent long ago."""
    for statement in (
        "UPDATE items SET state = 'uploading', lease = 'b:x', next_at = NULL",
        """UPDATE items SET state = 'ready', lease = NULL, asset_id = 'c' || id, accepted_at = 1,
          sha256 = CAST(substr(printf('%032d', id), 1, 32) AS BLOB)""",
    ):
        await walk.store.run(statement)


async def paths_in(walk: Walk, folder: Path) -> int:
    ((count,),) = await walk.store.rows(
        "SELECT count(*) FROM items WHERE latest = 1 AND substr(path, 1, ?) = ?",
        (len(bytes(folder)) + 1, bytes(folder) + b"/"),
    )
    return int(count)


async def until_all_are_in(walk: Walk, folder: Path) -> None:
    async with asyncio.timeout(LIMIT_S):
        while True:
            ticket = walk.store.bells.news.ticket()
            if await paths_in(walk, folder) == COUNT:
                return
            await walk.store.bells.news.wait(ticket, LIMIT_S)


async def nothing_happened_but_a_rename(walk: Walk, sploot: Scripted, asked: int) -> None:
    assert len(sploot.requests) == asked
    assert await walk.store.rows("SELECT count(*), sum(latest) FROM items") == [(COUNT, COUNT)]
    assert (await walk.store.listing.counts()).by_state[State.READY] == COUNT
    await walk.store.assert_sums_are_right()


async def test_renaming_a_folder_of_ten_thousand_sends_no_byte_and_hashes_nothing(
    tmp_path: Path, memes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the daemon is off, and while it runs; a folder inside the watched one, and one moved into another."""
    async with walking(tmp_path) as walk:
        walk.gate.pause()
        async with on_duty(walk) as post:
            folder = await post.watch(memes)
            await until_all_are_in(walk, memes / "a")
            await everything_is_in_the_library(walk)
        walk.gate.resume()
        asked = len(walk.sploot.requests)
        with nothing_read(monkeypatch):
            move(memes / "a", memes / "while it was off")
            async with on_duty(walk) as post:
                await until_all_are_in(walk, memes / "while it was off")
                await post.until_state(folder, "watching")
                move(memes / "while it was off", memes / "while it runs")
                await until_all_are_in(walk, memes / "while it runs")
                move(memes / "while it runs", memes / "deep" / "er" / "a")
                await until_all_are_in(walk, memes / "deep" / "er" / "a")
                await nothing_happened_but_a_rename(walk, walk.sploot, asked)

                # The watched folder itself goes away: it is missing, and nothing is concluded.
                move(memes, memes.with_name("unplugged"))
                await post.until_state(folder, "missing")
                await nothing_happened_but_a_rename(walk, walk.sploot, asked)
                move(memes.with_name("unplugged"), memes)
                await until(post.watcher.news, lambda: post.watcher.health(folder.id)[0] == "watching")
                assert await paths_in(walk, memes / "deep" / "er" / "a") == COUNT
                await nothing_happened_but_a_rename(walk, walk.sploot, asked)
        move(memes / "deep" / "er" / "a", memes / "a")
