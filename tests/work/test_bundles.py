"""Where the server offers it, lanes ask and send together: fewer requests, and the same manners towards each file."""

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from real_sploot import lasting
from scripted import HTML, OFFERS, Act, Reply, Request, dropping, held, parsed_files, replying, storing_then
from walkkit import HEAD, Walk, jpeg, walking

from splootd.core import timetable
from splootd.core.breaker import FAULTS_MAX, OPEN_S
from splootd.core.item import SHARDS, Priority, State
from splootd.remote.delivery import BUNDLE_BYTES_MAX, BUNDLES_FAILED_MAX, SMALL_BYTES_MAX
from splootd.remote.throttle import Throttle
from splootd.work.uploader import TOGETHER_MAX

FAILED = replying(500, {"error": "Upload failed"})
FAILURES: dict[str, Act] = {
    "hangs up": dropping,
    "500": FAILED,
    "an error page": replying(502, b"<html>Bad gateway</html>", HTML),
    "a proxy's 413": replying(413, b"<html>too large</html>", HTML),
    "no such path": replying(404, b"<html>not found</html>", HTML),
    "truncated JSON": replying(200, {"results": []}, cut=5),
    "too few outcomes": replying(200, {"success": True, "results": []}),
    "outcomes that are none": replying(200, {"results": ["201"] * 20}),
    "a list": replying(200, [1, 2]),
}


@pytest.fixture
async def walk(tmp_path: Path) -> AsyncIterator[Walk]:
    async with walking(tmp_path) as walk:
        walk.sploot.features = OFFERS
        yield walk


def asked(walk: Walk) -> list[str]:
    return [request.route for request in walk.sploot.requests]


async def test_nobody_waits_for_company(walk: Walk) -> None:
    item = await walk.take(await walk.add("a.jpg", tags=("cat", "größe")))
    assert item.state is State.EMBEDDING
    assert asked(walk) == ["limits", "checks", "bundle"]
    assert {tuple(asset.tags) for asset in walk.sploot.assets.values()} == {("cat", "größe")}


async def test_a_thousand_small_files_need_few_requests(walk: Walk) -> None:
    """The server takes its time, as one does that is far away or has a disk. One by one it would be two for each."""

    async def slow(request: Request) -> Reply:
        await lasting(0.01)
        return await walk.sploot.act(request)

    walk.sploot.always = {"checks": slow, "bundle": slow}
    for number in range(1000):
        await walk.add(f"{number}.jpg")
    walk.start()
    assert (await walk.until_through())[State.EMBEDDING] == 1000
    routes = Counter(asked(walk))
    assert set(routes) == {"limits", "checks", "bundle"}
    assert routes.total() < 1000
    assert sorted(walk.sploot.stored.values()) == [1] * 1000
    assert walk.sploot.lines_max <= 4
    assert walk.budget.taken == 0


async def test_lanes_that_ask_meanwhile_go_together(walk: Walk) -> None:
    release = asyncio.Event()
    walk.sploot.script("checks", held(walk.sploot, release))
    for number in range(200):
        await walk.add(f"{number}.jpg")
    walk.start()
    await walk.until(lambda counts: counts[State.UPLOADING] >= SHARDS)
    release.set()
    await walk.until_through()
    sizes = [len(parsed_files(request)) for request in walk.sploot.requests if request.route == "bundle"]
    assert sum(sizes) == 200
    assert max(sizes) >= SHARDS // 2
    assert max(sizes) <= SHARDS * TOGETHER_MAX


async def test_what_the_library_has_is_not_sent(walk: Walk) -> None:
    for number in range(40):
        walk.sploot.add(jpeg(f"{number}.jpg"), [])
        await walk.add(f"{number}.jpg")
    walk.start()
    assert (await walk.until_through())[State.READY] == 40
    assert set(asked(walk)) == {"limits", "checks"}


async def test_larger_files_are_sent_alone(walk: Walk) -> None:
    small = await walk.take(await walk.add("small.jpg", jpeg("small", SMALL_BYTES_MAX)))
    large = await walk.take(await walk.add("large.jpg", jpeg("large", SMALL_BYTES_MAX + 1)))
    assert (small.state, large.state) == (State.EMBEDDING, State.EMBEDDING)
    assert asked(walk) == ["limits", "checks", "bundle", "checks", "upload"]


async def test_a_bundle_is_no_larger_than_the_server_takes(walk: Walk) -> None:
    walk.sploot.features = {**OFFERS, "bundle": {"files": 5, "bytes": 4 * SMALL_BYTES_MAX}}
    for number in range(60):
        await walk.add(f"{number}.jpg", jpeg(number, 20_000 + number))
    walk.start()
    assert (await walk.until_through())[State.EMBEDDING] == 60
    bundles = [request for request in walk.sploot.requests if request.route == "bundle"]
    assert max(len(parsed_files(request)) for request in bundles) <= 5
    assert max(len(request.body) for request in bundles) <= min(4 * SMALL_BYTES_MAX, BUNDLE_BYTES_MAX)


