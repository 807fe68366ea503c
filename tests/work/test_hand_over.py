"""A library on this machine takes the files itself: few requests, nothing held in memory, and the same manners."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from scripted import HTML, OFFERS, OFFERS_HERE, Act, Reply, Request, dropping, held, replying, storing_then
from walkkit import Walk, jpeg, walking

from splootd.core.breaker import FAULTS_MAX, OPEN_S
from splootd.core.item import SHARDS, Priority, State
from splootd.remote.handover import FAILED_MAX, FAILED_S, HAND_OVER_BYTES_MAX
from splootd.store import database
from splootd.store.transaction import Committed, commit_all

FAILURES: dict[str, Act] = {
    "hangs up": dropping,
    "500": replying(500, {"error": "Upload failed"}),
    "no such path": replying(404, b"<html>not found</html>", HTML),
    "too few outcomes": replying(200, {"success": True, "results": []}),
}


@pytest.fixture
async def walk(tmp_path: Path) -> AsyncIterator[Walk]:
    async with walking(tmp_path) as walk:
        walk.sploot.features = OFFERS_HERE
        await walk.server.limits()
        walk.sploot.requests.clear()
        yield walk


def named(walk: Walk) -> list[int]:
    """How many files each request names."""
    return [len(request.json()["files"]) for request in walk.sploot.requests if request.route == "files"]


async def added(walk: Walk, count: int, **options: Any) -> list[int]:
    return [await walk.add(f"{number}.jpg", **options) for number in range(count)]


async def test_a_file_is_named_and_not_asked_about_before(walk: Walk) -> None:
    item = await walk.take(await walk.add("a\udcff\n.jpg", jpeg("a"), tags=("cat", "größe")))
    assert item.state is State.EMBEDDING
    assert [request.route for request in walk.sploot.requests] == ["limits", "files"]
    assert {tuple(asset.tags) for asset in walk.sploot.assets.values()} == {("cat", "größe")}
    assert walk.traffic.bytes == item.version.size


async def test_a_thousand_files_cost_few_requests_and_few_commits(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups that lanes claim are surveyed, handed over and answered as one."""
    wrote = 0

    def counted(connection: Any, ops: Any) -> Committed:
        nonlocal wrote
        committed = commit_all(connection, ops)
        wrote += committed.wrote
        return committed

    await added(walk, 1000)
    monkeypatch.setattr(database, "commit_all", counted)
    walk.start()
    assert (await walk.until_through())[State.EMBEDDING] == 1000
    assert sorted(walk.sploot.stored.values()) == [1] * 1000
    assert {request.route for request in walk.sploot.requests} == {"limits", "files"}
    assert len(named(walk)) <= 2 * SHARDS
    assert wrote <= 3 * SHARDS
    assert (walk.traffic.items, walk.budget.taken, walk.traffic.transfers) == (1000, 0, ())


async def test_a_file_that_changes_under_the_hands_of_the_library_comes_again(walk: Walk) -> None:
    ids = await added(walk, 5)
    changing = walk.folder / "3.jpg"

    async def files(request: Request) -> Reply:
        changing.write_bytes(jpeg("otherwise"))
        return await walk.sploot.act(request)

    walk.sploot.script("files", files, files, files, files, files)
    walk.start()
    await walk.until(lambda counts: counts[State.EMBEDDING] == 5)
    assert sorted(walk.sploot.stored.values()) == [1] * 5
    item = await walk.store.item(ids[3])
    assert item.version.size == changing.stat().st_size
    assert item.attempts == 0


async def test_a_file_that_is_gone_meanwhile_is_gone(walk: Walk) -> None:
    gone, there = await walk.add("gone.jpg"), await walk.add("there.jpg")
    (walk.folder / "gone.jpg").unlink()
    walk.start()
    await walk.until_through()
    assert (await walk.store.item(gone)).state is State.GONE
    assert (await walk.store.item(there)).state is State.EMBEDDING


async def test_copies_are_sent_once(walk: Walk) -> None:
    for number in range(40):
        await walk.add(f"{number}.jpg", jpeg(number % 4))
    walk.start()
    counts = await walk.until_through()
    assert counts[State.EMBEDDING] + counts[State.READY] == 40
    assert sorted(walk.sploot.stored.values()) == [1] * 4


@pytest.mark.parametrize("answer", FAILURES.values(), ids=FAILURES.keys())
async def test_what_it_fails_to_take_is_sent_as_ever(walk: Walk, answer: Act) -> None:
    walk.sploot.always["files"] = answer
    await added(walk, 30)
    walk.start()
    assert (await walk.until_through())[State.EMBEDDING] == 30
    assert sorted(walk.sploot.stored.values()) == [1] * 30
    assert {item.attempts for item in await walk.store.listing.items(limit=100)} == {0}
    assert walk.gate.state == "ok"
    assert len(named(walk)) <= FAILED_MAX + 2, "what fails is not tried again and again"


