"""Faults of the server and of the line: what is concluded from each, and that no content is ever stored twice."""

import asyncio
import contextlib
import email.utils
import errno
import os
import resource
import sqlite3
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from scripted import HTML, SIGNED_OUT, Act, Reply, Request, Scripted, dropping, replying, storing_then
from walkkit import Walk, jpeg, walking

from splootd.core.breaker import FAULTS_MAX, OPEN_S
from splootd.core.item import State
from splootd.core.retry import TRIES_MAX
from splootd.errors import StoreFailed
from splootd.store import database
from splootd.store.transaction import Committed, commit_all

FAILED = replying(500, {"error": "Upload failed"})
ERROR_PAGE = replying(502, b"<html>Bad gateway</html>", HTML)
UNKNOWN_OUTCOMES: dict[str, Act] = {
    "hangs up": dropping,
    "500": FAILED,
    "an error page": ERROR_PAGE,
    "truncated JSON": replying(201, {"success": True, "asset": {"id": "c1"}}, cut=20),
    "JSON that ends early": replying(201, b'{"success": true, "asset": {"id'),
    "HTML for 201": replying(201, b"<html></html>", HTML),
    "no id": replying(201, {"success": True, "asset": {}}),
    "an id that is no text": replying(201, {"asset": {"id": 7}}),
    "deep nesting": replying(201, b"[" * 100_000),
    "a list": replying(201, [1, 2]),
    "another checksum": replying(201, {"asset": {"id": "c1", "checksum": "0" * 64}}),
}


@pytest.fixture
async def walk(tmp_path: Path) -> AsyncIterator[Walk]:
    async with walking(tmp_path) as walk:
        yield walk


@pytest.mark.parametrize("answer", UNKNOWN_OUTCOMES.values(), ids=UNKNOWN_OUTCOMES.keys())
async def test_what_was_stored_although_the_answer_was_odd_is_found_by_hash(walk: Walk, answer: Act) -> None:
    walk.sploot.script("upload", storing_then(walk.sploot, answer))
    item = await walk.take(await walk.add("a.jpg"))
    assert (item.state, item.attempts, item.duplicate) == (State.READY, 0, False)
    assert list(walk.sploot.stored.values()) == [1]
    assert walk.sploot.count("upload") == 1


@pytest.mark.parametrize("answer", UNKNOWN_OUTCOMES.values(), ids=UNKNOWN_OUTCOMES.keys())
async def test_what_was_not_stored_is_asked_about_and_sent_again(walk: Walk, answer: Act) -> None:
    walk.sploot.script("upload", answer)
    item = await walk.take(await walk.add("a.jpg"))
    assert (item.state, item.attempts) == (State.PENDING, 1)
    assert item.next_at is not None
    await walk.later(100)
    item = await walk.take(item.id)
    assert item.state is State.EMBEDDING
    asked = [request.route for request in walk.sploot.requests]
    assert asked == ["limits", "check", "upload", "check", "check", "upload"]
    assert list(walk.sploot.stored.values()) == [1]


async def test_what_the_server_finished_after_the_line_broke_is_not_sent_again(walk: Walk) -> None:
    """The upload times out here, is still being worked on there, and shows up before the next try."""
    walk.sploot.script("upload", dropping)
    item = await walk.take(await walk.add("a.jpg"))
    walk.sploot.add(jpeg("a.jpg"), [])
    await walk.later(100)
    item = await walk.take(item.id)
    assert (item.state, item.duplicate) == (State.READY, False)
    assert walk.sploot.count("upload") == 1


async def test_a_sick_file_is_parked_after_its_tries_while_others_go_through(walk: Walk) -> None:
    """The twin of a softly removed picture: check says safe to upload, upload says 500 for ever."""
    walk.sploot.add(jpeg("twin"), [])
    walk.sploot.removed.add(next(iter(walk.sploot.assets)))
    sick = await walk.add("twin.jpg", jpeg("twin"))
    for number in range(TRIES_MAX[(await walk.store.item(sick)).priority]):
        assert (await walk.store.item(sick)).attempts == number
        item = await walk.take(sick)
        healthy = await walk.take(await walk.add(f"{number}.jpg"))
        assert healthy.state is State.EMBEDDING
        await walk.later(100)
    assert (item.state, item.fault) == (State.DEAD, "server_fault")
    assert "in each of 5 tries" in (item.reason or "")
    assert "removed there before" in (item.reason or "")
    assert walk.gate.state == "ok"


