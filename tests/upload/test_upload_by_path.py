"""Upload by path to a local server: few requests, no file data in memory, and the same guarantees."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pipeline_fixtures import PipelineHarness, jpeg, open_pipeline
from scripted_sploot import (
    FEATURES,
    HTML,
    LOCAL_FEATURES,
    Handler,
    Reply,
    Request,
    disconnect,
    hold,
    reply_with,
    store_then,
)

from splootd.core.circuit_breaker import FAILURE_THRESHOLD, RESET_TIMEOUT_S
from splootd.core.item import SHARDS, Priority, State
from splootd.store import database
from splootd.store.transaction import CommitResult, commit_all
from splootd.upload.transports.by_path import FAILURES_MAX, FALLBACK_S, UPLOAD_BY_PATH_BYTES_MAX

FAILURES: dict[str, Handler] = {
    "disconnects": disconnect,
    "500": reply_with(500, {"error": "Upload failed"}),
    "no such path": reply_with(404, b"<html>not found</html>", HTML),
    "too few results": reply_with(200, {"success": True, "results": []}),
}


@pytest.fixture
async def pipeline(tmp_path: Path) -> AsyncIterator[PipelineHarness]:
    async with open_pipeline(tmp_path) as pipeline:
        pipeline.sploot.features = LOCAL_FEATURES
        await pipeline.client.limits()
        pipeline.sploot.requests.clear()
        yield pipeline


def file_counts(pipeline: PipelineHarness) -> list[int]:
    """Return the number of files that each request lists."""
    return [len(request.json()["files"]) for request in pipeline.sploot.requests if request.route == "files"]


async def add_files(pipeline: PipelineHarness, count: int, **options: Any) -> list[int]:
    return [await pipeline.add(f"{number}.jpg", **options) for number in range(count)]


async def test_a_file_is_uploaded_by_path_without_a_check(pipeline: PipelineHarness) -> None:
    item = await pipeline.take(await pipeline.add("a\udcff\n.jpg", jpeg("a"), tags=("cat", "größe")))
    assert item.state is State.EMBEDDING
    assert [request.route for request in pipeline.sploot.requests] == ["limits", "files"]
    assert {tuple(asset.tags) for asset in pipeline.sploot.assets.values()} == {("cat", "größe")}
    assert pipeline.metrics.bytes == item.version.size


async def test_a_thousand_files_cost_few_requests_and_few_commits(
    pipeline: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claimed batch is hashed, uploaded and recorded as a whole."""
    wrote = 0

    def counted(connection: Any, ops: Any) -> CommitResult:
        nonlocal wrote
        committed = commit_all(connection, ops)
        wrote += committed.wrote
        return committed

    await add_files(pipeline, 1000)
    monkeypatch.setattr(database, "commit_all", counted)
    pipeline.start()
    assert (await pipeline.until_through())[State.EMBEDDING] == 1000
    assert sorted(pipeline.sploot.stored.values()) == [1] * 1000
    assert {request.route for request in pipeline.sploot.requests} == {"limits", "files"}
    assert len(file_counts(pipeline)) <= 2 * SHARDS
    assert wrote <= 3 * SHARDS
    assert (pipeline.metrics.items, pipeline.budget.in_use, pipeline.metrics.transfers) == (1000, 0, ())


async def test_a_file_that_changes_during_the_upload_is_uploaded_again(pipeline: PipelineHarness) -> None:
    ids = await add_files(pipeline, 5)
    changing = pipeline.folder / "3.jpg"

    async def files(request: Request) -> Reply:
        changing.write_bytes(jpeg("otherwise"))
        return await pipeline.sploot.act(request)

    pipeline.sploot.script("files", files, files, files, files, files)
    pipeline.start()
    await pipeline.until(lambda counts: counts[State.EMBEDDING] == 5)
    assert sorted(pipeline.sploot.stored.values()) == [1] * 5
    item = await pipeline.store.item(ids[3])
    assert item.version.size == changing.stat().st_size
    assert item.attempts == 0


async def test_a_file_deleted_in_the_meantime_is_missing(pipeline: PipelineHarness) -> None:
    missing, present = await pipeline.add("missing.jpg"), await pipeline.add("present.jpg")
    (pipeline.folder / "missing.jpg").unlink()
    pipeline.start()
    await pipeline.until_through()
    assert (await pipeline.store.item(missing)).state is State.MISSING
    assert (await pipeline.store.item(present)).state is State.EMBEDDING


async def test_copies_are_sent_once(pipeline: PipelineHarness) -> None:
    for number in range(40):
        await pipeline.add(f"{number}.jpg", jpeg(number % 4))
    pipeline.start()
    counts = await pipeline.until_through()
    assert counts[State.EMBEDDING] + counts[State.READY] == 40
    assert sorted(pipeline.sploot.stored.values()) == [1] * 4


@pytest.mark.parametrize("response", FAILURES.values(), ids=FAILURES.keys())
async def test_files_that_fail_by_path_are_sent_as_data(pipeline: PipelineHarness, response: Handler) -> None:
    pipeline.sploot.always["files"] = response
    await add_files(pipeline, 30)
    pipeline.start()
    assert (await pipeline.until_through())[State.EMBEDDING] == 30
    assert sorted(pipeline.sploot.stored.values()) == [1] * 30
    assert {item.attempts for item in await pipeline.store.read_queries.items(limit=100)} == {0}
    assert pipeline.admission.state == "ok"
    assert len(file_counts(pipeline)) <= FAILURES_MAX + 2, "a failing request is not repeated for ever"


