"""The tracker with a push channel: quick by news, certain by asking, and never misled."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from livekit import LiveLibrary, live_library
from pushkit import feed_to, push_server, running, stream_server, until, update
from scripted import Reply, Request
from toy_library import picture
from walkkit import Walk, walking

from splootd.core.awaited import ASK_MAX, CHECK_AGAIN_MAX_S, TRIES_MAX
from splootd.core.item import State
from splootd.remote import inbox as inboxes
from splootd.remote.answers import EmbeddingReport, EmbeddingStatus
from splootd.work import tracker as trackers
from splootd.work.embeddings import REMOVED_AFTER_S
from splootd.work.tracker import Tracker

READY = {"dim": 384, "modelName": "e5", "status": "pending", "error": None}
FAILED = {"dim": 0, "modelName": "unknown", "status": "failed", "error": "model is down"}
PATIENCE_S = 1_800.0


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[LiveLibrary]:
    """Nothing is embedded before `go`."""
    async with live_library(tmp_path / "library", hold=True, socket=tmp_path / "l") as library:
        yield library


@pytest.fixture
async def walk(tmp_path: Path, library: LiveLibrary) -> AsyncIterator[Walk]:
    """To the real library, without a feed yet."""
    async with walking(tmp_path, socket=library.config.uds) as walk:
        await walk.server.limits()
        yield walk


@pytest.fixture
async def lone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Walk]:
    """To the scripted server, which has no push channel of its own."""
    monkeypatch.setattr("splootd.core.awaited.REQUEST_INTERVAL_S", 0.0)
    monkeypatch.setattr("splootd.core.awaited.CALM_INTERVAL_S", 0.0)
    async with walking(tmp_path) as walk:
        walk.sploot.embeds_at_once = False
        yield walk


def go(library: LiveLibrary) -> None:
    assert library.embedder.hold is not None
    library.embedder.hold.set()


def asked(walk: Walk, call: str = "statuses") -> int:
    """How many such questions the server was asked."""
    found = walk.server.calls.by_name.get(call)
    return found.seconds.count if found else 0


@contextlib.asynccontextmanager
async def following(walk: Walk, library: LiveLibrary) -> AsyncIterator[None]:
    assert library.config.uds is not None
    async with running(feed_to(walk.inbox, library.config.uds)):
        await until(walk.inbox, lambda inbox: inbox.state == "websocket")
        yield


async def upload(walk: Walk, count: int) -> list[int]:
    """Through the lanes; the tracker is not run by this."""
    items = [await walk.add(f"{number}.jpg", picture(f"picture {number}")) for number in range(count)]
    walk.tasks = [asyncio.create_task(walk.uploader.run())]
    assert (await walk.until_through())[State.EMBEDDING] == count
    return items


async def states(walk: Walk) -> dict[State, int]:
    return {state: count for state, count in (await walk.store.listing.counts()).by_state.items() if count}


async def test_a_hundred_files_become_ready_by_news_alone(walk: Walk, library: LiveLibrary) -> None:
    async with following(walk, library):
        walk.start(track=True)
        for number in range(100):
            await walk.add(f"{number}.jpg", picture(f"picture {number}"))
        await walk.until(lambda counts: counts[State.EMBEDDING] == 100)
        go(library)
        await walk.until(lambda counts: counts[State.READY] == 100)
        assert asked(walk) <= 2
        await walk.stop()


async def test_nothing_is_watched_any_more_when_all_are_ready(walk: Walk, library: LiveLibrary) -> None:
    async with following(walk, library):
        await upload(walk, 20)
        await walk.tracker.follow()
        (listener,) = library.updates._listeners
        go(library)
        walk.tasks.append(asyncio.create_task(walk.tracker.run()))
        await walk.until(lambda counts: counts[State.READY] == 20)
        await walk.add("last.jpg", picture("last"))
        await walk.until(lambda counts: counts[State.READY] == 21)
        await walk.stop()
        walk.inbox.watch(["nobody"])
        await until(walk.inbox, lambda inbox: "nobody" in inbox.take())
        assert listener.ids == {"nobody"}


async def test_what_ended_while_the_line_was_down_is_known_at_once_when_it_is_back(
    walk: Walk, library: LiveLibrary
) -> None:
    async with following(walk, library):
        await upload(walk, 30)
        await walk.tracker.follow()
        assert repr(walk.inbox) == "Inbox(websocket, 30 watched, 0 heard)"
        assert await walk.store.queue.due_embeddings(now=walk.clock.now(), limit=99) == []
    go(library)
    while len(await walk.server.newest(99)) < 30 or library.embedder.reading:
        pass
    walk.tasks.append(asyncio.create_task(walk.tracker.run()))
    async with following(walk, library):
        await walk.until(lambda counts: counts[State.READY] == 30)
        await walk.stop()
    assert asked(walk) <= 1


async def test_while_the_line_stays_down_asking_goes_on(walk: Walk, library: LiveLibrary) -> None:
    async with following(walk, library):
        await upload(walk, 3)
        await walk.tracker.follow()
    go(library)
    await library.until_ready(*[each.asset_id for each in await embedding(walk)])
    walk.inbox.begin_epoch()  # as a feed does when it gives up for a while
    assert await walk.tracker.run_once() == 3
    assert await states(walk) == {State.READY: 3}


async def embedding(walk: Walk) -> list[Any]:
    return await walk.store.queue.due_embeddings(now=walk.clock.now() + 10_000, limit=1000)


async def test_a_failure_is_pushed_with_its_words(walk: Walk, library: LiveLibrary) -> None:
    async with following(walk, library):
        (item_id,) = await upload(walk, 1)
        (each,) = await embedding(walk)
        walk.tasks.append(asyncio.create_task(walk.tracker.run()))
        walk.inbox.put(each.asset_id, EmbeddingReport(EmbeddingStatus.FAILED, "It is torn."))
        await walk.until(lambda counts: counts[State.DEAD] == 1)
        await walk.stop()
        assert "It is torn." in ((await walk.store.item(item_id)).reason or "")


async def test_news_of_what_nobody_waits_for_changes_nothing(walk: Walk, library: LiveLibrary) -> None:
    async with following(walk, library):
        await upload(walk, 2)
        walk.inbox.put("c-unknown", EmbeddingReport(EmbeddingStatus.READY))
        await walk.tracker.follow()
        assert await states(walk) == {State.EMBEDDING: 2}


async def test_a_push_that_says_nothing_more_is_checked_by_asking(lone: Walk, tmp_path: Path) -> None:
    """It takes subscriptions and is silent for ever: the safety net holds."""
    async with push_server(tmp_path / "p") as server, running(feed_to(lone.inbox, tmp_path / "p")):
        await until(lone.inbox, lambda inbox: inbox.state == "websocket")
        await upload(lone, 80)
        await lone.server.limits()
        await lone.tracker.follow()
        await server.until(lambda server: len(server.subscribed()) == 80)
        assert await lone.tracker.run_once() == 0
        for asset in lone.sploot.assets.values():
            asset.embedding = READY
        await lone.later(CHECK_AGAIN_MAX_S)
        for _ in range(2):
            assert await lone.tracker.run_once() > 0
            await lone.later(CHECK_AGAIN_MAX_S)
        assert await states(lone) == {State.READY: 80}
        assert lone.sploot.count("statuses") == 2


async def test_what_finds_no_room_is_asked_about(lone: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lone.inbox._watched, "_ids_max", 5)
    async with push_server(tmp_path / "p") as server, running(feed_to(lone.inbox, tmp_path / "p")):
        await until(lone.inbox, lambda inbox: inbox.state == "websocket")
        await upload(lone, 12)
        await lone.server.limits()
        await lone.tracker.follow()
        await server.until(lambda server: len(server.subscribed()) == 5)
        assert await lone.tracker.run_once() == 7
        for asset in list(lone.sploot.assets.values()):
            asset.embedding = READY
        await lone.later(60)
        assert await lone.tracker.run_once() == 7
        assert await states(lone) == {State.READY: 7, State.EMBEDDING: 5}


async def test_ten_thousand_are_subscribed_to_in_bounded_steps_and_asked_about_a_few_at_a_time(
    lone: Walk, tmp_path: Path
) -> None:
    await many_embedding(lone, 12_000)
    async with push_server(tmp_path / "p") as server, running(feed_to(lone.inbox, tmp_path / "p")):
        await until(lone.inbox, lambda inbox: inbox.state == "websocket")
        await lone.server.limits()
        await lone.tracker.follow()
        await server.until(lambda server: len(server.subscribed()) == inboxes.WATCHED_MAX)
        before = lone.sploot.count("statuses")
        assert await lone.tracker.run_once() == ASK_MAX
        assert lone.sploot.count("statuses") == before + 1
        await lone.later(CHECK_AGAIN_MAX_S)  # all are due at once
        assert await lone.tracker.run_once() == ASK_MAX
        due = await lone.store.queue.due_embeddings(now=lone.clock.now(), limit=20_000)
        assert len(due) <= 2_000 + ASK_MAX  # those without room, and the few that were just asked about


async def many_embedding(walk: Walk, count: int) -> None:
    await walk.store.run(
        f"""
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
        INSERT INTO items (server_id, path, size, mtime_ns, device, inode, priority, shard, added_at, updated_at,
          tags, force)
        SELECT {walk.store.server}, CAST('/memes/' || i AS BLOB), i, i, 1, i, 1, i % 16, i, i, '[]', 0 FROM n
        """
    )
    await walk.store.run("UPDATE items SET state = 'uploading', lease = 'b:' || id")
    await walk.store.run(
        f"""UPDATE items SET state = 'embedding', lease = NULL, asset_id = 'c' || id, sha256 = randomblob(32),
        accepted_at = {walk.clock.now()} - 100 + id / 1e6, next_at = {walk.clock.now()} - 100"""
    )


async def test_a_late_newcomer_is_watched_at_once_behind_ten_thousand(lone: Walk, tmp_path: Path) -> None:
    await many_embedding(lone, 9_000)
    async with push_server(tmp_path / "p") as server, running(feed_to(lone.inbox, tmp_path / "p")):
        await until(lone.inbox, lambda inbox: inbox.state == "websocket")
        await lone.server.limits()
        await lone.tracker.follow()
        await lone.later(CHECK_AGAIN_MAX_S)
        (item_id,) = await upload_one(lone)
        await lone.tracker.follow()
        asset_id = (await lone.store.item(item_id)).asset_id
        await server.until(lambda server: asset_id in server.subscribed())


async def upload_one(walk: Walk) -> list[int]:
    item_id = await walk.add("late.jpg", picture("late"))
    await walk.take(item_id)
    return [item_id]


async def test_sploots_news_are_hints_and_assets_tell_the_truth(lone: Walk, tmp_path: Path) -> None:
    """Its stream says `pending` of what is ready, and goes back on what it said."""
    lone.sploot.features = None
    async with stream_server(tmp_path / "p") as sploot, running(feed_to(lone.inbox, tmp_path / "p")):
        await until(lone.inbox, lambda inbox: inbox.state == "sse")
        await upload(lone, 3)
        await lone.later(REMOVED_AFTER_S)
        await lone.tracker.run_once()
        assets = list(lone.sploot.assets.values())
        assets[0].embedding, assets[1].embedding = READY, FAILED
        assert await lone.tracker.run_once() == 0  # none is due
        sploot.put(update(assets[0].id, "pending", modelName="e5"))
        sploot.put(update(assets[1].id, "ready"))
        sploot.put(update(assets[2].id, "ready"))
        sploot.put(update("c-of-somebody-else", "ready"))
        await until(lone.inbox, lambda inbox: len(inbox._heard) == 4)
        assert await lone.tracker.run_once() == 3
        assert await states(lone) == {State.READY: 1, State.DEAD: 1, State.EMBEDDING: 1}


async def test_hints_wake_the_tracker(lone: Walk, tmp_path: Path) -> None:
    lone.sploot.features = None
    async with stream_server(tmp_path / "p") as sploot, running(feed_to(lone.inbox, tmp_path / "p")):
        await until(lone.inbox, lambda inbox: inbox.state == "sse")
        await upload(lone, 1)
        await lone.stop()
        await lone.later(100)
        await lone.tracker.run_once()
        asset = next(iter(lone.sploot.assets.values()))
        asset.embedding = READY
        lone.start(track=True)
        sploot.put(update(asset.id, "pending"))
        await lone.until(lambda counts: counts[State.READY] == 1)
        await lone.stop()


async def test_hints_are_kept_within_bounds(lone: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "HINTS_MAX", 3)
    lone.sploot.features = None
    await lone.server.limits()
    for number in range(10):
        lone.inbox.put(f"c{number}", EmbeddingReport(EmbeddingStatus.READY))
    await lone.tracker.follow()
    assert len(lone.tracker._hints) == 3


# What is stuck.


def singles(walk: Walk) -> list[tuple[str, str]]:
    """The questions about one asset each."""
    return [
        (request.method, request.target.rpartition("/")[2])
        for request in walk.sploot.requests
        if request.route == "asset"
    ]


async def stuck(walk: Walk) -> int:
    (item_id,) = await upload(walk, 1)
    await walk.later(PATIENCE_S)
    return item_id


async def test_a_stuck_embedding_is_asked_about_alone_tried_again_and_given_up_with_a_reason(lone: Walk) -> None:
    item_id = await stuck(lone)
    lone.sploot.always["asset"] = refusing_to_embed(lone)
    tries = 0
    for _ in range(100):
        if State.DEAD in await states(lone):
            break
        await lone.tracker.run_once()
        tries = sum(method == "POST" for method, _ in singles(lone))
        await lone.later(120)
    assert tries == TRIES_MAX
    assert [method for method, _ in singles(lone)] == ["GET", "POST"] * TRIES_MAX
    item = await lone.store.item(item_id)
    assert (item.state, item.fault) == (State.DEAD, "embedding_failed")
    assert "sploot retry" in (item.reason or "")


def refusing_to_embed(walk: Walk) -> Any:
    async def act(request: Request) -> Reply:
        if request.method == "POST":
            return Reply(503, {"error": "Service temporarily unavailable", "retryAfter": 30})
        return await walk.sploot.act(request)

    return act


async def test_a_stuck_embedding_that_is_made_when_asked_for_is_ready(lone: Walk) -> None:
    await stuck(lone)

    async def making(request: Request) -> Reply:
        if request.method == "POST":
            for asset in lone.sploot.assets.values():
                asset.embedding = READY
            return Reply(body={"success": True, "message": "Embedding generated successfully"})
        return await lone.sploot.act(request)

    lone.sploot.always["asset"] = making
    await lone.tracker.run_once()
    await lone.later(60)
    await lone.tracker.run_once()
    assert await states(lone) == {State.READY: 1}
    assert [method for method, _ in singles(lone)] == ["GET", "POST"]


async def test_what_turns_out_to_be_ready_when_asked_about_alone_is_not_made_again(lone: Walk) -> None:
    lone.sploot.features = None
    await stuck(lone)
    for asset in lone.sploot.assets.values():
        asset.embedding = READY
    lone.sploot.script("assets", replying_pending(lone))
    await lone.tracker.run_once()
    assert await states(lone) == {State.READY: 1}
    assert [method for method, _ in singles(lone)] == ["GET"]


def replying_pending(walk: Walk) -> Any:
    async def act(_: Request) -> Reply:
        return Reply(body={"assets": [{"id": each.id, "embedding": None} for each in walk.sploot.assets.values()]})

    return act


async def test_a_sick_embedder_does_not_hold_up_the_sending(lone: Walk) -> None:
    await stuck(lone)
    lone.sploot.always["asset"] = refusing_to_embed(lone)
    await lone.tracker.run_once()
    assert lone.gate.state == "ok"
    assert lone.gate.held_until is None


async def test_how_long_is_too_long_can_be_set(lone: Walk) -> None:
    lone.tracker = Tracker(
        lone.store.queue, lone.server, lone.gate, lone.clock, lone.store.bells, inbox=lone.inbox, patience_s=60.0
    )
    await upload(lone, 1)
    await lone.later(61)
    await lone.tracker.run_once()
    assert singles(lone)[0][0] == "GET"


async def test_the_real_library_makes_what_is_asked_for(walk: Walk, library: LiveLibrary) -> None:
    await upload(walk, 1)
    (each,) = await embedding(walk)
    go(library)
    await walk.server.embed_again(each.asset_id)
    assert (await walk.server.embedding(each.asset_id)).status is EmbeddingStatus.READY
