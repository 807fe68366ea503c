"""Assets removed from the library stay removed unless forced, and the daemon never removes an asset."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pipeline_fixtures import PipelineHarness, jpeg, open_pipeline
from scripted_sploot import lose_response, reply_with
from watch_fixtures import FAST_SCHEDULE

from splootd.config import Config
from splootd.core.item import Item, Priority, State
from splootd.store.ledger import LedgerEntry
from splootd.upload.delivery import CHECK_CACHE_TTL_S
from splootd.watch.importer import Importer
from splootd.watch.watcher import Watcher

ONE = jpeg("one")


@pytest.fixture
async def pipeline(tmp_path: Path) -> AsyncIterator[PipelineHarness]:
    async with open_pipeline(tmp_path) as pipeline:
        yield pipeline


async def known(pipeline: PipelineHarness) -> LedgerEntry:
    content = await pipeline.store.ledger.get(hashlib.sha256(ONE).digest())
    assert content is not None
    return content


async def upload_one(pipeline: PipelineHarness) -> Item:
    """Upload one file and let the cache of checks expire."""
    item = await pipeline.take(await pipeline.add("a.jpg", ONE))
    await pipeline.tracker.run_once()
    await pipeline.later(CHECK_CACHE_TTL_S + 1)
    item = await pipeline.store.item(item.id)
    assert item.state is State.READY
    return item


async def test_a_known_content_is_looked_up_and_not_sent(pipeline: PipelineHarness) -> None:
    await upload_one(pipeline)
    copy = await pipeline.take(await pipeline.add("b.jpg", ONE))
    assert (copy.state, copy.duplicate) == (State.READY, True)
    assert pipeline.sploot.count("check") == 1
    assert pipeline.sploot.count("upload") == 1


async def test_a_content_removed_from_the_library_is_not_sent_again(pipeline: PipelineHarness) -> None:
    await upload_one(pipeline)
    pipeline.sploot.assets.clear()
    copy = await pipeline.take(await pipeline.add("b.jpg", ONE))
    assert (copy.state, copy.error_code) == (State.SKIPPED, "removed")
    assert copy.error_message == "b.jpg was removed from the library: to upload it again, use `sploot add --force`"
    assert (await known(pipeline)).removed_at is not None
    assert pipeline.sploot.count("upload") == 1
    again = await pipeline.take(await pipeline.add("c.jpg", ONE))
    assert again.error_code == "removed"


async def test_an_asset_restored_in_the_library_is_known_again(pipeline: PipelineHarness) -> None:
    await upload_one(pipeline)
    await pipeline.store.ledger.mark_removed(hashlib.sha256(ONE).digest(), now=pipeline.clock.now())
    copy = await pipeline.take(await pipeline.add("b.jpg", ONE))
    assert (copy.state, copy.duplicate) == (State.READY, True)
    assert (await known(pipeline)).removed_at is None


async def test_force_sends_a_removed_content_again(pipeline: PipelineHarness) -> None:
    await upload_one(pipeline)
    pipeline.sploot.assets.clear()
    forced = await pipeline.take(await pipeline.add("a.jpg", ONE, force=True))
    assert (forced.state, forced.duplicate) == (State.EMBEDDING, False)
    assert pipeline.sploot.count("upload") == 2
    assert (await known(pipeline)).removed_at is None


async def test_force_does_not_send_a_content_that_the_library_has(pipeline: PipelineHarness) -> None:
    before = await upload_one(pipeline)
    forced = await pipeline.take(await pipeline.add("a.jpg", ONE, force=True))
    assert forced.id != before.id
    assert (forced.state, forced.duplicate) == (State.READY, True)
    assert pipeline.sploot.count("upload") == 1


@pytest.mark.parametrize("response", [lose_response, reply_with(500, {"error": "no"}), reply_with(200, b"<html>", {})])
async def test_a_failed_lookup_leaves_the_ledger_unchanged(pipeline: PipelineHarness, response: object) -> None:
    await upload_one(pipeline)
    pipeline.sploot.always["check"] = response  # type: ignore[assignment]  # all of them are handlers
    item = await pipeline.take(await pipeline.add("b.jpg", ONE))
    assert (item.state, item.attempts) == (State.PENDING, 0)
    assert (await known(pipeline)).removed_at is None
    del pipeline.sploot.always["check"]
    await pipeline.later(60)
    assert (await pipeline.take(item.id)).state is State.READY


async def test_deleting_a_local_file_deletes_no_asset(pipeline: PipelineHarness) -> None:
    """Deleting a file or its folder deletes no asset, watched or not: no DELETE request is sent."""
    inner = pipeline.folder / "inner"
    inner.mkdir()
    for name in ("a.jpg", "inner/b.jpg", "inner/c.jpg"):
        (pipeline.folder / name).write_bytes(jpeg(name))
        os.utime(pipeline.folder / name, (1e9, 1e9))
    importer = Importer(pipeline.store.import_store, pipeline.store.folder_store, pipeline.clock, settle_s=0.0)
    watcher = Watcher(
        pipeline.store.import_store,
        pipeline.store.folder_store,
        importer,
        pipeline.clock,
        Config(),
        schedule=FAST_SCHEDULE,
    )
    status = pipeline.folder.stat()
    folder = await pipeline.store.folder_store.watch(
        os.fsencode(pipeline.folder),
        device=status.st_dev,
        inode=status.st_ino,
        priority=Priority.NORMAL,
        tags=(),
        now=1.0,
    )
    pipeline.start(track=True)
    pipeline.tasks += [asyncio.create_task(importer.run()), asyncio.create_task(watcher.run())]
    await pipeline.until(lambda counts: counts[State.READY] == 3)
    (pipeline.folder / "inner/b.jpg").unlink()
    (pipeline.folder / "inner/c.jpg").unlink()
    inner.rmdir()
    (pipeline.folder / "last.jpg").write_bytes(jpeg("last"))
    await pipeline.until(lambda counts: counts[State.READY] == 4)
    pipeline.folder.joinpath("a.jpg").unlink()
    pipeline.folder.joinpath("last.jpg").unlink()
    pipeline.folder.rmdir()
    async with asyncio.timeout(30):
        while watcher.health(folder.id)[0] != "missing":
            snapshot = watcher.state_changed.snapshot()
            await watcher.state_changed.wait(snapshot, 1.0)
    assert (await pipeline.store.read_queries.counts()).by_state[State.READY] == 4
    assert len(pipeline.sploot.assets) == 4
    assert {request.method for request in pipeline.sploot.requests} == {"GET", "POST"}
