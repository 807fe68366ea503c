"""Bundles: workers share checks and uploads, with fewer requests and the same guarantees for each file."""

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pipeline_fixtures import HEAD, PipelineHarness, jpeg, open_pipeline
from real_sploot import sleep_for
from scripted_sploot import (
    FEATURES,
    HTML,
    Handler,
    Reply,
    Request,
    disconnect,
    hold,
    parse_files,
    reply_with,
    store_then,
)

from splootd.core import timetable
from splootd.core.circuit_breaker import FAILURE_THRESHOLD, RESET_TIMEOUT_S
from splootd.core.item import SHARDS, Priority, State
from splootd.remote.bandwidth_limiter import BandwidthLimiter
from splootd.upload.choose_transport import BUNDLE_FILE_BYTES_MAX
from splootd.upload.transports.bundle import BUNDLE_BYTES_MAX, BUNDLE_FAILURES_MAX
from splootd.upload.uploader import SHARED_BATCH_MAX

FAILED = reply_with(500, {"error": "Upload failed"})
FAILURES: dict[str, Handler] = {
    "disconnects": disconnect,
    "500": FAILED,
    "an error page": reply_with(502, b"<html>Bad gateway</html>", HTML),
    "a proxy's 413": reply_with(413, b"<html>too large</html>", HTML),
    "no such path": reply_with(404, b"<html>not found</html>", HTML),
    "truncated JSON": reply_with(200, {"results": []}, cut=5),
    "too few results": reply_with(200, {"success": True, "results": []}),
    "invalid results": reply_with(200, {"results": ["201"] * 20}),
    "a list": reply_with(200, [1, 2]),
}


@pytest.fixture
async def pipeline(tmp_path: Path) -> AsyncIterator[PipelineHarness]:
    async with open_pipeline(tmp_path) as pipeline:
        pipeline.sploot.features = FEATURES
        yield pipeline


def routes(pipeline: PipelineHarness) -> list[str]:
    return [request.route for request in pipeline.sploot.requests]


async def test_a_single_file_is_sent_without_waiting_for_others(pipeline: PipelineHarness) -> None:
    item = await pipeline.take(await pipeline.add("a.jpg", tags=("cat", "größe")))
    assert item.state is State.EMBEDDING
    assert routes(pipeline) == ["limits", "checks", "bundle"]
    assert {tuple(asset.tags) for asset in pipeline.sploot.assets.values()} == {("cat", "größe")}


async def test_a_thousand_small_files_need_few_requests(pipeline: PipelineHarness) -> None:
    """With a slow server. One by one it would be two requests per file."""

    async def slow(request: Request) -> Reply:
        await sleep_for(0.01)
        return await pipeline.sploot.act(request)

    pipeline.sploot.always = {"checks": slow, "bundle": slow}
    for number in range(1000):
        await pipeline.add(f"{number}.jpg")
    pipeline.start()
    assert (await pipeline.until_through())[State.EMBEDDING] == 1000
    counts_by_route = Counter(routes(pipeline))
    assert set(counts_by_route) == {"limits", "checks", "bundle"}
    assert counts_by_route.total() < 1000
    assert sorted(pipeline.sploot.stored.values()) == [1] * 1000
    assert pipeline.sploot.connections_max <= 4
    assert pipeline.budget.in_use == 0


async def test_workers_that_wait_meanwhile_share_the_next_request(pipeline: PipelineHarness) -> None:
    release = asyncio.Event()
    pipeline.sploot.script("checks", hold(pipeline.sploot, release))
    for number in range(200):
        await pipeline.add(f"{number}.jpg")
    pipeline.start()
    await pipeline.until(lambda counts: counts[State.UPLOADING] >= SHARDS)
    release.set()
    await pipeline.until_through()
    sizes = [len(parse_files(request)) for request in pipeline.sploot.requests if request.route == "bundle"]
    assert sum(sizes) == 200
    assert max(sizes) >= SHARDS // 2
    assert max(sizes) <= SHARDS * SHARED_BATCH_MAX


