"""The upload workers: which files reach the library, in which order, and that no content is sent twice."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pipeline_fixtures import HEAD, PipelineHarness, jpeg, open_pipeline
from scripted_sploot import hold, lose_response, reply_with

from splootd.core.item import SHARDS, Priority, State
from splootd.errors import StoreFull
from splootd.file_reader import BUFFERED_BYTES_MAX

LARGE = 3_000_000  # bytes: a lookup pays


@pytest.fixture
async def pipeline(tmp_path: Path) -> AsyncIterator[PipelineHarness]:
    async with open_pipeline(tmp_path) as pipeline:
        yield pipeline


async def test_queued_files_reach_the_library_and_become_ready(pipeline: PipelineHarness) -> None:
    for number in range(40):
        await pipeline.add(f"{number}.jpg")
    pipeline.start(track=True)
    await pipeline.until(lambda counts: counts[State.READY] == 40)
    assert sorted(pipeline.sploot.stored.values()) == [1] * 40
    assert pipeline.budget.in_use == 0
    assert pipeline.metrics.transfers == ()


async def test_the_server_never_sees_more_than_four_connections(pipeline: PipelineHarness) -> None:
    release = asyncio.Event()
    pipeline.sploot.always["upload"] = hold(pipeline.sploot, release)
    for number in range(40):
        await pipeline.add(f"{number}.jpg")
    pipeline.start()
    await pipeline.sploot.until(lambda sploot: sploot.uploads == pipeline.client.connections_max)
    release.set()
    await pipeline.client.health()
    await pipeline.until_through()
    assert pipeline.sploot.connections_max <= 4
    assert pipeline.sploot.uploads_max == pipeline.client.connections_max == 4


async def test_workers_of_all_shards_run_concurrently(pipeline: PipelineHarness) -> None:
    release = asyncio.Event()
    pipeline.sploot.always["upload"] = hold(pipeline.sploot, release)
    items = [await pipeline.add(f"{number}.jpg") for number in range(200)]
    assert {(await pipeline.store.item(item)).shard for item in items} == set(range(SHARDS))
    pipeline.start()
    claimed = await pipeline.first_claims()
    assert claimed > SHARDS
    counts = await pipeline.until(lambda counts: counts[State.UPLOADING] == claimed)
    assert counts[State.PENDING] == 200 - claimed
    release.set()
    assert (await pipeline.until_through())[State.EMBEDDING] == 200


async def test_an_urgent_item_overtakes_all_that_wait_for_a_connection(pipeline: PipelineHarness) -> None:
    release = asyncio.Event()
    pipeline.sploot.always["upload"] = hold(pipeline.sploot, release)
    for number in range(60):
        await pipeline.add(f"{number}.jpg")
    pipeline.start()
    claimed = await pipeline.first_claims()
    await pipeline.until(lambda counts: counts[State.UPLOADING] == claimed)
    await pipeline.add("urgent.jpg", priority=Priority.URGENT)
    await pipeline.until(lambda counts: counts[State.UPLOADING] == claimed + 1)
    slots = pipeline.client.connections_max
    all_waiting = f"WeightedSemaphore({slots} of {slots}, {claimed + 1 - slots} waiting)"
    while repr(pipeline.uploader._upload_slots) != all_waiting:  # noqa: ASYNC110 - no event for files being read
        await asyncio.sleep(0)
    release.set()
    await pipeline.until_through()
    order = list(pipeline.sploot.stored)
    assert order.index(hashlib.sha256(jpeg("urgent.jpg")).hexdigest()) <= 2 * pipeline.client.connections_max


async def test_the_same_content_in_flight_is_sent_once(pipeline: PipelineHarness) -> None:
    for number in range(30):
        await pipeline.add(f"copy {number}.jpg", jpeg("one"))
    pipeline.start()
    counts = await pipeline.until_through()
    assert counts[State.EMBEDDING] == 30
    assert pipeline.sploot.count("upload") == 1
    assert sum(item.duplicate for item in await pipeline.store.read_queries.items(limit=100)) == 29


async def test_a_content_seen_a_moment_ago_is_not_looked_up_again(pipeline: PipelineHarness) -> None:
    await pipeline.take(await pipeline.add("first.jpg", jpeg("one")))
    requests = len(pipeline.sploot.requests)
    item = await pipeline.take(await pipeline.add("copy.jpg", jpeg("one")))
    assert item.state is State.EMBEDDING
    assert item.duplicate
    assert len(pipeline.sploot.requests) == requests


async def test_a_large_content_that_the_library_has_is_not_sent(pipeline: PipelineHarness) -> None:
    pipeline.sploot.add(jpeg("there", LARGE), [])
    item = await pipeline.take(await pipeline.add("a.jpg", jpeg("there", LARGE)))
    assert item.state is State.READY  # the check reported it as searchable
    assert item.duplicate
    assert pipeline.sploot.count("upload") == 0


async def test_409_is_success(pipeline: PipelineHarness) -> None:
    pipeline.sploot.add(jpeg("there"), [])
    item = await pipeline.take(await pipeline.add("a.jpg", jpeg("there")))
    assert item.state is State.EMBEDDING
    assert item.duplicate
    assert item.attempts == 0


async def test_an_interrupted_upload_is_looked_up_before_it_is_sent_again(pipeline: PipelineHarness) -> None:
    """Its outcome is unknown, and so is that of a retry, or of the same content at another path."""
    pipeline.sploot.always["upload"] = hold(pipeline.sploot, asyncio.Event())
    item_id = await pipeline.add("a.jpg", jpeg("same"))
    worker = asyncio.create_task(pipeline.uploader.run_once((await pipeline.store.item(item_id)).shard))
    await pipeline.sploot.until(lambda sploot: sploot.uploads == 1)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    pipeline.sploot.always.clear()
    await pipeline.take(await pipeline.add("b.jpg", jpeg("same")))
    await pipeline.take(item_id)
    routes = [request.route for request in pipeline.sploot.requests]
    assert routes == ["limits", "upload", "check", "upload"]  # the ledger knows the copy


async def test_a_requeued_item_is_looked_up_before_it_is_sent_again(pipeline: PipelineHarness) -> None:
    pipeline.sploot.script("upload", reply_with(400, {"error": "Invalid file type."}))
    item = await pipeline.take(await pipeline.add("a.jpg"))
    await pipeline.store.queue.requeue(ids=[item.id], now=pipeline.clock.now())
    assert (await pipeline.take(item.id)).state is State.EMBEDDING
    routes = [request.route for request in pipeline.sploot.requests if request.route != "limits"]
    assert routes == ["upload", "check", "upload"]


async def test_a_large_file_arrives_byte_for_byte(pipeline: PipelineHarness) -> None:
    content = HEAD + os.urandom(3 * BUFFERED_BYTES_MAX + 17) + b"\xff\xd9"
    item = await pipeline.take(await pipeline.add("large.jpg", content))
    assert item.state is State.EMBEDDING
    assert dict(pipeline.sploot.stored) == {hashlib.sha256(content).hexdigest(): 1}
    assert pipeline.budget.in_use == 0


async def test_the_first_request_of_a_run_is_sent_alone(pipeline: PipelineHarness) -> None:
    release = asyncio.Event()
    pipeline.sploot.script("limits", hold(pipeline.sploot, release))
    for number in range(20):
        await pipeline.add(f"{number}.jpg")
    pipeline.start()
    claimed = await pipeline.first_claims()
    await pipeline.until(lambda counts: counts[State.UPLOADING] == claimed)
    await pipeline.sploot.until(lambda sploot: bool(sploot.requests))
    assert [request.route for request in pipeline.sploot.requests] == ["limits"]
    release.set()
    await pipeline.until_through()
    assert pipeline.sploot.requests[0].route == "limits"
    assert pipeline.sploot.count("limits") == 1


async def test_a_new_tag_is_created_by_a_single_upload(pipeline: PipelineHarness) -> None:
    release, others = asyncio.Event(), asyncio.Event()
    pipeline.sploot.script("upload", hold(pipeline.sploot, release))
    pipeline.sploot.always["upload"] = hold(pipeline.sploot, others)
    for number in range(30):
        await pipeline.add(f"{number}.jpg", tags=("cat", "Größe"))
    pipeline.start()
    await pipeline.sploot.until(lambda sploot: sploot.uploads == 1)
    claimed = await pipeline.first_claims()
    await pipeline.until(lambda counts: counts[State.UPLOADING] == claimed)
    assert pipeline.sploot.uploads_max == 1
    release.set()
    await pipeline.sploot.until(lambda sploot: sploot.uploads == pipeline.client.connections_max)  # the tag exists now
    others.set()
    await pipeline.until_through()
    assert {tuple(asset.tags) for asset in pipeline.sploot.assets.values()} == {("cat", "Größe")}


async def test_a_pause_lets_uploads_in_progress_finish_and_starts_none(pipeline: PipelineHarness) -> None:
    release = asyncio.Event()
    pipeline.sploot.always["upload"] = hold(pipeline.sploot, release)
    for number in range(40):
        await pipeline.add(f"{number}.jpg")
    pipeline.start()
    await pipeline.sploot.until(lambda sploot: sploot.uploads == 4)
    pipeline.admission.pause()
    release.set()
    counts = await pipeline.until(lambda counts: counts[State.UPLOADING] == 0)
    assert counts[State.PENDING] == 36
    pipeline.admission.resume()
    assert (await pipeline.until_through())[State.EMBEDDING] == 40


async def test_drain_finishes_uploads_in_progress_and_claims_nothing(pipeline: PipelineHarness) -> None:
    release = asyncio.Event()
    pipeline.sploot.always["upload"] = hold(pipeline.sploot, release)
    for number in range(40):
        await pipeline.add(f"{number}.jpg")
    pipeline.start()
    await pipeline.sploot.until(lambda sploot: sploot.uploads == 4)
    draining = asyncio.create_task(pipeline.uploader.drain())
    await asyncio.sleep(0)
    release.set()
    await draining
    counts = dict((await pipeline.store.read_queries.counts()).by_state)
    assert counts[State.UPLOADING] == 0
    assert counts[State.PENDING] == 40 - 4
    assert pipeline.budget.in_use == 0


async def test_an_upload_that_does_not_finish_in_time_is_released_uncounted(
    pipeline: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splootd.upload.uploader.DRAIN_TIMEOUT_S", 0.0)
    pipeline.sploot.always["upload"] = hold(pipeline.sploot, asyncio.Event())
    item_id = await pipeline.add("a.jpg")
    pipeline.start()
    await pipeline.sploot.until(lambda sploot: sploot.uploads == 1)
    await pipeline.uploader.drain()
    item = await pipeline.store.item(item_id)
    assert (item.state, item.attempts, item.error_code) == (State.PENDING, 0, "interrupted")
    assert item.next_at is None
    assert pipeline.budget.in_use == 0


async def test_a_worker_cancelled_at_any_point_loses_nothing(pipeline: PipelineHarness) -> None:
    pipeline.sploot.embeds_immediately = False  # a content that was stored is found and not ready yet
    content = HEAD + os.urandom(BUFFERED_BYTES_MAX) + b"\xff\xd9"
    item_id = await pipeline.add("a.jpg", content)
    item = await pipeline.cancelled_anywhere(item_id, every=7)
    assert item.state is State.EMBEDDING
    assert list(pipeline.sploot.stored.values()) == [1]


async def test_a_delayed_item_is_retried_when_it_is_due(pipeline: PipelineHarness) -> None:
    pipeline.sploot.script("upload", lose_response)
    item_id = await pipeline.add("a.jpg")
    pipeline.start()
    await pipeline.sploot.until(lambda sploot: sploot.count("check") == 2)
    await pipeline.until(lambda counts: counts[State.UPLOADING] == 0)
    assert (await pipeline.store.item(item_id)).attempts == 1
    pipeline.clock.ahead_s += 100
    pipeline.store.wake_signals.events.notify()
    counts = await pipeline.until_through()
    assert counts[State.EMBEDDING] == 1
    assert list(pipeline.sploot.stored.values()) == [1]


async def test_a_clock_set_back_by_a_year_delays_no_item(pipeline: PipelineHarness) -> None:
    pipeline.clock.ahead_s = 365 * 86_400.0
    pipeline.sploot.script("upload", lose_response)
    await pipeline.take(await pipeline.add("a.jpg"))
    pipeline.clock.ahead_s = 0.0
    pipeline.start(track=True)
    await pipeline.until(lambda counts: counts[State.READY] == 1)


async def test_an_internal_error_is_one_failed_attempt_and_stops_no_worker(
    pipeline: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(pipeline.client, "upload", broken)
    item = await pipeline.take(await pipeline.add("a.jpg"))
    assert (item.state, item.attempts) == (State.PENDING, 1)
    assert "please report it" in (item.error_message or "")
    monkeypatch.undo()
    await pipeline.later(100)
    assert (await pipeline.take(item.id)).state is State.EMBEDDING


async def test_a_full_disk_delays_the_result_and_loses_nothing(
    pipeline: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splootd.upload.result_handler.STORE_FULL_RETRY_S", 0.0)
    monkeypatch.setattr("splootd.upload.uploader.STORE_RETRY_DELAY_S", 0.0)
    full = [StoreFull("no room")] * 3
    for name in ("claim", "accept"):
        monkeypatch.setattr(pipeline.store.queue, name, _after(list(full), getattr(pipeline.store.queue, name)))
    await pipeline.add("a.jpg")
    pipeline.start()
    counts = await pipeline.until_through()
    assert counts[State.EMBEDDING] == 1
    assert list(pipeline.sploot.stored.values()) == [1]


def _after(errors: list[StoreFull], do: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def act(*arguments: Any, **options: Any) -> Any:
        if errors:
            raise errors.pop()
        return await do(*arguments, **options)

    return act
