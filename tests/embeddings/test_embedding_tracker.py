"""The embedding tracker: few requests, reliable statuses, and no lost embedding."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pipeline_fixtures import PipelineHarness, open_pipeline
from scripted_sploot import HTML, SIGNED_OUT, lose_response, reply_with

from splootd.core.embedding_polling import IDS_PER_POLL_MAX
from splootd.core.item import State
from splootd.embeddings.embedding_status import UNKNOWN_ASSET_GRACE_S, EmbeddingStatusManager
from splootd.embeddings.push_subscriptions import PushSubscriptions
from splootd.errors import ServerError
from splootd.event_bus import WakeSignal

READY = {"dim": 384, "modelName": "e5", "status": "pending", "error": None}
FAILED = {"dim": 0, "modelName": "unknown", "status": "failed", "error": "model is down"}


@pytest.fixture
async def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PipelineHarness]:
    monkeypatch.setattr("splootd.core.embedding_polling.POLL_INTERVAL_S", 0.0)
    async with open_pipeline(tmp_path) as pipeline:
        pipeline.sploot.embeds_immediately = False
        yield pipeline


async def upload(pipeline: PipelineHarness, count: int) -> list[int]:
    items = [await pipeline.add(f"{number}.jpg") for number in range(count)]
    pipeline.start()
    assert (await pipeline.until_through())[State.EMBEDDING] == count
    await pipeline.later(UNKNOWN_ASSET_GRACE_S)
    return items


def embed(pipeline: PipelineHarness, embedding: dict[str, Any], *which: int) -> None:
    assets = list(pipeline.sploot.assets.values())
    for each in which or range(len(assets)):
        assets[each].embedding = embedding


async def states(pipeline: PipelineHarness) -> dict[State, int]:
    return {state: count for state, count in (await pipeline.store.read_queries.counts()).by_state.items() if count}


async def test_a_hundred_files_take_two_requests(pipeline: PipelineHarness) -> None:
    await upload(pipeline, 100)
    embed(pipeline, READY)
    assert await pipeline.tracker.run_once() == IDS_PER_POLL_MAX
    assert await pipeline.tracker.run_once() == IDS_PER_POLL_MAX
    assert await pipeline.tracker.run_once() == 0
    assert await states(pipeline) == {State.READY: 100}
    assert pipeline.sploot.count("statuses") == 2


async def test_pending_embeddings_are_polled_ever_more_rarely(pipeline: PipelineHarness) -> None:
    (item_id,) = await upload(pipeline, 1)
    gaps = []
    for _ in range(20):
        assert await pipeline.tracker.run_once() == 1
        next_at = (await pipeline.store.item(item_id)).next_at
        assert next_at is not None
        gaps.append(round(next_at - pipeline.clock.now()))
        assert await pipeline.tracker.run_once() == 0
        await pipeline.later(gaps[-1] + 1)
    assert gaps == sorted(gaps)
    assert gaps[0] <= 3
    assert gaps[-1] == 60
    embed(pipeline, READY)
    assert await pipeline.tracker.run_once() == 1
    assert await states(pipeline) == {State.READY: 1}


async def test_a_failed_embedding_carries_the_servers_message(pipeline: PipelineHarness) -> None:
    (item_id,) = await upload(pipeline, 1)
    embed(pipeline, FAILED)
    await pipeline.tracker.run_once()
    item = await pipeline.store.item(item_id)
    assert (item.state, item.error_code) == (State.FAILED, "embedding_failed")
    assert "model is down" in (item.error_message or "")


async def test_an_asset_removed_in_the_meantime_is_skipped_and_recorded(pipeline: PipelineHarness) -> None:
    (item_id,) = await upload(pipeline, 1)
    pipeline.sploot.removed.update(pipeline.sploot.assets)
    await pipeline.tracker.run_once()
    item = await pipeline.store.item(item_id)
    assert (item.state, item.error_code) == (State.SKIPPED, "removed")
    known = await pipeline.store.ledger.get(bytes.fromhex(next(iter(pipeline.sploot.assets))))
    assert known is not None
    assert known.removed_at is not None


async def test_an_asset_that_is_unknown_just_after_the_upload_is_not_yet_removed(pipeline: PipelineHarness) -> None:
    (item_id,) = await upload(pipeline, 1)
    pipeline.clock.ahead_s -= UNKNOWN_ASSET_GRACE_S
    pipeline.sploot.removed.update(pipeline.sploot.assets)
    await pipeline.store.queue.schedule_polls({item_id: pipeline.clock.now()})
    assert await pipeline.tracker.run_once() == 1
    assert (await pipeline.store.item(item_id)).state is State.EMBEDDING


async def test_copies_of_one_content_are_polled_once(pipeline: PipelineHarness) -> None:
    for number in range(10):
        await pipeline.add(f"{number}.jpg", b"\xff\xd8\xff one \xff\xd9")
    pipeline.start()
    await pipeline.until_through()
    embed(pipeline, READY)
    await pipeline.later(10)
    assert await pipeline.tracker.run_once() == 10
    (request,) = [request for request in pipeline.sploot.requests if request.route == "statuses"]
    assert len(request.json()["assetIds"]) == 1
    assert await states(pipeline) == {State.READY: 10}


async def test_with_unreliable_statuses_the_assets_are_polled(pipeline: PipelineHarness) -> None:
    pipeline.sploot.features = None
    await upload(pipeline, 6)
    embed(pipeline, READY, 0, 1)
    embed(pipeline, FAILED, 2, 3)
    await pipeline.tracker.run_once()
    assert await states(pipeline) == {State.READY: 2, State.FAILED: 2, State.EMBEDDING: 2}


async def test_older_assets_are_polled_one_by_one(pipeline: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splootd.core.embedding_polling.PAGE_SIZES", (2,))
    pipeline.sploot.features = None
    await upload(pipeline, 8)
    embed(pipeline, READY, 0)
    embed(pipeline, FAILED, 1)
    pipeline.sploot.removed.add(list(pipeline.sploot.assets)[2])
    for _ in range(10):
        await pipeline.tracker.run_once()
        await pipeline.later(100)
    assert await states(pipeline) == {State.READY: 1, State.FAILED: 1, State.SKIPPED: 1, State.EMBEDDING: 5}


async def test_an_unreliable_has_embedding_is_ignored_at_the_check(pipeline: PipelineHarness) -> None:
    pipeline.sploot.features = None
    pipeline.sploot.embeds_immediately = True
    pipeline.sploot.add(b"\xff\xd8\xff there \xff\xd9", [])
    item = await pipeline.take(await pipeline.add("a.jpg", b"\xff\xd8\xff there \xff\xd9"))
    assert item.state is State.EMBEDDING


@pytest.mark.parametrize(
    "answer",
    [
        lose_response,
        reply_with(500, {"error": "Failed to check batch embedding status"}),
        reply_with(403, {"message": "Forbidden"}),
        reply_with(404, b"<html></html>", HTML),
        reply_with(200, b"<html></html>", HTML),
        reply_with(200, {"statuses": []}),
        reply_with(200, {"statuses": {"c1": 5}}, cut=9),
    ],
)
async def test_a_failed_poll_is_replaced_by_another_request(pipeline: PipelineHarness, answer: Any) -> None:
    await upload(pipeline, 1)
    embed(pipeline, READY)
    pipeline.sploot.script("statuses", answer)
    assert await pipeline.tracker.run_once() == 1
    assert await states(pipeline) == {State.READY: 1}


@pytest.mark.parametrize("answer", [reply_with(404, b"<html></html>", {**HTML, **SIGNED_OUT}), reply_with(429, {})])
async def test_a_failure_that_concerns_every_request_loses_nothing(pipeline: PipelineHarness, answer: Any) -> None:
    (item_id,) = await upload(pipeline, 1)
    embed(pipeline, READY)
    pipeline.sploot.script("statuses", answer)
    with pytest.raises(ServerError):
        await pipeline.tracker.run_once()
    assert (await pipeline.store.item(item_id)).state is State.EMBEDDING
    assert await pipeline.tracker.run_once() == 1
    assert await states(pipeline) == {State.READY: 1}


STATUS_ROUTES = ("statuses", "assets", "asset")


async def test_an_unreachable_server_is_reported_and_polled_again(
    pipeline: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splootd.embeddings.embedding_tracker.delay_s", lambda **_: 0.0)
    await upload(pipeline, 1)
    embed(pipeline, READY)
    for route in (*STATUS_ROUTES, "health"):
        pipeline.sploot.script(route, lose_response, reply_with(500, {}), lose_response)
    await pipeline.stop()
    pipeline.start(track=True)
    await pipeline.sploot.until(lambda sploot: sploot.count("statuses") == 2)
    assert pipeline.admission.state == "unreachable"
    await pipeline.until(lambda counts: counts[State.READY] == 1)
    await pipeline.later(0)
    assert pipeline.admission.state == "ok"


async def test_a_healthy_server_that_cannot_tell_statuses_is_not_unreachable(
    pipeline: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splootd.embeddings.embedding_tracker.delay_s", lambda **_: 0.0)
    await upload(pipeline, 1)
    embed(pipeline, READY)
    for route in STATUS_ROUTES:
        pipeline.sploot.script(route, *[reply_with(500, {})] * 3)
    await pipeline.stop()
    pipeline.start(track=True)
    await pipeline.sploot.until(lambda sploot: sploot.count("health") == 2)
    assert pipeline.admission.state == "ok"
    assert pipeline.admission.detail is None
    await pipeline.until(lambda counts: counts[State.READY] == 1)


async def test_an_asset_missing_from_the_response_is_pending(pipeline: PipelineHarness) -> None:
    (item_id,) = await upload(pipeline, 1)
    pipeline.sploot.script("statuses", reply_with(200, {"statuses": {}}))
    assert await pipeline.tracker.run_once() == 1
    assert (await pipeline.store.item(item_id)).state is State.EMBEDDING


async def test_polls_are_two_seconds_apart(tmp_path: Path) -> None:
    async with open_pipeline(tmp_path) as pipeline:
        pipeline.sploot.embeds_immediately = False
        await upload(pipeline, 60)
        before = pipeline.clock.monotonic()
        await pipeline.tracker.run_once()  # limits, then statuses
        await pipeline.tracker.run_once()
        assert pipeline.clock.monotonic() - before >= 1.9


async def test_the_measured_time_of_embeddings_survives_a_restart(pipeline: PipelineHarness) -> None:
    """After embeddings of 10 s one that waits for 250 s is stuck, although this run has measured none."""
    queue, now = pipeline.store.queue, pipeline.clock.now()
    for number in range(20):
        item_id = await pipeline.add(f"ready-{number}.jpg")
        await pipeline.store.accept(await pipeline.store.claim(item_id), now=now)
        await queue.finish([item_id], now=now + 10.0)
    late = await pipeline.add("late.jpg")
    await pipeline.store.accept(await pipeline.store.claim(late), now=now)
    pipeline.clock.ahead_s += 250.0
    due = await queue.due_embeddings(now=pipeline.clock.now(), limit=10)
    for is_restored in (False, True):
        manager = EmbeddingStatusManager(
            queue, PushSubscriptions(WakeSignal()), pipeline.clock, embedding_timeout_s=1_800
        )
        if is_restored:
            await manager.restore()
        assert await manager.record_reports(due, {}, stuck_max=1) == (due if is_restored else [])
