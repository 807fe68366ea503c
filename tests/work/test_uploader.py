"""The lanes: what reaches the library, in which order, through how many lines, and that nothing is sent twice."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from scripted import dropping, held, replying
from walkkit import HEAD, Walk, jpeg, walking

from splootd.core.item import SHARDS, Priority, State
from splootd.errors import StoreFull
from splootd.work.files import HELD_BYTES_MAX


@pytest.fixture
async def walk(tmp_path: Path) -> AsyncIterator[Walk]:
    async with walking(tmp_path) as walk:
        yield walk


async def test_what_is_queued_reaches_the_library_and_is_searchable(walk: Walk) -> None:
    for number in range(40):
        await walk.add(f"{number}.jpg")
    walk.start(track=True)
    await walk.until(lambda counts: counts[State.READY] == 40)
    assert sorted(walk.sploot.stored.values()) == [1] * 40
    assert walk.budget.taken == 0
    assert walk.traffic.transfers == ()


async def test_the_server_never_sees_more_than_four_lines(walk: Walk) -> None:
    release = asyncio.Event()
    walk.sploot.always["upload"] = held(walk.sploot, release)
    for number in range(40):
        await walk.add(f"{number}.jpg")
    walk.start()
    await walk.sploot.until(lambda sploot: sploot.uploads == walk.server.uploads_max)
    await walk.server.health()  # never waits behind uploads
    release.set()
    await walk.until_through()
    assert walk.sploot.lines_max <= 4
    assert walk.sploot.uploads_max == walk.server.uploads_max == 3


async def test_lanes_of_all_shards_work_at_the_same_time(walk: Walk) -> None:
    release = asyncio.Event()
    walk.sploot.always["check"] = held(walk.sploot, release)
    items = [await walk.add(f"{number}.jpg") for number in range(200)]
    assert {(await walk.store.item(item)).shard for item in items} == set(range(SHARDS))
    walk.start()
    counts = await walk.until(lambda counts: counts[State.UPLOADING] == SHARDS)
    assert counts[State.PENDING] == 200 - SHARDS
    release.set()
    assert (await walk.until_through())[State.EMBEDDING] == 200


async def test_an_urgent_item_overtakes_all_that_wait_for_a_line(walk: Walk) -> None:
    release = asyncio.Event()
    walk.sploot.always["upload"] = held(walk.sploot, release)
    for number in range(60):
        await walk.add(f"{number}.jpg")
    walk.start()
    lanes = await walk.shards()
    await walk.until(lambda counts: counts[State.UPLOADING] == lanes)
    await walk.add("urgent.jpg", priority=Priority.URGENT)
    await walk.until(lambda counts: counts[State.UPLOADING] == lanes + 1)
    lines = walk.server.uploads_max
    all_stand_in_line = f"Budget({lines} of {lines}, {lanes + 1 - lines} waiting)"
    while repr(walk.uploader._lines) != all_stand_in_line:  # noqa: ASYNC110 - it is being read, of which there is no news
        await asyncio.sleep(0)
    release.set()
    await walk.until_through()
    order = list(walk.sploot.stored)
    assert order.index(hashlib.sha256(jpeg("urgent.jpg")).hexdigest()) <= 2 * walk.server.uploads_max


async def test_the_same_content_in_flight_is_sent_once(walk: Walk) -> None:
    for number in range(30):
        await walk.add(f"copy {number}.jpg", jpeg("one"))
    walk.start()
    counts = await walk.until_through()
    assert counts[State.EMBEDDING] == 30
    assert walk.sploot.count("upload") == 1
    assert sum(item.duplicate for item in await walk.store.listing.items(limit=100)) == 29


async def test_a_content_that_was_just_seen_there_is_not_even_asked_about(walk: Walk) -> None:
    await walk.take(await walk.add("first.jpg", jpeg("one")))
    asked = len(walk.sploot.requests)
    item = await walk.take(await walk.add("copy.jpg", jpeg("one")))
    assert item.state is State.EMBEDDING
    assert item.duplicate
    assert len(walk.sploot.requests) == asked


async def test_what_the_library_has_already_is_not_sent(walk: Walk) -> None:
    walk.sploot.add(jpeg("there"), [])
    item = await walk.take(await walk.add("a.jpg", jpeg("there")))
    assert item.state is State.READY  # the check said that it is searchable
    assert item.duplicate
    assert walk.sploot.count("upload") == 0


async def test_409_is_success(walk: Walk) -> None:
    walk.sploot.add(jpeg("there"), [])
    walk.sploot.script("check", replying(body={"exists": False}))
    item = await walk.take(await walk.add("a.jpg", jpeg("there")))
    assert item.state is State.EMBEDDING
    assert item.duplicate
    assert item.attempts == 0


async def test_a_large_file_arrives_byte_for_byte(walk: Walk) -> None:
    content = HEAD + os.urandom(3 * HELD_BYTES_MAX + 17) + b"\xff\xd9"
    item = await walk.take(await walk.add("large.jpg", content))
    assert item.state is State.EMBEDDING
    assert dict(walk.sploot.stored) == {hashlib.sha256(content).hexdigest(): 1}
    assert walk.budget.taken == 0


async def test_the_first_contact_of_a_run_is_one_question_alone(walk: Walk) -> None:
    release = asyncio.Event()
    walk.sploot.script("limits", held(walk.sploot, release))
    for number in range(20):
        await walk.add(f"{number}.jpg")
    walk.start()
    lanes = await walk.shards()
    await walk.until(lambda counts: counts[State.UPLOADING] == lanes)
    await walk.sploot.until(lambda sploot: bool(sploot.requests))
    assert [request.route for request in walk.sploot.requests] == ["limits"]
    release.set()
    await walk.until_through()
    first_check = next(n for n, request in enumerate(walk.sploot.requests) if request.route == "check")
    assert [request.route for request in walk.sploot.requests[:first_check]] == ["limits"]


async def test_a_new_tag_is_introduced_by_one_upload_alone(walk: Walk) -> None:
    release, others = asyncio.Event(), asyncio.Event()
    walk.sploot.script("upload", held(walk.sploot, release))
    walk.sploot.always["upload"] = held(walk.sploot, others)
    for number in range(30):
        await walk.add(f"{number}.jpg", tags=("cat", "Größe"))
    walk.start()
    await walk.sploot.until(lambda sploot: sploot.uploads == 1)
    lanes = await walk.shards()
    await walk.until(lambda counts: counts[State.UPLOADING] == lanes)
    assert walk.sploot.uploads_max == 1
    release.set()
    await walk.sploot.until(lambda sploot: sploot.uploads == walk.server.uploads_max)  # known now
    others.set()
    await walk.until_through()
    assert {tuple(asset.tags) for asset in walk.sploot.assets.values()} == {("cat", "Größe")}


async def test_pausing_lets_what_is_in_flight_finish_and_starts_nothing(walk: Walk) -> None:
    release = asyncio.Event()
    walk.sploot.always["upload"] = held(walk.sploot, release)
    for number in range(40):
        await walk.add(f"{number}.jpg")
    walk.start()
    await walk.sploot.until(lambda sploot: sploot.uploads == 3)
    walk.gate.pause()
    release.set()
    counts = await walk.until(lambda counts: counts[State.UPLOADING] == 0)
    assert counts[State.PENDING] == 37
    walk.gate.resume()
    assert (await walk.until_through())[State.EMBEDDING] == 40


async def test_draining_finishes_what_is_in_flight_and_claims_nothing_more(walk: Walk) -> None:
    release = asyncio.Event()
    walk.sploot.always["upload"] = held(walk.sploot, release)
    for number in range(40):
        await walk.add(f"{number}.jpg")
    walk.start()
    await walk.sploot.until(lambda sploot: sploot.uploads == 3)
    draining = asyncio.create_task(walk.uploader.drain())
    await asyncio.sleep(0)
    release.set()
    await draining
    counts = dict((await walk.store.listing.counts()).by_state)
    assert counts[State.UPLOADING] == 0
    assert counts[State.PENDING] == 40 - 3
    assert walk.budget.taken == 0


async def test_what_does_not_finish_in_time_is_handed_back_uncounted(
    walk: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splootd.work.uploader.DRAIN_S", 0.0)
    walk.sploot.always["upload"] = held(walk.sploot, asyncio.Event())
    item_id = await walk.add("a.jpg")
    walk.start()
    await walk.sploot.until(lambda sploot: sploot.uploads == 1)
    await walk.uploader.drain()
    item = await walk.store.item(item_id)
    assert (item.state, item.attempts, item.fault) == (State.PENDING, 0, "disturbed")
    assert item.next_at is None
    assert walk.budget.taken == 0


async def test_a_lane_that_is_cancelled_anywhere_loses_nothing(walk: Walk) -> None:
    walk.sploot.embeds_at_once = False  # what had arrived already is found, and not ready yet
    content = HEAD + os.urandom(HELD_BYTES_MAX) + b"\xff\xd9"
    item_id = await walk.add("a.jpg", content)
    item = await walk.cancelled_anywhere(item_id, every=7)
    assert item.state is State.EMBEDDING
    assert list(walk.sploot.stored.values()) == [1]


async def test_a_delayed_item_goes_on_when_its_time_comes(walk: Walk) -> None:
    walk.sploot.script("upload", dropping)
    item_id = await walk.add("a.jpg")
    walk.start()
    await walk.sploot.until(lambda sploot: sploot.count("check") == 2)
    await walk.until(lambda counts: counts[State.UPLOADING] == 0)
    assert (await walk.store.item(item_id)).attempts == 1
    walk.clock.ahead_s += 100
    walk.store.bells.news.ring()
    counts = await walk.until_through()
    assert counts[State.EMBEDDING] == 1
    assert list(walk.sploot.stored.values()) == [1]


async def test_a_clock_that_is_set_back_a_year_delays_nobody(walk: Walk) -> None:
    walk.clock.ahead_s = 365 * 86_400.0
    walk.sploot.script("upload", dropping)
    await walk.take(await walk.add("a.jpg"))
    walk.clock.ahead_s = 0.0
    walk.start(track=True)
    await walk.until(lambda counts: counts[State.READY] == 1)


async def test_a_fault_of_this_program_is_one_failed_try_and_stops_nobody(
    walk: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(walk.server, "check", broken)
    item = await walk.take(await walk.add("a.jpg"))
    assert (item.state, item.attempts) == (State.PENDING, 1)
    assert "please report it" in (item.reason or "")
    monkeypatch.undo()
    await walk.later(100)
    assert (await walk.take(item.id)).state is State.EMBEDDING


async def test_a_full_disk_delays_the_answer_and_loses_nothing(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splootd.work.outcome.STORE_FULL_S", 0.0)
    monkeypatch.setattr("splootd.work.uploader.STORE_TROUBLE_S", 0.0)
    full = [StoreFull("no room")] * 3
    for name in ("claim", "accept"):
        monkeypatch.setattr(walk.store.queue, name, _after(list(full), getattr(walk.store.queue, name)))
    await walk.add("a.jpg")
    walk.start()
    counts = await walk.until_through()
    assert counts[State.EMBEDDING] == 1
    assert list(walk.sploot.stored.values()) == [1]


def _after(errors: list[StoreFull], do: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def act(*arguments: Any, **options: Any) -> Any:
        if errors:
            raise errors.pop()
        return await do(*arguments, **options)

    return act
