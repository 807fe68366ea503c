"""A folder of ten thousand memes is renamed: no request is sent, no file is hashed, no row is added."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pipeline_fixtures import PipelineHarness, open_pipeline
from sample_files import mass
from scripted_sploot import ScriptedSploot
from watch_fixtures import FAST_SCHEDULE, WatchHarness, until

from splootd import file_reader
from splootd.config import Config
from splootd.core.item import State
from splootd.watch.importer import Importer
from splootd.watch.watcher import Watcher

COUNT = 10_000
LIMIT_S = 90


@pytest.fixture(scope="module")
def memes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with COUNT small pictures in `memes/a`, all of them settled."""
    root = tmp_path_factory.mktemp("root") / "memes"
    for path in mass(root / "a", COUNT, 4_096):
        os.utime(path, (1e9, 1e9))
    return root


@contextlib.contextmanager
def nothing_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail the test if a file is hashed or opened."""

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("a file was read")

    with monkeypatch.context() as patch:
        patch.setattr(file_reader, "_read_file", fail)
        patch.setattr("splootd.watch.walker.read_head", fail)
        patch.setattr("splootd.watch.path_check.read_head", fail)
        yield


@contextlib.asynccontextmanager
async def running_workers(pipeline: PipelineHarness) -> AsyncIterator[WatchHarness]:
    """Run importer, watcher and uploader, as in a daemon."""
    importer = Importer(
        pipeline.store.import_store, pipeline.store.folder_store, pipeline.clock, settle_s=FAST_SCHEDULE.settle_s
    )
    watcher = Watcher(
        pipeline.store.import_store,
        pipeline.store.folder_store,
        importer,
        pipeline.clock,
        Config(),
        schedule=FAST_SCHEDULE,
    )
    tasks = [asyncio.create_task(worker.run()) for worker in (importer, watcher, pipeline.uploader)]
    try:
        yield WatchHarness(pipeline.store, importer, watcher)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)


async def everything_is_in_the_library(pipeline: PipelineHarness) -> None:
    """Set all queued items to ready, as if they had been uploaded."""
    for statement in (
        "UPDATE items SET state = 'uploading', lease = 'b:x', next_at = NULL",
        """UPDATE items SET state = 'ready', lease = NULL, asset_id = 'c' || id, accepted_at = 1,
          sha256 = CAST(substr(printf('%032d', id), 1, 32) AS BLOB)""",
    ):
        await pipeline.store.run(statement)


async def paths_in(pipeline: PipelineHarness, folder: Path) -> int:
    ((count,),) = await pipeline.store.rows(
        "SELECT count(*) FROM items WHERE latest = 1 AND substr(path, 1, ?) = ?",
        (len(bytes(folder)) + 1, bytes(folder) + b"/"),
    )
    return int(count)


async def until_all_are_in(pipeline: PipelineHarness, folder: Path) -> None:
    async with asyncio.timeout(LIMIT_S):
        while True:
            snapshot = pipeline.store.wake_signals.events.snapshot()
            if await paths_in(pipeline, folder) == COUNT:
                return
            await pipeline.store.wake_signals.events.wait(snapshot, LIMIT_S)


async def nothing_happened_but_a_rename(
    pipeline: PipelineHarness, sploot: ScriptedSploot, requests_before: int
) -> None:
    assert len(sploot.requests) == requests_before
    assert await pipeline.store.rows("SELECT count(*), sum(latest) FROM items") == [(COUNT, COUNT)]
    assert (await pipeline.store.read_queries.counts()).by_state[State.READY] == COUNT
    await pipeline.store.assert_sums_are_right()


async def test_renaming_a_folder_of_ten_thousand_sends_no_byte_and_hashes_nothing(
    tmp_path: Path, memes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the daemon is off, and while it runs; a folder inside the watched one, and one moved into another."""
    async with open_pipeline(tmp_path) as pipeline:
        pipeline.admission.pause()
        async with running_workers(pipeline) as harness:
            folder = await harness.watch(memes)
            await until_all_are_in(pipeline, memes / "a")
            await everything_is_in_the_library(pipeline)
        pipeline.admission.resume()
        requests_before = len(pipeline.sploot.requests)
        with nothing_read(monkeypatch):
            move(memes / "a", memes / "while it was off")
            async with running_workers(pipeline) as harness:
                await until_all_are_in(pipeline, memes / "while it was off")
                await harness.until_state(folder, "watching")
                move(memes / "while it was off", memes / "while it runs")
                await until_all_are_in(pipeline, memes / "while it runs")
                move(memes / "while it runs", memes / "deep" / "er" / "a")
                await until_all_are_in(pipeline, memes / "deep" / "er" / "a")
                await nothing_happened_but_a_rename(pipeline, pipeline.sploot, requests_before)

                # The watched folder itself is renamed: it is missing, and its items keep their states.
                move(memes, memes.with_name("unplugged"))
                await harness.until_state(folder, "missing")
                await nothing_happened_but_a_rename(pipeline, pipeline.sploot, requests_before)
                move(memes.with_name("unplugged"), memes)
                await until(harness.watcher.state_changed, lambda: harness.watcher.health(folder.id)[0] == "watching")
                assert await paths_in(pipeline, memes / "deep" / "er" / "a") == COUNT
                await nothing_happened_but_a_rename(pipeline, pipeline.sploot, requests_before)
        move(memes / "deep" / "er" / "a", memes / "a")