@pytest.mark.parametrize("response", FAILURES.values(), ids=FAILURES.keys())
async def test_files_stored_despite_a_lost_response_are_found_by_hash(
    pipeline: PipelineHarness, response: Handler
) -> None:
    pipeline.sploot.always["files"] = store_then(pipeline.sploot, response)
    await add_files(pipeline, 30)
    pipeline.start()
    await pipeline.until_through()
    assert sorted(pipeline.sploot.stored.values()) == [1] * 30
    assert pipeline.sploot.count("upload") == 0


async def test_a_failing_server_opens_the_breaker_and_costs_no_item_an_attempt(pipeline: PipelineHarness) -> None:
    await add_files(pipeline, 100)
    pipeline.sploot.always = dict.fromkeys(("files", "checks"), reply_with(500, {}))
    pipeline.start()
    await pipeline.until(lambda counts: pipeline.admission.breaker.state == "open" and counts[State.UPLOADING] == 0)
    assert pipeline.sploot.count("checks") <= FAILURE_THRESHOLD + 1
    assert {item.attempts for item in await pipeline.store.read_queries.items(limit=200)} == {0}
    before = len(file_counts(pipeline))
    pipeline.sploot.always = {"files": hold(pipeline.sploot, release := asyncio.Event())}
    await pipeline.later(RESET_TIMEOUT_S + FALLBACK_S)
    await pipeline.sploot.until(lambda _: len(file_counts(pipeline)) > before)
    assert file_counts(pipeline)[before:] == [1], "the probe is a single file"
    release.set()
    assert (await pipeline.until_through())[State.EMBEDDING] == 100


async def test_a_rate_limit_holds_all_workers(pipeline: PipelineHarness) -> None:
    pipeline.sploot.always["files"] = reply_with(429, {}, {"retry-after": "120"})
    await add_files(pipeline, 40)
    pipeline.start()
    await pipeline.until(lambda counts: pipeline.admission.state == "rate_limited" and counts[State.UPLOADING] == 0)
    pipeline.sploot.always.clear()
    assert {item.attempts for item in await pipeline.store.read_queries.items(limit=100)} == {0}
    await pipeline.later(121)
    assert (await pipeline.until_through())[State.EMBEDDING] == 40


async def test_a_pause_stops_further_uploads(pipeline: PipelineHarness) -> None:
    pipeline.sploot.script("files", hold(pipeline.sploot, release := asyncio.Event()))
    await add_files(pipeline, 40)
    await pipeline.add("large.jpg", jpeg("large", UPLOAD_BY_PATH_BYTES_MAX))
    pipeline.sploot.bytes_max = 2 * UPLOAD_BY_PATH_BYTES_MAX
    pipeline.start()
    await pipeline.sploot.until(lambda _: bool(file_counts(pipeline)))
    pipeline.admission.pause()
    in_progress = sum(file_counts(pipeline))
    release.set()
    counts = await pipeline.until(lambda counts: counts[State.UPLOADING] == 0)
    assert counts[State.EMBEDDING] == sum(file_counts(pipeline)) < 41
    assert in_progress
    pipeline.admission.resume()
    await pipeline.until_through()


async def test_an_urgent_item_does_not_wait_for_a_batch_of_others(pipeline: PipelineHarness) -> None:
    pipeline.sploot.always["files"] = hold(pipeline.sploot, release := asyncio.Event())
    await add_files(pipeline, 60)
    pipeline.start()
    await pipeline.sploot.until(lambda _: len(file_counts(pipeline)) == 2)
    await pipeline.add("urgent.jpg", priority=Priority.URGENT)
    await pipeline.sploot.until(lambda _: len(file_counts(pipeline)) == 3)
    assert file_counts(pipeline)[-1] == 1
    release.set()
    await pipeline.until_through()


async def test_urgent_items_of_all_shards_share_a_request(pipeline: PipelineHarness) -> None:
    """Of twenty dropped files the last one does not wait for nineteen others."""
    await add_files(pipeline, 20, priority=Priority.URGENT)
    await pipeline.uploader.run_once(None)
    assert file_counts(pipeline) == [20]
    assert (await pipeline.until_through())[State.EMBEDDING] == 20


async def test_a_worker_cancelled_at_any_point_loses_nothing(pipeline: PipelineHarness) -> None:
    item_id = await pipeline.add("a.jpg")
    item = await pipeline.cancelled_anywhere(item_id, every=3)
    assert item.state in (State.EMBEDDING, State.READY)
    assert list(pipeline.sploot.stored.values()) == [1]


async def test_a_remote_server_receives_no_paths(tmp_path: Path) -> None:
    """Even if it announces the feature."""
    async with open_pipeline(tmp_path) as pipeline:
        pipeline.sploot.features = {**FEATURES, "uploadByPath": 64}
        pipeline.client._is_local = False
        await add_files(pipeline, 10)
        pipeline.start()
        await pipeline.until_through()
        assert Counter(request.route for request in pipeline.sploot.requests)["files"] == 0
        assert not any(os.fsencode(pipeline.folder) in request.body for request in pipeline.sploot.requests)