async def test_sick_files_among_healthy_ones_do_not_close_the_gate(walk: Walk) -> None:
    """A library from which its owner removed many pictures: the breaker is about servers."""
    for number in range(FAULTS_MAX - 1):
        walk.sploot.add(jpeg(number), [])
    walk.sploot.removed.update(walk.sploot.assets)
    for number in range(FAULTS_MAX - 1):
        item = await walk.take(await walk.add(f"{number}.jpg", jpeg(number)))
        assert item.attempts == 1
    assert walk.gate.state == "ok"
    assert (await walk.take(await walk.add("healthy.jpg"))).state is State.EMBEDDING


async def test_a_server_that_takes_no_upload_at_all_is_sick_though_it_answers(walk: Walk) -> None:
    walk.sploot.always["upload"] = FAILED
    items = [await walk.add(f"{number}.jpg") for number in range(FAULTS_MAX)]
    for item_id in items:
        await walk.take(item_id)
    assert walk.gate.breaker.mood == "open"
    assert {(await walk.store.item(item_id)).attempts for item_id in items} == {0}
    walk.sploot.always.clear()
    await walk.later(OPEN_S)
    assert (await walk.take(items[0])).state is State.EMBEDDING
    assert walk.gate.state == "ok"


async def test_a_sick_server_costs_no_item_a_try(walk: Walk) -> None:
    walk.sploot.always["check"] = replying(500, {"error": "Failed to perform preflight check"})
    items = [await walk.add(f"{number}.jpg") for number in range(5)]
    for item_id in items:
        assert walk.gate.breaker.mood == "closed"
        await walk.take(item_id)
    assert walk.gate.breaker.mood == "open"
    assert walk.gate.state == "unreachable"
    for item_id in items:
        item = await walk.store.item(item_id)
        assert (item.state, item.attempts, item.fault) == (State.PENDING, 0, "server_sick")


async def test_an_upload_and_a_check_that_fail_speak_against_the_server(walk: Walk) -> None:
    walk.sploot.script("check", walk.sploot.act, replying(500, {}))
    walk.sploot.script("upload", FAILED)
    item = await walk.take(await walk.add("a.jpg"))
    assert (item.state, item.attempts, item.fault) == (State.PENDING, 0, "server_sick")


async def test_the_tries_of_broken_lines_are_given_back_when_the_breaker_opens(walk: Walk) -> None:
    walk.sploot.always["upload"] = dropping
    items = [await walk.add(f"{number}.jpg") for number in range(5)]
    for item_id in items[:-1]:
        assert (await walk.take(item_id)).attempts == 1
    await walk.take(items[-1])
    assert walk.gate.breaker.mood == "open"
    assert {(await walk.store.item(item_id)).attempts for item_id in items} == {0}


async def test_one_file_whose_line_always_breaks_does_not_open_the_breaker(walk: Walk) -> None:
    walk.sploot.always["upload"] = dropping
    item = await walk.store.item(await walk.add("a.jpg"))
    while item.state is State.PENDING:
        item = await walk.take(item.id)
        await walk.later(100)
    assert (item.state, item.fault, item.attempts) == (State.DEAD, "broken_off", 5)
    assert walk.gate.breaker.mood == "closed"


async def test_half_open_lets_exactly_one_of_all_lanes_through(walk: Walk) -> None:
    walk.sploot.always["check"] = replying(500, {})
    for number in range(60):
        await walk.add(f"{number}.jpg")
    walk.start()
    await walk.until(lambda counts: walk.gate.breaker.mood == "open" and counts[State.UPLOADING] == 0)
    asked, release = walk.sploot.count("check"), asyncio.Event()

    async def slow(_: Request) -> Reply:
        await release.wait()
        return Reply(500, {})

    walk.sploot.always["check"] = slow
    await walk.later(OPEN_S)
    await walk.sploot.until(lambda sploot: sploot.count("check") == asked + 1)
    for _ in range(100):
        walk.gate.bell.ring()
        await asyncio.sleep(0)
    assert walk.sploot.count("check") == asked + 1
    assert walk.gate.breaker.mood == "half_open"
    walk.sploot.always.clear()
    release.set()
    await walk.until(lambda counts: walk.gate.breaker.mood == "open" and counts[State.UPLOADING] == 0)
    await walk.later(OPEN_S)
    assert (await walk.until_through())[State.EMBEDDING] == 60
    assert set(walk.sploot.stored.values()) == {1}