async def test_a_content_that_the_library_has_is_not_sent(pipeline: PipelineHarness) -> None:
    for number in range(40):
        pipeline.sploot.add(jpeg(f"{number}.jpg"), [])
        await pipeline.add(f"{number}.jpg")
    pipeline.start()
    assert (await pipeline.until_through())[State.READY] == 40
    assert set(routes(pipeline)) == {"limits", "checks"}


async def test_larger_files_are_sent_alone(pipeline: PipelineHarness) -> None:
    small = await pipeline.take(await pipeline.add("small.jpg", jpeg("small", BUNDLE_FILE_BYTES_MAX)))
    large = await pipeline.take(await pipeline.add("large.jpg", jpeg("large", BUNDLE_FILE_BYTES_MAX + 1)))
    assert (small.state, large.state) == (State.EMBEDDING, State.EMBEDDING)
    assert routes(pipeline) == ["limits", "checks", "bundle", "checks", "upload"]


async def test_a_bundle_is_no_larger_than_the_server_accepts(pipeline: PipelineHarness) -> None:
    pipeline.sploot.features = {**FEATURES, "bundle": {"files": 5, "bytes": 4 * BUNDLE_FILE_BYTES_MAX}}
    for number in range(60):
        await pipeline.add(f"{number}.jpg", jpeg(number, 20_000 + number))
    pipeline.start()
    assert (await pipeline.until_through())[State.EMBEDDING] == 60
    bundles = [request for request in pipeline.sploot.requests if request.route == "bundle"]
    assert max(len(parse_files(request)) for request in bundles) <= 5
    assert max(len(request.body) for request in bundles) <= min(4 * BUNDLE_FILE_BYTES_MAX, BUNDLE_BYTES_MAX)


async def test_a_rejected_file_of_a_bundle_affects_no_other(pipeline: PipelineHarness) -> None:
    bad = hashlib.sha256(jpeg("7.jpg")).hexdigest()

    async def bundle(request: Request) -> Reply:
        reply = await pipeline.sploot.act(request)
        for result in reply.body["results"]:
            if result["asset"]["checksum"] == bad:
                result.clear()
                result.update(status=400, success=False, error="File appears to be odd")
        return reply

    pipeline.sploot.always["bundle"] = bundle
    for number in range(30):
        await pipeline.add(f"{number}.jpg")
    pipeline.start()
    counts = await pipeline.until_through()
    assert (counts[State.EMBEDDING], counts[State.FAILED]) == (29, 1)
    (failed,) = [item for item in await pipeline.store.read_queries.items(limit=100) if item.state is State.FAILED]
    assert failed.path.endswith(b"7.jpg")
    assert "File appears to be odd" in (failed.error_message or "")


async def test_a_failing_file_fails_after_its_attempts(pipeline: PipelineHarness) -> None:
    pipeline.sploot.add(jpeg("twin"), [])
    pipeline.sploot.removed.add(next(iter(pipeline.sploot.assets)))
    failing = await pipeline.add("twin.jpg", jpeg("twin"))
    for number in range(5):
        assert (await pipeline.store.item(failing)).attempts == number
        item = await pipeline.take(failing)
        assert (await pipeline.take(await pipeline.add(f"{number}.jpg"))).state is State.EMBEDDING
        await pipeline.later(100)
    assert (item.state, item.error_code) == (State.FAILED, "server_error")
    assert pipeline.admission.state == "ok"
    assert pipeline.sploot.count("upload") == 0


@pytest.mark.parametrize("response", FAILURES.values(), ids=FAILURES.keys())
async def test_files_stored_despite_a_lost_response_are_found_by_hash(
    pipeline: PipelineHarness, response: Handler
) -> None:
    pipeline.sploot.always["bundle"] = store_then(pipeline.sploot, response)
    for number in range(20):
        await pipeline.add(f"{number}.jpg")
    pipeline.start()
    await pipeline.until_through()
    items = await pipeline.store.read_queries.items(limit=100)
    assert {(item.attempts, item.duplicate) for item in items} == {(0, False)}
    assert sorted(pipeline.sploot.stored.values()) == [1] * 20


