"""Unusual files: each has a defined outcome and a message, and none blocks another."""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sample_files
from pipeline_fixtures import HEAD, PipelineHarness, jpeg, open_pipeline
from scripted_sploot import Reply, Request, hold

from splootd.core.item import State
from splootd.file_reader import BUFFERED_BYTES_MAX

LONG_AGO = (1e9, 1e9)
OUTCOMES = {
    "empty": (State.FAILED, "empty"),
    "text": (State.FAILED, "not_an_image"),
    "over_limit": (State.FAILED, "too_large"),
    "heic": (State.SKIPPED, "unsupported"),
    "avif": (State.SKIPPED, "unsupported"),
    "mp4": (State.SKIPPED, "unsupported"),
    "truncated": (State.EMBEDDING, None),
    "newline": (State.EMBEDDING, None),
    "non_utf8": (State.EMBEDDING, None),
}


@pytest.fixture
async def pipeline(tmp_path: Path) -> AsyncIterator[PipelineHarness]:
    async with open_pipeline(tmp_path) as pipeline:
        yield pipeline


@pytest.mark.parametrize("kind", OUTCOMES)
async def test_unusual_files_end_with_a_message(pipeline: PipelineHarness, kind: str) -> None:
    path = sample_files.odd(pipeline.folder / "odd").get(kind)
    if path is None:
        pytest.skip("this system cannot make such a file")
    os.utime(path, LONG_AGO)
    item = await pipeline.take(await pipeline.queue(path))
    assert (item.state, item.error_code) == OUTCOMES[kind]
    if item.state is not State.EMBEDDING:
        assert path.name in (item.error_message or "")
        assert pipeline.sploot.count("upload") == 0


async def test_too_large_names_both_sizes_and_what_to_do(pipeline: PipelineHarness) -> None:
    pipeline.sploot.bytes_max = 1_000
    item = await pipeline.take(await pipeline.add("cat.jpg", jpeg("cat", 14_200)))
    assert item.error_message == "cat.jpg is 14.2 KB; the server accepts at most 1 KB"


async def test_a_file_replaced_by_a_fifo_does_not_block(pipeline: PipelineHarness) -> None:
    item_id = await pipeline.add("a.jpg")
    (pipeline.folder / "a.jpg").unlink()
    os.mkfifo(pipeline.folder / "a.jpg")
    item = await pipeline.take(item_id)
    assert (item.state, item.error_code) == (State.FAILED, "not_a_file")


async def test_a_file_replaced_by_a_link_is_not_followed(pipeline: PipelineHarness) -> None:
    item_id = await pipeline.add("a.jpg")
    (pipeline.folder / "a.jpg").rename(pipeline.folder / "b.jpg")
    (pipeline.folder / "a.jpg").symlink_to("b.jpg")
    item = await pipeline.take(item_id)
    assert (item.state, item.error_code) == (State.FAILED, "not_a_file")


async def test_a_deleted_file_is_missing(pipeline: PipelineHarness) -> None:
    item_id = await pipeline.add("a.jpg")
    (pipeline.folder / "a.jpg").unlink()
    assert (await pipeline.take(item_id)).state is State.MISSING


async def test_a_file_without_read_permission_says_what_to_do(
    pipeline: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    item_id = await pipeline.add("a.jpg")

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("splootd.file_reader.os.open", refuse)
    item = await pipeline.take(item_id)
    assert (item.state, item.error_code) == (State.FAILED, "unreadable")
    assert "chmod" in (item.error_message or "")


async def test_a_file_that_changed_since_it_was_queued_is_sent_in_its_new_version(pipeline: PipelineHarness) -> None:
    item_id = await pipeline.add("a.jpg")
    (pipeline.folder / "a.jpg").write_bytes(jpeg("new"))
    os.utime(pipeline.folder / "a.jpg", LONG_AGO)
    item = await pipeline.take(item_id)
    assert (item.state, item.attempts) == (State.PENDING, 0)
    assert await pipeline.errors(item_id) == ["interrupted"]
    await pipeline.later(10)
    assert (await pipeline.take(item_id)).state is State.EMBEDDING
    assert set(pipeline.sploot.stored) == {hashlib.sha256(jpeg("new")).hexdigest()}


async def test_a_file_that_changes_during_the_upload_is_sent_in_both_versions(pipeline: PipelineHarness) -> None:
    release = asyncio.Event()
    pipeline.sploot.script("upload", hold(pipeline.sploot, release))
    item_id = await pipeline.add("a.jpg", jpeg("old"))
    taking = asyncio.create_task(pipeline.take(item_id))
    await pipeline.sploot.until(lambda sploot: sploot.uploads == 1)
    (pipeline.folder / "a.jpg").write_bytes(jpeg("new"))
    release.set()
    assert (await taking).state is State.PENDING
    await pipeline.later(10)
    assert (await pipeline.take(item_id)).state is State.EMBEDDING
    assert set(pipeline.sploot.stored) == {hashlib.sha256(jpeg(each)).hexdigest() for each in ("old", "new")}


async def test_a_file_deleted_during_the_upload_is_uploaded_all_the_same(pipeline: PipelineHarness) -> None:
    release = asyncio.Event()
    pipeline.sploot.script("upload", hold(pipeline.sploot, release))
    item_id = await pipeline.add("a.jpg")
    taking = asyncio.create_task(pipeline.take(item_id))
    await pipeline.sploot.until(lambda sploot: sploot.uploads == 1)
    (pipeline.folder / "a.jpg").unlink()
    release.set()
    assert (await taking).state is State.EMBEDDING


async def test_a_large_file_that_changes_between_hashing_and_sending_is_never_stored(pipeline: PipelineHarness) -> None:
    path = pipeline.folder / "large.jpg"
    item_id = await pipeline.add("large.jpg", HEAD + bytes(2 * BUFFERED_BYTES_MAX) + b"\xff\xd9")

    async def change(request: Request) -> Reply:
        with path.open("r+b") as stream:
            stream.seek(BUFFERED_BYTES_MAX)
            stream.write(b"other bytes, of the same length and with the same time")
        os.utime(path, LONG_AGO)
        return await pipeline.sploot.act(request)

    pipeline.sploot.script("check", change)
    item = await pipeline.take(item_id)
    assert (item.state, item.attempts) == (State.PENDING, 0)
    assert await pipeline.errors(item_id) == ["interrupted"]
    assert not pipeline.sploot.stored
    await pipeline.later(10)
    assert (await pipeline.take(item_id)).state is State.EMBEDDING


async def test_a_new_truncated_file_waits_because_it_may_still_be_being_written(pipeline: PipelineHarness) -> None:
    item_id = await pipeline.add("a.jpg")
    path = pipeline.folder / "a.jpg"
    path.write_bytes(HEAD + bytes(5_000))
    os.utime(path, (time.time(), time.time()))
    await pipeline.queue(path)
    item = await pipeline.take(item_id)
    assert (item.state, item.error_code) == (State.PENDING, "interrupted")
    assert "may still be being written" in (item.error_message or "")
    await pipeline.later(60)
    assert (await pipeline.take(item_id)).state is State.EMBEDDING


async def test_a_small_buffer_is_enough_for_any_file(tmp_path: Path) -> None:
    async with open_pipeline(tmp_path, memory_bytes=1_000_000) as pipeline:
        for number in range(10):
            await pipeline.add(f"{number}.jpg", HEAD + os.urandom(400_000 * number) + b"\xff\xd9")
        pipeline.start()
        assert (await pipeline.until_through())[State.EMBEDDING] == 10
        assert pipeline.budget.in_use == 0