async def test_signed_out_waits_uncounted_and_frees_itself_after_login(walk: Walk) -> None:
    """Sploot says it with 500 to an upload, with 401 to a check, and with 404 and HTML elsewhere."""

    def guarded(status: int) -> Act:
        async def act(request: Request) -> Reply:
            if request.headers.get("authorization") == "Bearer good":
                return await walk.sploot.act(request)
            return Reply(status, b"<html>" if status == 404 else {"error": "Upload failed"}, {**HTML, **SIGNED_OUT})

        return act

    walk.sploot.always = {"limits": guarded(404), "check": guarded(401), "upload": guarded(500)}
    for number in range(20):
        await walk.add(f"{number}.jpg")
    walk.start()
    await walk.until(lambda counts: walk.gate.signed_out and counts[State.UPLOADING] == 0)
    assert walk.gate.state == "signed_out"
    for item in await walk.store.listing.items(limit=100):
        assert (item.state, item.attempts) == (State.PENDING, 0)
    assert walk.sploot.count("upload") == 0
    await walk.credentials.keep(token="good")
    assert (await walk.until_through())[State.EMBEDDING] == 20
    assert walk.gate.state == "ok"


async def test_an_upload_that_answers_500_to_a_token_that_has_ended_is_sent_again_with_the_next(tmp_path: Path) -> None:
    command = f"echo x >> {tmp_path}/runs; wc -l < {tmp_path}/runs"
    async with walking(tmp_path, token_command=command) as walk:
        walk.sploot.script("upload", replying(500, {"error": "Upload failed"}, SIGNED_OUT))
        item = await walk.take(await walk.add("a.jpg"))
        assert (item.state, item.attempts) == (State.EMBEDDING, 0)
        tokens = [request.headers["authorization"] for request in walk.sploot.requests]
        assert tokens == ["Bearer 1", "Bearer 1", "Bearer 1", "Bearer 2"]


def _until(seconds: float) -> str:
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


@pytest.mark.parametrize(
    ("answer", "patience_s"),
    [
        (replying(429, b"slow down", {"retry-after": "120", "content-type": "text/plain"}), 120),
        (replying(429, {}, {"retry-after": _until(120), "date": _until(0)}), 120),
        (replying(429, {}, {"retry-after": _until(-86_400 + 120), "date": _until(-86_400)}), 120),  # its clock is wrong
        (replying(429, {}, {"retry-after": "soon"}), 30),
        (replying(429, {}), 30),
        (replying(429, {}, {"retry-after": "99999999999999999999"}), 3600),
        (replying(503, {"error": "unavailable", "retryAfter": 45}), 45),
        (replying(503, {}, {"retry-after": "0"}), 1),
    ],
)
async def test_a_rate_limit_holds_the_whole_pool_and_costs_nobody_a_try(
    walk: Walk, answer: Act, patience_s: float
) -> None:
    walk.sploot.always["upload"] = answer
    for number in range(40):
        await walk.add(f"{number}.jpg")
    walk.start()
    await walk.until(lambda counts: walk.gate.state == "rate_limited" and counts[State.UPLOADING] == 0)
    walk.sploot.always.clear()
    held_s = (walk.gate.held_until or 0) - walk.clock.now()
    assert patience_s - 30 < held_s <= patience_s + 1
    asked = len([request for request in walk.sploot.requests if request.route in ("check", "upload")])
    for item in await walk.store.listing.items(limit=100):
        assert item.attempts == 0
    await walk.later(patience_s - 1 - (patience_s - held_s))
    for _ in range(50):
        await asyncio.sleep(0)
    assert len([request for request in walk.sploot.requests if request.route in ("check", "upload")]) == asked
    await walk.later(2)
    assert (await walk.until_through())[State.EMBEDDING] == 40


async def test_503_without_a_time_is_a_fault_and_no_rate_limit(walk: Walk) -> None:
    walk.sploot.script("upload", replying(503, {"error": "Database not configured"}))
    item = await walk.take(await walk.add("a.jpg"))
    assert (item.fault, item.attempts) == ("server_fault", 1)
    assert walk.gate.state == "ok"


async def test_a_refusal_is_buried_with_the_servers_own_words(walk: Walk) -> None:
    walk.sploot.script("upload", replying(400, {"success": False, "error": "Tags must be 50 characters or less"}))
    item = await walk.take(await walk.add("a.jpg"))
    assert (item.state, item.fault) == (State.DEAD, "refused")
    assert "Tags must be 50 characters or less" in (item.reason or "")
    asked = walk.sploot.count("limits")
    await walk.take(await walk.add("b.jpg"))
    assert walk.sploot.count("limits") == asked + 1  # perhaps they have changed


async def test_the_platforms_413_is_final_though_it_is_no_json(walk: Walk) -> None:
    walk.sploot.script("upload", replying(413, b"FUNCTION_PAYLOAD_TOO_LARGE", {"content-type": "text/plain"}))
    item = await walk.take(await walk.add("a.jpg"))
    assert (item.state, item.fault) == (State.DEAD, "refused")
    assert "too large" in (item.reason or "")