@pytest.mark.parametrize("response", FAILURES.values(), ids=FAILURES.keys())
async def test_a_failed_bundle_costs_no_attempt_and_its_files_are_sent_alone(
    pipeline: PipelineHarness, response: Handler
) -> None:
    pipeline.sploot.always["bundle"] = response
    for number in range(20):
        await pipeline.add(f"{number}.jpg")
    pipeline.start()
    counts = await pipeline.until_through()
    assert counts[State.EMBEDDING] == 20
    assert {item.attempts for item in await pipeline.store.read_queries.items(limit=100)} == {0}
    assert sorted(pipeline.sploot.stored.values()) == [1] * 20
    assert pipeline.admission.state == "ok"
    assert pipeline.sploot.count("bundle") <= BUNDLE_FAILURES_MAX + 1, "a failing request is not repeated for ever"


async def test_one_failed_request_counts_once_for_any_number_of_files(pipeline: PipelineHarness) -> None:
    pipeline.sploot.always["checks"] = reply_with(500, {"error": "Failed to perform preflight check"})
    for number in range(100):
        await pipeline.add(f"{number}.jpg")
    pipeline.start()
    await pipeline.until(lambda counts: pipeline.admission.breaker.state == "open" and counts[State.UPLOADING] == 0)
    assert pipeline.sploot.count("checks") == FAILURE_THRESHOLD
    assert {item.attempts for item in await pipeline.store.read_queries.items(limit=200)} == {0}
    pipeline.sploot.always.clear()
    await pipeline.later(RESET_TIMEOUT_S)
    assert (await pipeline.until_through())[State.EMBEDDING] == 100
    assert set(pipeline.sploot.stored.values()) == {1}


async def test_the_probe_of_an_open_breaker_is_a_single_file(pipeline: PipelineHarness) -> None:
    pipeline.sploot.always["checks"] = reply_with(500, {})
    for number in range(60):
        await pipeline.add(f"{number}.jpg")
    pipeline.start()
    await pipeline.until(lambda counts: pipeline.admission.breaker.state == "open" and counts[State.UPLOADING] == 0)
    before = len(pipeline.sploot.requests)
    pipeline.sploot.always = {"bundle": hold(pipeline.sploot, release := asyncio.Event())}
    await pipeline.later(RESET_TIMEOUT_S)
    await pipeline.sploot.until(lambda sploot: sploot.count("bundle") == 1)
    probe = pipeline.sploot.requests[before:]
    assert [request.route for request in probe] == ["checks", "bundle"]
    assert len(probe[0].json()["checksums"]) == len(parse_files(probe[1])) == 1
    release.set()
    assert (await pipeline.until_through())[State.EMBEDDING] == 60


async def test_a_rate_limit_holds_all_workers_and_costs_no_item_an_attempt(pipeline: PipelineHarness) -> None:
    pipeline.sploot.always["bundle"] = reply_with(429, {}, {"retry-after": "120"})
    for number in range(40):
        await pipeline.add(f"{number}.jpg")
    pipeline.start()
    await pipeline.until(lambda counts: pipeline.admission.state == "rate_limited" and counts[State.UPLOADING] == 0)
    pipeline.sploot.always.clear()
    assert {item.attempts for item in await pipeline.store.read_queries.items(limit=100)} == {0}
    await pipeline.later(121)
    assert (await pipeline.until_through())[State.EMBEDDING] == 40
    assert pipeline.sploot.count("upload") == 0


async def test_a_pause_stops_files_that_were_not_sent_yet(pipeline: PipelineHarness) -> None:
    release = asyncio.Event()
    pipeline.sploot.script("bundle", hold(pipeline.sploot, release))
    for number in range(40):
        await pipeline.add(f"{number}.jpg")
    pipeline.start()
    await pipeline.sploot.until(lambda sploot: sploot.count("bundle") == 1)
    in_progress = len(parse_files(pipeline.sploot.requests[-1]))
    pipeline.admission.pause()
    release.set()
    counts = await pipeline.until(lambda counts: counts[State.UPLOADING] == 0)
    assert counts[State.EMBEDDING] == in_progress
    pipeline.admission.resume()
    assert (await pipeline.until_through())[State.EMBEDDING] == 40