async def test_a_bad_file_among_them_harms_only_itself(walk: Walk) -> None:
    bad = hashlib.sha256(jpeg("7.jpg")).hexdigest()

    async def bundle(request: Request) -> Reply:
        reply = await walk.sploot.act(request)
        for outcome in reply.body["results"]:
            if outcome["asset"]["checksum"] == bad:
                outcome.clear()
                outcome.update(status=400, success=False, error="File appears to be odd")
        return reply

    walk.sploot.always["bundle"] = bundle
    for number in range(30):
        await walk.add(f"{number}.jpg")
    walk.start()
    counts = await walk.until_through()
    assert (counts[State.EMBEDDING], counts[State.DEAD]) == (29, 1)
    (dead,) = [item for item in await walk.store.listing.items(limit=100) if item.state is State.DEAD]
    assert dead.path.endswith(b"7.jpg")
    assert "File appears to be odd" in (dead.reason or "")


async def test_a_file_that_the_server_fails_on_is_parked_after_its_tries(walk: Walk) -> None:
    walk.sploot.add(jpeg("twin"), [])
    walk.sploot.removed.add(next(iter(walk.sploot.assets)))
    sick = await walk.add("twin.jpg", jpeg("twin"))
    for number in range(5):
        assert (await walk.store.item(sick)).attempts == number
        item = await walk.take(sick)
        assert (await walk.take(await walk.add(f"{number}.jpg"))).state is State.EMBEDDING
        await walk.later(100)
    assert (item.state, item.fault) == (State.DEAD, "server_fault")
    assert walk.gate.state == "ok"
    assert walk.sploot.count("upload") == 0


@pytest.mark.parametrize("answer", FAILURES.values(), ids=FAILURES.keys())
async def test_what_was_stored_although_the_answer_is_missing_is_found_by_hash(walk: Walk, answer: Act) -> None:
    walk.sploot.always["bundle"] = storing_then(walk.sploot, answer)
    for number in range(20):
        await walk.add(f"{number}.jpg")
    walk.start()
    await walk.until_through()
    items = await walk.store.listing.items(limit=100)
    assert {(item.attempts, item.duplicate) for item in items} == {(0, False)}
    assert sorted(walk.sploot.stored.values()) == [1] * 20


@pytest.mark.parametrize("answer", FAILURES.values(), ids=FAILURES.keys())
async def test_a_bundle_that_fails_is_nobodys_fault_and_its_files_go_alone(walk: Walk, answer: Act) -> None:
    walk.sploot.always["bundle"] = answer
    for number in range(20):
        await walk.add(f"{number}.jpg")
    walk.start()
    counts = await walk.until_through()
    assert counts[State.EMBEDDING] == 20
    assert {item.attempts for item in await walk.store.listing.items(limit=100)} == {0}
    assert sorted(walk.sploot.stored.values()) == [1] * 20
    assert walk.gate.state == "ok"
    assert walk.sploot.count("bundle") <= BUNDLES_FAILED_MAX + 1, "what fails is not tried again and again"


async def test_one_request_that_fails_counts_once_however_many_hear_of_it(walk: Walk) -> None:
    walk.sploot.always["checks"] = replying(500, {"error": "Failed to perform preflight check"})
    for number in range(100):
        await walk.add(f"{number}.jpg")
    walk.start()
    await walk.until(lambda counts: walk.gate.breaker.mood == "open" and counts[State.UPLOADING] == 0)
    assert walk.sploot.count("checks") == FAULTS_MAX
    assert {item.attempts for item in await walk.store.listing.items(limit=200)} == {0}
    walk.sploot.always.clear()
    await walk.later(OPEN_S)
    assert (await walk.until_through())[State.EMBEDDING] == 100
    assert set(walk.sploot.stored.values()) == {1}


async def test_the_first_after_the_breaker_has_opened_is_alone(walk: Walk) -> None:
    walk.sploot.always["checks"] = replying(500, {})
    for number in range(60):
        await walk.add(f"{number}.jpg")
    walk.start()
    await walk.until(lambda counts: walk.gate.breaker.mood == "open" and counts[State.UPLOADING] == 0)
    before = len(walk.sploot.requests)
    walk.sploot.always = {"bundle": held(walk.sploot, release := asyncio.Event())}
    await walk.later(OPEN_S)
    await walk.sploot.until(lambda sploot: sploot.count("bundle") == 1)
    probe = walk.sploot.requests[before:]
    assert [request.route for request in probe] == ["checks", "bundle"]
    assert len(probe[0].json()["checksums"]) == len(parsed_files(probe[1])) == 1
    release.set()
    assert (await walk.until_through())[State.EMBEDDING] == 60