@pytest.mark.parametrize("status", [301, 307, 401, 403, 404, 405])
async def test_a_server_that_is_no_sploot_costs_no_item_a_try(walk: Walk, status: int) -> None:
    """A wrong address, a captive portal, a proxy: one answer must not bury ten thousand files."""
    for route in ("limits", "check", "upload"):
        walk.sploot.always[route] = replying(status, b"<html></html>", {**HTML, "location": "https://elsewhere.test/"})
    item = await walk.take(await walk.add("a.jpg"))
    assert (item.state, item.attempts) == (State.PENDING, 0)
    assert len(walk.sploot.requests) == 1  # redirects are not followed


async def test_nothing_listens_and_then_the_server_is_back(tmp_path: Path) -> None:
    async with walking(tmp_path) as walk:
        other = Scripted()
        socket = tmp_path / "s"
        socket.rename(tmp_path / "away")
        for number in range(20):
            await walk.add(f"{number}.jpg")
        walk.start()
        await walk.until(lambda counts: walk.gate.breaker.mood == "open" and counts[State.UPLOADING] == 0)
        assert {item.attempts for item in await walk.store.listing.items(limit=100)} == {0}
        async with other.serving(socket):
            walk.gate.server_up()
            assert (await walk.until_through())[State.EMBEDDING] == 20
            await walk.stop()
        (tmp_path / "away").rename(socket)
        assert sum(other.stored.values()) == 20


async def test_while_the_server_is_known_to_be_down_nothing_is_tried(walk: Walk) -> None:
    walk.gate.server_down("the library is starting")
    await walk.add("a.jpg")
    walk.start()
    for _ in range(50):
        await asyncio.sleep(0)
    assert walk.sploot.requests == []
    assert (walk.gate.state, walk.gate.detail) == ("unreachable", "the library is starting")
    walk.gate.server_up()
    assert (await walk.until_through())[State.EMBEDDING] == 1


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC])
async def test_running_out_of_something_here_opens_the_breaker_at_once(
    walk: Walk, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def connect(*_: object) -> None:
        raise OSError(number, "none left")

    with monkeypatch.context() as patch:
        patch.setattr("socket.socket.connect", connect)
        item = await walk.take(await walk.add("a.jpg"))
    assert (item.state, item.attempts, item.fault) == (State.PENDING, 0, "exhausted")
    assert walk.gate.breaker.mood == "open"
    await walk.later(OPEN_S)
    assert (await walk.take(item.id)).state is State.EMBEDDING


async def test_without_a_free_descriptor_everything_waits_and_then_goes_on(walk: Walk) -> None:
    await asyncio.gather(*[walk.take(await walk.add(f"{number}.jpg")) for number in range(4)])  # all is in use by now
    item_id = await walk.add("a.jpg")
    hoard: list[int] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(200, soft), hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                hoard.append(os.dup(0))
        item = await walk.take(item_id)
    finally:
        for each in hoard:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (item.state, item.attempts, item.fault) == (State.PENDING, 0, "exhausted")
    await walk.later(OPEN_S)
    assert (await walk.take(item_id)).state is State.EMBEDDING


async def test_a_probe_that_finds_no_work_leaves_its_place_to_another(walk: Walk) -> None:
    walk.sploot.script("check", *[replying(500, {})] * 5)
    items = [await walk.add(f"{number}.jpg") for number in range(5)]
    for item_id in items:
        await walk.take(item_id)
    await walk.later(OPEN_S)
    assert not await walk.uploader.run_once(None)  # nothing is urgent
    assert (await walk.take(items[0])).state is State.EMBEDDING


async def test_lanes_outlive_a_commit_of_which_nobody_knows(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    """They claim in the commit of a new file, where the disk may fail: it is there all the same, and is sent."""
    monkeypatch.setattr("splootd.work.uploader.STORE_TROUBLE_S", 0.0)
    busy, failed = threading.Event(), list[int]()

    def failing_once(connection: Any, ops: Any) -> Committed:
        committed = commit_all(connection, ops)
        if len(ops) > 1 and not failed:
            failed.append(len(ops))
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error
        return committed

    walk.start()
    for _ in range(20):
        await walk.store.database.touch()  # the lanes have looked, and sleep
    monkeypatch.setattr(database, "commit_all", failing_once)
    before = asyncio.ensure_future(walk.store.database.write(lambda _: busy.wait()))
    await asyncio.sleep(0)
    adding = asyncio.ensure_future(walk.add("a.jpg"))
    for _ in range(100):
        await asyncio.sleep(0)
    busy.set()
    await before
    with pytest.raises(StoreFailed):
        await adding
    assert failed == [2]  # the file and all the claims
    await walk.until_through()
    assert list(walk.sploot.stored.values()) == [1]