@pytest.mark.parametrize("answer", FAILURES.values(), ids=FAILURES.keys())
async def test_what_it_took_although_the_answer_is_missing_is_found_by_hash(walk: Walk, answer: Act) -> None:
    walk.sploot.always["files"] = storing_then(walk.sploot, answer)
    await added(walk, 30)
    walk.start()
    await walk.until_through()
    assert sorted(walk.sploot.stored.values()) == [1] * 30
    assert walk.sploot.count("upload") == 0


async def test_a_dead_library_opens_the_breaker_and_costs_nobody_a_try(walk: Walk) -> None:
    await added(walk, 100)
    walk.sploot.always = dict.fromkeys(("files", "checks"), replying(500, {}))
    walk.start()
    await walk.until(lambda counts: walk.gate.breaker.mood == "open" and counts[State.UPLOADING] == 0)
    assert walk.sploot.count("checks") <= FAULTS_MAX + 1
    assert {item.attempts for item in await walk.store.listing.items(limit=200)} == {0}
    before = len(named(walk))
    walk.sploot.always = {"files": held(walk.sploot, release := asyncio.Event())}
    await walk.later(OPEN_S + FAILED_S)
    await walk.sploot.until(lambda _: len(named(walk)) > before)
    assert named(walk)[before:] == [1], "the first that tries is alone"
    release.set()
    assert (await walk.until_through())[State.EMBEDDING] == 100


async def test_patience_that_is_asked_for_is_everybodys(walk: Walk) -> None:
    walk.sploot.always["files"] = replying(429, {}, {"retry-after": "120"})
    await added(walk, 40)
    walk.start()
    await walk.until(lambda counts: walk.gate.state == "rate_limited" and counts[State.UPLOADING] == 0)
    walk.sploot.always.clear()
    assert {item.attempts for item in await walk.store.listing.items(limit=100)} == {0}
    await walk.later(121)
    assert (await walk.until_through())[State.EMBEDDING] == 40


async def test_pausing_hands_over_nothing_more(walk: Walk) -> None:
    walk.sploot.script("files", held(walk.sploot, release := asyncio.Event()))
    await added(walk, 40)
    await walk.add("large.jpg", jpeg("large", HAND_OVER_BYTES_MAX))
    walk.sploot.bytes_max = 2 * HAND_OVER_BYTES_MAX
    walk.start()
    await walk.sploot.until(lambda _: bool(named(walk)))
    walk.gate.pause()
    under_way = sum(named(walk))
    release.set()
    counts = await walk.until(lambda counts: counts[State.UPLOADING] == 0)
    assert counts[State.EMBEDDING] == sum(named(walk)) < 41
    assert under_way
    walk.gate.resume()
    await walk.until_through()


async def test_an_urgent_item_waits_for_no_group_of_others(walk: Walk) -> None:
    walk.sploot.always["files"] = held(walk.sploot, release := asyncio.Event())
    await added(walk, 60)
    walk.start()
    await walk.sploot.until(lambda _: len(named(walk)) == 2)
    await walk.add("urgent.jpg", priority=Priority.URGENT)
    await walk.sploot.until(lambda _: len(named(walk)) == 3)
    assert named(walk)[-1] == 1
    release.set()
    await walk.until_through()


async def test_urgent_items_of_any_shard_that_wait_together_go_together(walk: Walk) -> None:
    """Whoever drops twenty files does not see the last of them wait for nineteen others."""
    await added(walk, 20, priority=Priority.URGENT)
    await walk.uploader.run_once(None)
    assert named(walk) == [20]
    assert (await walk.until_through())[State.EMBEDDING] == 20


async def test_a_lane_that_is_cancelled_anywhere_loses_nothing(walk: Walk) -> None:
    item_id = await walk.add("a.jpg")
    item = await walk.cancelled_anywhere(item_id, every=3)
    assert item.state in (State.EMBEDDING, State.READY)
    assert list(walk.sploot.stored.values()) == [1]


async def test_a_server_elsewhere_is_told_no_names(tmp_path: Path) -> None:
    """Whatever it says that it takes."""
    async with walking(tmp_path) as walk:
        walk.sploot.features = {**OFFERS, "handOver": 64}
        walk.server._is_here = False
        await added(walk, 10)
        walk.start()
        await walk.until_through()
        assert Counter(request.route for request in walk.sploot.requests)["files"] == 0
        assert not any(os.fsencode(walk.folder) in request.body for request in walk.sploot.requests)
