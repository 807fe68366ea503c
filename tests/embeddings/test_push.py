"""The tracker with a push channel: pushed updates make it fast, polling makes it reliable."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from live_library import LiveLibrary, live_library
from pipeline_fixtures import PipelineHarness, open_pipeline
from push_fixtures import create_push_client, push_server, running, stream_server, until, update
from scripted_sploot import Reply, Request
from toy_library import picture

from splootd.control.remedies import describe_remedy
from splootd.core.embedding_polling import EMBEDDING_RETRIES_MAX, FALLBACK_POLL_DELAY_MAX_S, IDS_PER_POLL_MAX
from splootd.core.item import State
from splootd.embeddings import embedding_tracker as tracker_module
from splootd.embeddings import push_subscriptions as push_subscriptions_module
from splootd.embeddings.embedding_status import UNKNOWN_ASSET_GRACE_S
from splootd.embeddings.embedding_tracker import EmbeddingTracker
from splootd.remote.responses import EmbeddingReport, EmbeddingStatus

READY = {"dim": 384, "modelName": "e5", "status": "pending", "error": None}
FAILED = {"dim": 0, "modelName": "unknown", "status": "failed", "error": "model is down"}
EMBEDDING_TIMEOUT_S = 1_800.0


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[LiveLibrary]:
    """A real server that computes no embedding before `release`."""
    async with live_library(tmp_path / "library", hold=True, socket=tmp_path / "l") as library:
        yield library


@pytest.fixture
async def pipeline(tmp_path: Path, library: LiveLibrary) -> AsyncIterator[PipelineHarness]:
    """A pipeline to the real server, without a push client."""
    async with open_pipeline(tmp_path, socket=library.config.uds) as pipeline:
        await pipeline.client.limits()
        yield pipeline


@pytest.fixture
async def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PipelineHarness]:
    """A pipeline to the scripted server, which has no push channel."""
    monkeypatch.setattr("splootd.core.embedding_polling.POLL_INTERVAL_S", 0.0)
    monkeypatch.setattr("splootd.core.embedding_polling.POLL_INTERVAL_WITH_PUSH_S", 0.0)
    async with open_pipeline(tmp_path) as pipeline:
        pipeline.sploot.embeds_immediately = False
        yield pipeline


def release(library: LiveLibrary) -> None:
    assert library.embedder.hold is not None
    library.embedder.hold.set()


def count_requests(pipeline: PipelineHarness, endpoint: str = "embedding_statuses") -> int:
    """Return the number of requests to an endpoint."""
    found = pipeline.client.calls.by_endpoint.get(endpoint)
    return found.seconds.count if found else 0


@contextlib.asynccontextmanager
async def running_push_client(pipeline: PipelineHarness, library: LiveLibrary) -> AsyncIterator[None]:
    assert library.config.uds is not None
    async with running(create_push_client(pipeline.push_subscriptions, library.config.uds)):
        await until(pipeline.push_subscriptions, lambda push_subscriptions: push_subscriptions.state == "websocket")
        yield


async def upload(pipeline: PipelineHarness, count: int) -> list[int]:
    """Upload files without running the tracker."""
    items = [await pipeline.add(f"{number}.jpg", picture(f"picture {number}")) for number in range(count)]
    pipeline.tasks = [asyncio.create_task(pipeline.uploader.run())]
    assert (await pipeline.until_through())[State.EMBEDDING] == count
    return items


async def states(pipeline: PipelineHarness) -> dict[State, int]:
    return {state: count for state, count in (await pipeline.store.read_queries.counts()).by_state.items() if count}


async def test_a_hundred_files_become_ready_by_pushed_updates_alone(
    pipeline: PipelineHarness, library: LiveLibrary
) -> None:
    async with running_push_client(pipeline, library):
        pipeline.start(track=True)
        for number in range(100):
            await pipeline.add(f"{number}.jpg", picture(f"picture {number}"))
        await pipeline.until(lambda counts: counts[State.EMBEDDING] == 100)
        release(library)
        await pipeline.until(lambda counts: counts[State.READY] == 100)
        assert count_requests(pipeline) <= 2
        await pipeline.stop()


async def test_no_subscription_is_left_when_all_are_ready(pipeline: PipelineHarness, library: LiveLibrary) -> None:
    async with running_push_client(pipeline, library):
        await upload(pipeline, 20)
        await pipeline.tracker.process_push_updates()
        (subscriber,) = library.hub._subscribers
        release(library)
        pipeline.tasks.append(asyncio.create_task(pipeline.tracker.run()))
        await pipeline.until(lambda counts: counts[State.READY] == 20)
        await pipeline.add("last.jpg", picture("last"))
        await pipeline.until(lambda counts: counts[State.READY] == 21)
        await pipeline.stop()
        pipeline.push_subscriptions.subscribe(["unknown"])
        await until(pipeline.push_subscriptions, lambda push_subscriptions: "unknown" in push_subscriptions.drain())
        assert subscriber.ids == {"unknown"}


async def test_embeddings_that_finish_during_a_disconnect_are_pushed_after_the_reconnect(
    pipeline: PipelineHarness, library: LiveLibrary
) -> None:
    async with running_push_client(pipeline, library):
        await upload(pipeline, 30)
        await pipeline.tracker.process_push_updates()
        assert repr(pipeline.push_subscriptions) == "PushSubscriptions(websocket, 30 subscribed, 0 updates)"
        assert await pipeline.store.queue.due_embeddings(now=pipeline.clock.now(), limit=99) == []
    release(library)
    while len(await pipeline.client.newest_embedding_statuses(99)) < 30 or library.embedder.in_progress:
        pass
    pipeline.tasks.append(asyncio.create_task(pipeline.tracker.run()))
    async with running_push_client(pipeline, library):
        await pipeline.until(lambda counts: counts[State.READY] == 30)
        await pipeline.stop()
    assert count_requests(pipeline) <= 1


async def test_polling_continues_while_the_channel_is_closed(pipeline: PipelineHarness, library: LiveLibrary) -> None:
    async with running_push_client(pipeline, library):
        await upload(pipeline, 3)
        await pipeline.tracker.process_push_updates()
    release(library)
    await library.wait_until_ready(*[each.asset_id for each in await embedding(pipeline)])
    pipeline.push_subscriptions.begin_generation()  # as the push client does after its last quick retry
    assert await pipeline.tracker.run_once() == 3
    assert await states(pipeline) == {State.READY: 3}


async def embedding(pipeline: PipelineHarness) -> list[Any]:
    return await pipeline.store.queue.due_embeddings(now=pipeline.clock.now() + 10_000, limit=1000)


async def test_a_pushed_failure_carries_its_message(pipeline: PipelineHarness, library: LiveLibrary) -> None:
    async with running_push_client(pipeline, library):
        (item_id,) = await upload(pipeline, 1)
        (each,) = await embedding(pipeline)
        pipeline.tasks.append(asyncio.create_task(pipeline.tracker.run()))
        pipeline.push_subscriptions.put(each.asset_id, EmbeddingReport(EmbeddingStatus.FAILED, "It is torn."))
        await pipeline.until(lambda counts: counts[State.FAILED] == 1)
        await pipeline.stop()
        assert "It is torn." in ((await pipeline.store.item(item_id)).error_message or "")


async def test_an_update_of_an_unknown_asset_changes_nothing(pipeline: PipelineHarness, library: LiveLibrary) -> None:
    async with running_push_client(pipeline, library):
        await upload(pipeline, 2)
        pipeline.push_subscriptions.put("c-unknown", EmbeddingReport(EmbeddingStatus.READY))
        await pipeline.tracker.process_push_updates()
        assert await states(pipeline) == {State.EMBEDDING: 2}


async def test_a_silent_push_channel_is_backed_by_polling(scripted: PipelineHarness, tmp_path: Path) -> None:
    """It accepts subscriptions and never sends an update."""
    async with (
        push_server(tmp_path / "p") as server,
        running(create_push_client(scripted.push_subscriptions, tmp_path / "p")),
    ):
        await until(scripted.push_subscriptions, lambda push_subscriptions: push_subscriptions.state == "websocket")
        await upload(scripted, 80)
        await scripted.client.limits()
        await scripted.tracker.process_push_updates()
        await server.until(lambda server: len(server.subscribed()) == 80)
        assert await scripted.tracker.run_once() == 0
        for asset in scripted.sploot.assets.values():
            asset.embedding = READY
        await scripted.later(FALLBACK_POLL_DELAY_MAX_S)
        for _ in range(2):
            assert await scripted.tracker.run_once() > 0
            await scripted.later(FALLBACK_POLL_DELAY_MAX_S)
        assert await states(scripted) == {State.READY: 80}
        assert scripted.sploot.count("statuses") == 2


async def test_embeddings_beyond_the_subscription_limit_are_polled(
    scripted: PipelineHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripted.push_subscriptions._subscriptions, "_ids_max", 5)
    async with (
        push_server(tmp_path / "p") as server,
        running(create_push_client(scripted.push_subscriptions, tmp_path / "p")),
    ):
        await until(scripted.push_subscriptions, lambda push_subscriptions: push_subscriptions.state == "websocket")
        await upload(scripted, 12)
        await scripted.client.limits()
        await scripted.tracker.process_push_updates()
        await server.until(lambda server: len(server.subscribed()) == 5)
        assert await scripted.tracker.run_once() == 7
        for asset in list(scripted.sploot.assets.values()):
            asset.embedding = READY
        await scripted.later(60)
        assert await scripted.tracker.run_once() == 7
        assert await states(scripted) == {State.READY: 7, State.EMBEDDING: 5}


async def test_ten_thousand_are_subscribed_in_bounded_steps_and_polled_a_few_at_a_time(
    scripted: PipelineHarness, tmp_path: Path
) -> None:
    await many_embedding(scripted, 12_000)
    async with (
        push_server(tmp_path / "p") as server,
        running(create_push_client(scripted.push_subscriptions, tmp_path / "p")),
    ):
        await until(scripted.push_subscriptions, lambda push_subscriptions: push_subscriptions.state == "websocket")
        await scripted.client.limits()
        await scripted.tracker.process_push_updates()
        await server.until(lambda server: len(server.subscribed()) == push_subscriptions_module.SUBSCRIPTIONS_MAX)
        before = scripted.sploot.count("statuses")
        assert await scripted.tracker.run_once() == IDS_PER_POLL_MAX
        assert scripted.sploot.count("statuses") == before + 1
        await scripted.later(FALLBACK_POLL_DELAY_MAX_S)  # all are due at once
        assert await scripted.tracker.run_once() == IDS_PER_POLL_MAX
        due = await scripted.store.queue.due_embeddings(now=scripted.clock.now(), limit=20_000)
        assert len(due) <= 2_000 + IDS_PER_POLL_MAX  # those beyond the limit, and those just polled


async def many_embedding(pipeline: PipelineHarness, count: int) -> None:
    await pipeline.store.run(
        f"""
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
        INSERT INTO items (server_id, path, size, mtime_ns, device, inode, priority, shard, added_at, updated_at,
          tags, force)
        SELECT {pipeline.store.server_id}, CAST('/memes/' || i AS BLOB), i, i, 1, i, 1, i % 16, i, i, '[]', 0 FROM n
        """
    )
    await pipeline.store.run("UPDATE items SET state = 'uploading', lease = 'b:' || id")
    await pipeline.store.run(
        f"""UPDATE items SET state = 'embedding', lease = NULL, asset_id = 'c' || id, sha256 = randomblob(32),
        accepted_at = {pipeline.clock.now()} - 100 + id / 1e6, next_at = {pipeline.clock.now()} - 100"""
    )


async def test_a_new_embedding_is_subscribed_without_delay_behind_ten_thousand(
    scripted: PipelineHarness, tmp_path: Path
) -> None:
    await many_embedding(scripted, 9_000)
    async with (
        push_server(tmp_path / "p") as server,
        running(create_push_client(scripted.push_subscriptions, tmp_path / "p")),
    ):
        await until(scripted.push_subscriptions, lambda push_subscriptions: push_subscriptions.state == "websocket")
        await scripted.client.limits()
        await scripted.tracker.process_push_updates()
        await scripted.later(FALLBACK_POLL_DELAY_MAX_S)
        (item_id,) = await upload_one(scripted)
        await scripted.tracker.process_push_updates()
        asset_id = (await scripted.store.item(item_id)).asset_id
        await server.until(lambda server: asset_id in server.subscribed())


async def upload_one(pipeline: PipelineHarness) -> list[int]:
    item_id = await pipeline.add("late.jpg", picture("late"))
    await pipeline.take(item_id)
    return [item_id]


async def test_sploots_updates_are_hints_that_are_verified_by_polling_the_assets(
    scripted: PipelineHarness, tmp_path: Path
) -> None:
    """Its stream reports ready embeddings as `pending`, and contradicts earlier updates."""
    scripted.sploot.features = None
    async with (
        stream_server(tmp_path / "p") as sploot,
        running(create_push_client(scripted.push_subscriptions, tmp_path / "p")),
    ):
        await until(scripted.push_subscriptions, lambda push_subscriptions: push_subscriptions.state == "sse")
        await upload(scripted, 3)
        await scripted.later(UNKNOWN_ASSET_GRACE_S)
        await scripted.tracker.run_once()
        assets = list(scripted.sploot.assets.values())
        assets[0].embedding, assets[1].embedding = READY, FAILED
        assert await scripted.tracker.run_once() == 0  # none is due
        sploot.put(update(assets[0].id, "pending", modelName="e5"))
        sploot.put(update(assets[1].id, "ready"))
        sploot.put(update(assets[2].id, "ready"))
        sploot.put(update("c-of-another-user", "ready"))
        await until(scripted.push_subscriptions, lambda push_subscriptions: len(push_subscriptions._updates) == 4)
        assert await scripted.tracker.run_once() == 3
        assert await states(scripted) == {State.READY: 1, State.FAILED: 1, State.EMBEDDING: 1}


async def test_hints_wake_the_tracker(scripted: PipelineHarness, tmp_path: Path) -> None:
    scripted.sploot.features = None
    async with (
        stream_server(tmp_path / "p") as sploot,
        running(create_push_client(scripted.push_subscriptions, tmp_path / "p")),
    ):
        await until(scripted.push_subscriptions, lambda push_subscriptions: push_subscriptions.state == "sse")
        await upload(scripted, 1)
        await scripted.stop()
        await scripted.later(100)
        await scripted.tracker.run_once()
        asset = next(iter(scripted.sploot.assets.values()))
        asset.embedding = READY
        scripted.start(track=True)
        sploot.put(update(asset.id, "pending"))
        await scripted.until(lambda counts: counts[State.READY] == 1)
        await scripted.stop()


async def test_hints_are_kept_within_bounds(scripted: PipelineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker_module, "HINTS_MAX", 3)
    scripted.sploot.features = None
    await scripted.client.limits()
    for number in range(10):
        scripted.push_subscriptions.put(f"c{number}", EmbeddingReport(EmbeddingStatus.READY))
    await scripted.tracker.process_push_updates()
    assert len(scripted.tracker._hints) == 3


# Stuck embeddings.


def singles(pipeline: PipelineHarness) -> list[tuple[str, str]]:
    """Return the requests about single assets."""
    return [
        (request.method, request.target.rpartition("/")[2])
        for request in pipeline.sploot.requests
        if request.route == "asset"
    ]


async def stuck(pipeline: PipelineHarness) -> int:
    (item_id,) = await upload(pipeline, 1)
    await pipeline.later(EMBEDDING_TIMEOUT_S)
    return item_id


async def test_a_stuck_embedding_is_polled_alone_requested_again_and_failed_with_a_message(
    scripted: PipelineHarness,
) -> None:
    item_id = await stuck(scripted)
    scripted.sploot.always["asset"] = failing_to_embed(scripted)
    requests = 0
    for _ in range(100):
        if State.FAILED in await states(scripted):
            break
        await scripted.tracker.run_once()
        requests = sum(method == "POST" for method, _ in singles(scripted))
        await scripted.later(120)
    assert requests == EMBEDDING_RETRIES_MAX
    assert [method for method, _ in singles(scripted)] == ["GET", "POST"] * EMBEDDING_RETRIES_MAX
    item = await scripted.store.item(item_id)
    assert (item.state, item.error_code) == (State.FAILED, "embedding_failed")
    assert "sploot retry" in (describe_remedy(item) or "")


def failing_to_embed(pipeline: PipelineHarness) -> Any:
    async def act(request: Request) -> Reply:
        if request.method == "POST":
            return Reply(503, {"error": "Service temporarily unavailable", "retryAfter": 30})
        return await pipeline.sploot.act(request)

    return act


async def test_a_stuck_embedding_that_is_computed_on_request_is_ready(scripted: PipelineHarness) -> None:
    await stuck(scripted)

    async def making(request: Request) -> Reply:
        if request.method == "POST":
            for asset in scripted.sploot.assets.values():
                asset.embedding = READY
            return Reply(body={"success": True, "message": "Embedding generated successfully"})
        return await scripted.sploot.act(request)

    scripted.sploot.always["asset"] = making
    await scripted.tracker.run_once()
    await scripted.later(60)
    await scripted.tracker.run_once()
    assert await states(scripted) == {State.READY: 1}
    assert [method for method, _ in singles(scripted)] == ["GET", "POST"]


async def test_a_stuck_embedding_that_is_ready_when_polled_alone_is_not_requested_again(
    scripted: PipelineHarness,
) -> None:
    scripted.sploot.features = None
    await stuck(scripted)
    for asset in scripted.sploot.assets.values():
        asset.embedding = READY
    scripted.sploot.script("assets", replying_pending(scripted))
    await scripted.tracker.run_once()
    assert await states(scripted) == {State.READY: 1}
    assert [method for method, _ in singles(scripted)] == ["GET"]


def replying_pending(pipeline: PipelineHarness) -> Any:
    async def act(_: Request) -> Reply:
        return Reply(body={"assets": [{"id": each.id, "embedding": None} for each in pipeline.sploot.assets.values()]})

    return act


async def test_a_failing_embedder_does_not_hold_back_uploads(scripted: PipelineHarness) -> None:
    await stuck(scripted)
    scripted.sploot.always["asset"] = failing_to_embed(scripted)
    await scripted.tracker.run_once()
    assert scripted.admission.state == "ok"
    assert scripted.admission.retry_after_until is None


async def test_the_embedding_timeout_is_configurable(scripted: PipelineHarness) -> None:
    scripted.tracker = EmbeddingTracker(
        scripted.store.queue,
        scripted.client,
        scripted.admission,
        scripted.clock,
        scripted.store.wake_signals,
        subscriptions=scripted.push_subscriptions,
        embedding_timeout_s=60.0,
    )
    await upload(scripted, 1)
    await scripted.later(61)
    await scripted.tracker.run_once()
    assert singles(scripted)[0][0] == "GET"


async def test_the_real_server_computes_a_requested_embedding(pipeline: PipelineHarness, library: LiveLibrary) -> None:
    await upload(pipeline, 1)
    (each,) = await embedding(pipeline)
    release(library)
    await pipeline.client.regenerate_embedding(each.asset_id)
    assert (await pipeline.client.embedding_status(each.asset_id)).status is EmbeddingStatus.READY