async def test_a_rate_limit_holds_all_and_costs_nobody_a_try(walk: Walk) -> None:
    walk.sploot.always["bundle"] = replying(429, {}, {"retry-after": "120"})
    for number in range(40):
        await walk.add(f"{number}.jpg")
    walk.start()
    await walk.until(lambda counts: walk.gate.state == "rate_limited" and counts[State.UPLOADING] == 0)
    walk.sploot.always.clear()
    assert {item.attempts for item in await walk.store.listing.items(limit=100)} == {0}
    await walk.later(121)
    assert (await walk.until_through())[State.EMBEDDING] == 40
    assert walk.sploot.count("upload") == 0


async def test_pausing_sends_nothing_that_has_not_left_yet(walk: Walk) -> None:
    release = asyncio.Event()
    walk.sploot.script("bundle", held(walk.sploot, release))
    for number in range(40):
        await walk.add(f"{number}.jpg")
    walk.start()
    await walk.sploot.until(lambda sploot: sploot.count("bundle") == 1)
    under_way = len(parsed_files(walk.sploot.requests[-1]))
    walk.gate.pause()
    release.set()
    counts = await walk.until(lambda counts: counts[State.UPLOADING] == 0)
    assert counts[State.EMBEDDING] == under_way
    walk.gate.resume()
    assert (await walk.until_through())[State.EMBEDDING] == 40


async def test_an_urgent_item_waits_for_no_bundle_of_others(walk: Walk) -> None:
    release = asyncio.Event()
    walk.sploot.always["bundle"] = held(walk.sploot, release)
    for number in range(60):
        await walk.add(f"{number}.jpg")
    walk.start()
    await walk.sploot.until(lambda sploot: sploot.count("bundle") == 1)
    await walk.add("urgent.jpg", priority=Priority.URGENT)
    await walk.sploot.until(lambda sploot: sploot.count("bundle") == 2)
    (urgent,) = parsed_files(walk.sploot.requests[-1])
    assert urgent[0] == jpeg("urgent.jpg")
    release.set()
    await walk.until_through()


async def test_a_new_tag_is_introduced_by_one_file_alone(walk: Walk) -> None:
    release = asyncio.Event()
    walk.sploot.script("bundle", held(walk.sploot, release))
    for number in range(30):
        await walk.add(f"{number}.jpg", tags=("cat",))
    walk.start()
    await walk.sploot.until(lambda sploot: sploot.count("bundle") == 1)
    lanes = await walk.shards()
    await walk.until(lambda counts: counts[State.UPLOADING] == lanes)
    assert len(parsed_files(walk.sploot.requests[-1])) == 1
    release.set()
    await walk.until_through()
    assert {tuple(asset.tags) for asset in walk.sploot.assets.values()} == {("cat",)}


async def test_a_lane_that_is_cancelled_anywhere_loses_nothing(walk: Walk) -> None:
    walk.sploot.embeds_at_once = False  # what had arrived already is found, and not ready yet
    item_id = await walk.add("a.jpg")
    item = await walk.cancelled_anywhere(item_id, every=3)
    assert item.state is State.EMBEDDING
    assert list(walk.sploot.stored.values()) == [1]


async def test_every_file_of_a_bundle_is_a_transfer_and_all_of_it_one_busy_line(walk: Walk) -> None:
    release = asyncio.Event()
    walk.sploot.script("checks", held(walk.sploot, release))
    for number in range(32):
        await walk.add(f"{number}.jpg", jpeg(number, 5_000), tags=())
    walk.start()
    lanes = await walk.shards()
    await walk.until(lambda counts: counts[State.UPLOADING] == lanes)
    release.set()
    await walk.until_through()
    assert walk.traffic.bytes == sum(item.version.size for item in await walk.store.listing.items(limit=100))
    assert (walk.traffic.items, len(walk.traffic.ended), walk.traffic.upload_s.count) == (32, 32, 32)
    assert walk.traffic.transfers == ()
    assert walk.traffic.load.hands("sending") <= walk.server.uploads_max
    calls = walk.server.calls
    assert calls["upload_bundle"].outcomes["ok"] == walk.sploot.count("bundle")
    assert calls["check_batch"].outcomes["ok"] == walk.sploot.count("checks")


async def test_a_limit_on_bandwidth_holds_for_bundles(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[int] = []

    async def recorded(self: Throttle, amount: int) -> None:
        passed.append(amount)

    monkeypatch.setattr(Throttle, "passed", recorded)
    walk.server.throttle = Throttle(timetable.parsed("1M"), walk.clock)
    for number in range(40):
        await walk.add(f"{number}.jpg", HEAD + os.urandom(60_000) + b"\xff\xd9")
    walk.start()
    await walk.until_through()
    assert sum(passed) == sum(item.version.size for item in await walk.store.listing.items(limit=100))
