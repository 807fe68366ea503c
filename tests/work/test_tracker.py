"""The tracker: few questions, true answers, and nothing lost."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from scripted import HTML, SIGNED_OUT, dropping, replying
from walkkit import Walk, walking

from splootd.core.awaited import ASK_MAX
from splootd.core.item import State
from splootd.errors import ServerError
from splootd.work.embeddings import REMOVED_AFTER_S

READY = {"dim": 384, "modelName": "e5", "status": "pending", "error": None}
FAILED = {"dim": 0, "modelName": "unknown", "status": "failed", "error": "model is down"}


@pytest.fixture
async def walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Walk]:
    monkeypatch.setattr("splootd.core.awaited.REQUEST_INTERVAL_S", 0.0)
    async with walking(tmp_path) as walk:
        walk.sploot.embeds_at_once = False
        yield walk


async def upload(walk: Walk, count: int) -> list[int]:
    items = [await walk.add(f"{number}.jpg") for number in range(count)]
    walk.start()
    assert (await walk.until_through())[State.EMBEDDING] == count
    await walk.later(REMOVED_AFTER_S)
    return items


def embed(walk: Walk, embedding: dict[str, Any], *which: int) -> None:
    assets = list(walk.sploot.assets.values())
    for each in which or range(len(assets)):
        assets[each].embedding = embedding


async def states(walk: Walk) -> dict[State, int]:
    return {state: count for state, count in (await walk.store.listing.counts()).by_state.items() if count}


async def test_a_hundred_files_are_two_questions(walk: Walk) -> None:
    await upload(walk, 100)
    embed(walk, READY)
    assert await walk.tracker.run_once() == ASK_MAX
    assert await walk.tracker.run_once() == ASK_MAX
    assert await walk.tracker.run_once() == 0
    assert await states(walk) == {State.READY: 100}
    assert walk.sploot.count("statuses") == 2


async def test_what_is_pending_is_asked_about_again_ever_more_rarely(walk: Walk) -> None:
    (item_id,) = await upload(walk, 1)
    gaps = []
    for _ in range(20):
        assert await walk.tracker.run_once() == 1
        next_at = (await walk.store.item(item_id)).next_at
        assert next_at is not None
        gaps.append(round(next_at - walk.clock.now()))
        assert await walk.tracker.run_once() == 0
        await walk.later(gaps[-1] + 1)
    assert gaps == sorted(gaps)
    assert gaps[0] <= 3
    assert gaps[-1] == 60
    embed(walk, READY)
    assert await walk.tracker.run_once() == 1
    assert await states(walk) == {State.READY: 1}


async def test_a_failed_embedding_ends_with_the_servers_words(walk: Walk) -> None:
    (item_id,) = await upload(walk, 1)
    embed(walk, FAILED)
    await walk.tracker.run_once()
    item = await walk.store.item(item_id)
    assert (item.state, item.fault) == (State.DEAD, "embedding_failed")
    assert "model is down" in (item.reason or "")


async def test_what_was_removed_meanwhile_is_skipped_and_remembered(walk: Walk) -> None:
    (item_id,) = await upload(walk, 1)
    walk.sploot.removed.update(walk.sploot.assets)
    await walk.tracker.run_once()
    item = await walk.store.item(item_id)
    assert (item.state, item.fault) == (State.SKIPPED, "removed")
    known = await walk.store.ledger.content(bytes.fromhex(next(iter(walk.sploot.assets))))
    assert known is not None
    assert known.removed_at is not None


async def test_an_asset_that_is_unknown_just_after_the_upload_is_not_yet_removed(walk: Walk) -> None:
    (item_id,) = await upload(walk, 1)
    walk.clock.ahead_s -= REMOVED_AFTER_S
    walk.sploot.removed.update(walk.sploot.assets)
    await walk.store.queue.ask_again({item_id: walk.clock.now()})
    assert await walk.tracker.run_once() == 1
    assert (await walk.store.item(item_id)).state is State.EMBEDDING


async def test_copies_of_one_content_are_one_question(walk: Walk) -> None:
    for number in range(10):
        await walk.add(f"{number}.jpg", b"\xff\xd8\xff one \xff\xd9")
    walk.start()
    await walk.until_through()
    embed(walk, READY)
    await walk.later(10)
    assert await walk.tracker.run_once() == 10
    (request,) = [request for request in walk.sploot.requests if request.route == "statuses"]
    assert len(request.json()["assetIds"]) == 1
    assert await states(walk) == {State.READY: 10}


async def test_where_ready_is_said_of_failed_embeddings_the_assets_tell_the_truth(walk: Walk) -> None:
    walk.sploot.features = None
    await upload(walk, 6)
    embed(walk, READY, 0, 1)
    embed(walk, FAILED, 2, 3)
    await walk.tracker.run_once()
    assert await states(walk) == {State.READY: 2, State.DEAD: 2, State.EMBEDDING: 2}


async def test_the_truth_about_older_assets_is_asked_for_one_by_one(
    walk: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splootd.work.tracker.NEWEST_MAX", 2)
    walk.sploot.features = None
    await upload(walk, 8)
    embed(walk, READY, 0)
    embed(walk, FAILED, 1)
    walk.sploot.removed.add(list(walk.sploot.assets)[2])
    for _ in range(10):
        await walk.tracker.run_once()
        await walk.later(100)
    assert await states(walk) == {State.READY: 1, State.DEAD: 1, State.SKIPPED: 1, State.EMBEDDING: 5}


async def test_a_liar_that_says_there_is_an_embedding_is_not_believed_at_the_check(walk: Walk) -> None:
    walk.sploot.features = None
    walk.sploot.embeds_at_once = True
    walk.sploot.add(b"\xff\xd8\xff there \xff\xd9", [])
    item = await walk.take(await walk.add("a.jpg", b"\xff\xd8\xff there \xff\xd9"))
    assert item.state is State.EMBEDDING


@pytest.mark.parametrize(
    "answer",
    [
        dropping,
        replying(500, {"error": "Failed to check batch embedding status"}),
        replying(404, b"<html></html>", {**HTML, **SIGNED_OUT}),
        replying(429, {}),
        replying(200, b"<html></html>", HTML),
        replying(200, {"statuses": []}),
        replying(200, {"statuses": {"c1": 5}}, cut=9),
    ],
)
async def test_no_answer_loses_nothing(walk: Walk, answer: Any) -> None:
    (item_id,) = await upload(walk, 1)
    embed(walk, READY)
    walk.sploot.script("statuses", answer)
    with pytest.raises(ServerError):
        await walk.tracker.run_once()
    assert (await walk.store.item(item_id)).state is State.EMBEDDING
    assert await walk.tracker.run_once() == 1
    assert await states(walk) == {State.READY: 1}


async def test_a_silent_server_is_shown_and_asked_again(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splootd.work.tracker.delay_s", lambda **_: 0.0)
    await upload(walk, 1)
    embed(walk, READY)
    walk.sploot.script("statuses", dropping, replying(500, {}), dropping)
    await walk.stop()
    walk.start(track=True)
    await walk.sploot.until(lambda sploot: sploot.count("statuses") == 2)
    assert walk.gate.state == "unreachable"
    await walk.until(lambda counts: counts[State.READY] == 1)
    await walk.later(0)
    assert walk.gate.state == "ok"


async def test_an_honest_answer_about_an_asset_that_it_leaves_out_is_pending(walk: Walk) -> None:
    (item_id,) = await upload(walk, 1)
    walk.sploot.script("statuses", replying(200, {"statuses": {}}))
    assert await walk.tracker.run_once() == 1
    assert (await walk.store.item(item_id)).state is State.EMBEDDING


async def test_questions_are_two_seconds_apart(tmp_path: Path) -> None:
    async with walking(tmp_path) as walk:
        walk.sploot.embeds_at_once = False
        await upload(walk, 60)
        await walk.tracker.run_once()  # limits, then statuses
        before = walk.clock.monotonic()
        await walk.tracker.run_once()
        assert walk.clock.monotonic() - before >= 1.9