async def test_an_urgent_item_does_not_wait_for_a_bundle_of_others(pipeline: PipelineHarness) -> None:
    release = asyncio.Event()
    pipeline.sploot.always["bundle"] = hold(pipeline.sploot, release)
    for number in range(60):
        await pipeline.add(f"{number}.jpg")
    pipeline.start()
    await pipeline.sploot.until(lambda sploot: sploot.count("bundle") == 1)
    await pipeline.add("urgent.jpg", priority=Priority.URGENT)
    await pipeline.sploot.until(lambda sploot: sploot.count("bundle") == 2)
    (urgent,) = parse_files(pipeline.sploot.requests[-1])
    assert urgent[0] == jpeg("urgent.jpg")
    release.set()
    await pipeline.until_through()


async def test_a_new_tag_is_created_by_a_single_file(pipeline: PipelineHarness) -> None:
    release = asyncio.Event()
    pipeline.sploot.script("bundle", hold(pipeline.sploot, release))
    for number in range(30):
        await pipeline.add(f"{number}.jpg", tags=("cat",))
    pipeline.start()
    await pipeline.sploot.until(lambda sploot: sploot.count("bundle") == 1)
    claimed = await pipeline.first_claims()
    await pipeline.until(lambda counts: counts[State.UPLOADING] >= claimed)
    assert len(parse_files(pipeline.sploot.requests[-1])) == 1
    release.set()
    await pipeline.until_through()
    assert {tuple(asset.tags) for asset in pipeline.sploot.assets.values()} == {("cat",)}


async def test_a_worker_cancelled_at_any_point_loses_nothing(pipeline: PipelineHarness) -> None:
    pipeline.sploot.embeds_immediately = False  # a content that was stored is found and not ready yet
    item_id = await pipeline.add("a.jpg")
    item = await pipeline.cancelled_anywhere(item_id, every=3)
    assert item.state is State.EMBEDDING
    assert list(pipeline.sploot.stored.values()) == [1]


async def test_every_file_of_a_bundle_is_a_transfer_and_the_bundle_one_connection(pipeline: PipelineHarness) -> None:
    release = asyncio.Event()
    pipeline.sploot.script("checks", hold(pipeline.sploot, release))
    for number in range(32):
        await pipeline.add(f"{number}.jpg", jpeg(number, 5_000), tags=())
    pipeline.start()
    claimed = await pipeline.first_claims()
    await pipeline.until(lambda counts: counts[State.UPLOADING] >= claimed)
    release.set()
    await pipeline.until_through()
    assert pipeline.metrics.bytes == sum(
        item.version.size for item in await pipeline.store.read_queries.items(limit=100)
    )
    assert (pipeline.metrics.items, len(pipeline.metrics.completed), pipeline.metrics.upload_s.count) == (32, 32, 32)
    assert pipeline.metrics.transfers == ()
    assert pipeline.metrics.utilization.average("sending") <= pipeline.client.connections_max
    calls = pipeline.client.calls
    assert calls["upload_bundle"].outcomes["ok"] == pipeline.sploot.count("bundle")
    assert calls["check_batch"].outcomes["ok"] == pipeline.sploot.count("checks")


async def test_the_bandwidth_limit_applies_to_bundles(
    pipeline: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquired: list[int] = []

    async def recorded(self: BandwidthLimiter, size: int) -> None:
        acquired.append(size)

    monkeypatch.setattr(BandwidthLimiter, "acquire", recorded)
    pipeline.client.bandwidth_limiter = BandwidthLimiter(timetable.parse("1M"), pipeline.clock)
    for number in range(40):
        await pipeline.add(f"{number}.jpg", HEAD + os.urandom(60_000) + b"\xff\xd9")
    pipeline.start()
    await pipeline.until_through()
    assert sum(acquired) == sum(item.version.size for item in await pipeline.store.read_queries.items(limit=100))
