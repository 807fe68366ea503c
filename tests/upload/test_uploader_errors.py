"""Errors of the server and the connection: what follows from each, and that no content is ever stored twice."""

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
from pipeline_fixtures import PipelineHarness, jpeg, open_pipeline
from scripted_sploot import (
    HTML,
    SIGNED_OUT,
    Handler,
    Reply,
    Request,
    ScriptedSploot,
    disconnect,
    lose_response,
    reply_with,
    store_then,
)

from splootd.core.backoff import ATTEMPTS_MAX
from splootd.core.circuit_breaker import FAILURE_THRESHOLD, RESET_TIMEOUT_S
from splootd.core.item import Priority, State
from splootd.errors import StoreFailed
from splootd.remote.self_test import tiny_gif, tiny_png
from splootd.store import database
from splootd.store.transaction import CommitResult, commit_all

FAILED = reply_with(500, {"error": "Upload failed"})
ERROR_PAGE = reply_with(502, b"<html>Bad gateway</html>", HTML)
UNKNOWN_OUTCOMES: dict[str, Handler] = {
    "disconnects": lose_response,
    "500": FAILED,
    "an error page": ERROR_PAGE,
    "truncated JSON": reply_with(201, {"success": True, "asset": {"id": "c1"}}, cut=20),
    "JSON that ends early": reply_with(201, b'{"success": true, "asset": {"id'),
    "HTML for 201": reply_with(201, b"<html></html>", HTML),
    "no id": reply_with(201, {"success": True, "asset": {}}),
    "an id that is a number": reply_with(201, {"asset": {"id": 7}}),
    "deep nesting": reply_with(201, b"[" * 100_000),
    "a list": reply_with(201, [1, 2]),
    "another checksum": reply_with(201, {"asset": {"id": "c1", "checksum": "0" * 64}}),
}


def refuse(sploot: ScriptedSploot, part: bytes, refusal: Handler) -> Handler:
    """Answer uploads that contain `part` by `refusal`, and handle the others."""

    async def act(request: Request) -> Reply:
        return await (refusal if part in request.body.lower() else sploot.act)(request)

    return act


@pytest.fixture
async def pipeline(tmp_path: Path) -> AsyncIterator[PipelineHarness]:
    async with open_pipeline(tmp_path) as pipeline:
        yield pipeline


@pytest.mark.parametrize("response", UNKNOWN_OUTCOMES.values(), ids=UNKNOWN_OUTCOMES.keys())
async def test_a_file_stored_despite_an_invalid_response_is_found_by_hash(
    pipeline: PipelineHarness, response: Handler
) -> None:
    pipeline.sploot.script("upload", store_then(pipeline.sploot, response))
    item = await pipeline.take(await pipeline.add("a.jpg"))
    assert (item.state, item.attempts, item.duplicate) == (State.READY, 0, False)
    assert list(pipeline.sploot.stored.values()) == [1]
    assert pipeline.sploot.count("upload") == 1


@pytest.mark.parametrize("response", UNKNOWN_OUTCOMES.values(), ids=UNKNOWN_OUTCOMES.keys())
async def test_a_file_that_was_not_stored_is_looked_up_and_sent_again(
    pipeline: PipelineHarness, response: Handler
) -> None:
    pipeline.sploot.script("upload", response)
    item = await pipeline.take(await pipeline.add("a.jpg"))
    assert (item.state, item.attempts) == (State.PENDING, 1)
    assert item.next_at is not None
    await pipeline.later(100)
    item = await pipeline.take(item.id)
    assert item.state is State.EMBEDDING
    requests = [request.route for request in pipeline.sploot.requests]
    assert requests == ["limits", "upload", "check", "check", "upload"]
    assert list(pipeline.sploot.stored.values()) == [1]


async def test_an_upload_on_a_stale_connection_is_sent_again_immediately_and_not_counted(
    pipeline: PipelineHarness,
) -> None:
    """The server closed the idle connection while the upload was on its way to it."""
    pipeline.sploot.script("upload", disconnect)
    item = await pipeline.take(await pipeline.add("a.jpg"))
    assert (item.state, item.attempts) == (State.EMBEDDING, 0)
    assert [request.route for request in pipeline.sploot.requests] == ["limits", "upload", "check", "upload"]
    assert list(pipeline.sploot.stored.values()) == [1]
    assert await pipeline.errors(item.id) == []


async def test_an_upload_completed_after_the_connection_was_lost_is_not_sent_again(pipeline: PipelineHarness) -> None:
    """The upload times out for the client, the server completes it, and the next attempt finds it."""
    pipeline.sploot.script("upload", lose_response)
    item = await pipeline.take(await pipeline.add("a.jpg"))
    pipeline.sploot.add(jpeg("a.jpg"), [])
    await pipeline.later(100)
    item = await pipeline.take(item.id)
    assert (item.state, item.duplicate) == (State.READY, False)
    assert pipeline.sploot.count("upload") == 1


async def test_a_failing_file_fails_after_its_attempts_while_others_are_uploaded(pipeline: PipelineHarness) -> None:
    """A copy of a soft-deleted image: Sploot's check permits the upload, and the upload fails with 500 for ever."""
    pipeline.sploot.add(jpeg("twin"), [])
    pipeline.sploot.removed.add(next(iter(pipeline.sploot.assets)))
    failing = await pipeline.add("twin.jpg", jpeg("twin"))
    for number in range(ATTEMPTS_MAX[(await pipeline.store.item(failing)).priority]):
        assert (await pipeline.store.item(failing)).attempts == number
        item = await pipeline.take(failing)
        healthy = await pipeline.take(await pipeline.add(f"{number}.jpg"))
        assert healthy.state is State.EMBEDDING
        await pipeline.later(100)
    assert (item.state, item.error_code) == (State.FAILED, "server_error")
    assert "in each of 5 attempts" in (item.error_message or "")
    assert "removed from the library before" in (item.error_message or "")
    assert pipeline.admission.state == "ok"


async def test_failing_files_among_others_do_not_open_the_breaker(pipeline: PipelineHarness) -> None:
    """A library with many removed images: the breaker is about the server."""
    for number in range(FAILURE_THRESHOLD - 1):
        pipeline.sploot.add(jpeg(number), [])
    pipeline.sploot.removed.update(pipeline.sploot.assets)
    for number in range(FAILURE_THRESHOLD - 1):
        item = await pipeline.take(await pipeline.add(f"{number}.jpg", jpeg(number)))
        assert item.attempts == 1
    assert pipeline.admission.state == "ok"
    assert (await pipeline.take(await pipeline.add("healthy.jpg"))).state is State.EMBEDDING


async def test_a_server_that_fails_every_upload_opens_the_breaker_although_it_responds(
    pipeline: PipelineHarness,
) -> None:
    pipeline.sploot.always["upload"] = FAILED
    items = [await pipeline.add(f"{number}.jpg") for number in range(FAILURE_THRESHOLD)]
    for item_id in items:
        await pipeline.take(item_id)
    assert pipeline.admission.breaker.state == "open"
    assert {(await pipeline.store.item(item_id)).attempts for item_id in items} == {0}
    assert pipeline.admission.state == "degraded"
    await pipeline.take(items[0])  # the self-test fails too
    pipeline.sploot.always.clear()
    await pipeline.later(RESET_TIMEOUT_S)
    await pipeline.take(items[0])  # the self-test passes
    assert pipeline.admission.state == "ok"
    assert not pipeline.sploot.assets
    assert (await pipeline.take(items[0])).state is State.EMBEDDING


async def test_thirty_removed_images_at_the_head_of_the_queue_stop_no_other_file(pipeline: PipelineHarness) -> None:
    """Sploot fails with 500 on each image that its owner has soft-deleted, for ever."""
    removed = [jpeg(f"removed {number}") for number in range(30)]
    for content in removed:
        pipeline.sploot.add(content, [])
    pipeline.sploot.removed.update(pipeline.sploot.assets)
    failing = [await pipeline.add(f"removed-{n}.jpg", content) for n, content in enumerate(removed)]
    for number in range(60):
        await pipeline.add(f"good-{number}.jpg")
    pipeline.start()
    await pipeline.until(lambda counts: counts[State.EMBEDDING] == 60)
    while (await pipeline.store.read_queries.counts()).by_state[State.FAILED] < len(failing):
        await pipeline.later(100)
        await pipeline.store.queue.next_due()
    assert len(pipeline.sploot.assets) == 30 + 60, "each image of the self-test was deleted again"
    assert pipeline.admission.state == "ok"


@pytest.mark.parametrize("body", [{"message": "Forbidden"}, b"<html>Request blocked</html>"])
async def test_a_file_that_a_firewall_refuses_stops_no_other_file(pipeline: PipelineHarness, body: object) -> None:
    async def firewall(request: Request) -> Reply:
        return Reply(403, body) if b"<script>" in request.body else await pipeline.sploot.act(request)

    pipeline.sploot.always["upload"] = firewall
    refused = await pipeline.take(await pipeline.add("refused.jpg", jpeg("<script>")))
    assert (refused.state, refused.attempts, refused.error_code) == (State.PENDING, 1, "invalid_response")
    assert "something between here and the server refuses refused.jpg (403" in (refused.error_message or "")
    assert pipeline.admission.state == "ok"
    assert (await pipeline.take(await pipeline.add("good.jpg"))).state is State.EMBEDDING


async def test_a_403_to_the_lookup_as_well_means_signed_out(pipeline: PipelineHarness) -> None:
    forbidden = reply_with(403, {"message": "Forbidden"})
    pipeline.sploot.script("check", forbidden)
    pipeline.sploot.script("upload", forbidden)
    item = await pipeline.take(await pipeline.add("a.jpg"))
    assert (item.state, item.attempts, item.error_code) == (State.PENDING, 0, "unauthenticated")
    assert pipeline.admission.state == "signed_out"


async def test_a_firewall_that_refuses_everything_is_called_that_and_costs_no_attempt(
    pipeline: PipelineHarness,
) -> None:
    for route in ("health", "limits", "check", "upload", "assets", "statuses"):
        pipeline.sploot.always[route] = reply_with(403, b"<html>Access denied</html>", HTML)
    items = [await pipeline.add(f"{number}.jpg") for number in range(FAILURE_THRESHOLD)]
    for item_id in items:
        item = await pipeline.take(item_id)
        assert (item.state, item.attempts) == (State.PENDING, 0)
    assert pipeline.admission.state == "unreachable"
    assert pipeline.admission.detail == "the server, or a firewall in front of it, refuses the request (403)"
    assert not pipeline.admission.is_signed_out
    pipeline.sploot.always.clear()
    await pipeline.later(RESET_TIMEOUT_S)
    assert (await pipeline.take(items[0])).state is State.EMBEDDING


async def test_a_firewall_that_refuses_every_upload_with_a_page_is_not_taken_for_a_sign_out(
    pipeline: PipelineHarness,
) -> None:
    pipeline.sploot.always["upload"] = reply_with(403, b"<html>Access denied</html>", HTML)
    items = [await pipeline.add(f"{number}.jpg") for number in range(FAILURE_THRESHOLD)]
    for item_id in (*items, items[0]):  # the last one runs the self-test
        await pipeline.take(item_id)
    assert pipeline.sploot.count("upload") == FAILURE_THRESHOLD + 2
    assert pipeline.admission.state == "degraded"
    assert pipeline.admission.detail == (
        "uploads fail: something between here and the server refuses self-test.gif (403)"
    )
    assert {(await pipeline.store.item(item_id)).attempts for item_id in items} == {0}


async def test_a_failing_server_costs_no_item_an_attempt(pipeline: PipelineHarness) -> None:
    pipeline.sploot.always["check"] = reply_with(500, {"error": "Failed to perform preflight check"})
    pipeline.sploot.always["upload"] = FAILED
    items = [await pipeline.add(f"{number}.jpg") for number in range(5)]
    for item_id in items:
        assert pipeline.admission.breaker.state == "closed"
        await pipeline.take(item_id)
    assert pipeline.admission.breaker.state == "open"
    assert pipeline.admission.state == "unreachable"
    for item_id in items:
        item = await pipeline.store.item(item_id)
        assert (item.state, item.attempts, item.error_code) == (State.PENDING, 0, "server_unavailable")


async def test_a_failed_upload_and_a_failed_check_are_the_servers_fault(pipeline: PipelineHarness) -> None:
    pipeline.sploot.script("check", reply_with(500, {}))
    pipeline.sploot.script("upload", FAILED)
    item = await pipeline.take(await pipeline.add("a.jpg"))
    assert (item.state, item.attempts, item.error_code) == (State.PENDING, 0, "server_unavailable")


async def test_attempts_on_lost_connections_are_refunded_when_the_breaker_opens(pipeline: PipelineHarness) -> None:
    pipeline.sploot.always["upload"] = disconnect
    items = [await pipeline.add(f"{number}.jpg") for number in range(5)]
    for item_id in items[:-1]:
        assert (await pipeline.take(item_id)).attempts == 1
    await pipeline.take(items[-1])
    assert pipeline.admission.breaker.state == "open"
    assert {(await pipeline.store.item(item_id)).attempts for item_id in items} == {0}


async def test_five_files_that_break_the_connection_at_the_head_of_the_queue_stop_no_other_file(
    pipeline: PipelineHarness,
) -> None:
    """The image of the self-test is accepted, so it is the contents that fail: the breaker closes without a delay."""
    pipeline.sploot.always["upload"] = refuse(pipeline.sploot, b"poison", disconnect)
    poison = [await pipeline.add(f"poison-{number}.jpg", jpeg(f"poison {number}")) for number in range(5)]
    for item_id in poison:
        await pipeline.take(item_id)
    assert (pipeline.admission.breaker.state, pipeline.admission.state) == ("open", "degraded")
    assert {(await pipeline.store.item(item_id)).attempts for item_id in poison} == {0}
    good = await pipeline.add("good.jpg", priority=Priority.URGENT)  # claimed before the others of its shard
    await pipeline.take(good)  # the self-test
    assert pipeline.admission.state == "ok"
    assert (await pipeline.take(good)).state is State.EMBEDDING
    for _ in range(5):
        await pipeline.later(100)
        for item_id in poison:
            await pipeline.take(item_id)
    assert {(await pipeline.store.item(item_id)).error_code for item_id in poison} == {"connection_lost"}
    assert {(await pipeline.store.item(item_id)).state for item_id in poison} == {State.FAILED}
    assert pipeline.admission.state == "ok"


@pytest.mark.parametrize(
    ("part", "refusal"),
    [
        (b"content-type: image/png", reply_with(403, b"<html>Request blocked</html>", HTML)),
        (b"content-type: image/gif", reply_with(400, {"success": False, "error": "File type not supported"})),
        (b"content-type: image/gif", reply_with(415, b"<html>Unsupported</html>", HTML)),
        (b'.gif"', reply_with(400, {"error": "Bad file name"})),
        (b'.gif"', reply_with(403, b"<html>Request blocked</html>", HTML)),
        (b'.gif"', disconnect),
    ],
    ids=[
        "type, by a firewall",
        "type",
        "type, as a page",
        "name",
        "name, by a firewall",
        "name, by breaking the connection",
    ],
)
async def test_a_content_type_or_a_file_name_that_a_server_refuses_stops_no_other_file(
    pipeline: PipelineHarness, part: bytes, refusal: Handler
) -> None:
    pipeline.sploot.always["upload"] = refuse(pipeline.sploot, part, refusal)
    for number in range(2 * FAILURE_THRESHOLD):
        content, kind = (tiny_png(b"%048d" % number), "png") if b"png" in part else (tiny_gif(b"%06d" % number), "gif")
        await pipeline.add(f"bad-{number}.{kind}", content)
    for number in range(FAILURE_THRESHOLD):
        await pipeline.add(f"good-{number}.jpg")
    pipeline.start()
    states: set[str] = set()
    await pipeline.until(lambda counts: counts[State.EMBEDDING] == FAILURE_THRESHOLD)
    while (await pipeline.store.read_queries.counts()).by_state[State.FAILED] < 2 * FAILURE_THRESHOLD:
        await pipeline.later(100)
        await pipeline.store.queue.next_due()
        states.add(pipeline.admission.state)
    assert pipeline.admission.state == "ok"
    assert "signed_out" not in states


async def test_one_file_that_always_loses_its_connection_does_not_open_the_breaker(pipeline: PipelineHarness) -> None:
    pipeline.sploot.always["upload"] = disconnect
    item = await pipeline.store.item(await pipeline.add("a.jpg"))
    while item.state is State.PENDING:
        item = await pipeline.take(item.id)
        await pipeline.later(100)
    assert (item.state, item.error_code, item.attempts) == (State.FAILED, "connection_lost", 5)
    assert pipeline.admission.breaker.state == "closed"


async def test_half_open_admits_exactly_one_of_all_workers(pipeline: PipelineHarness) -> None:
    pipeline.sploot.always["check"] = pipeline.sploot.always["upload"] = reply_with(500, {})
    for number in range(60):
        await pipeline.add(f"{number}.jpg")
    pipeline.start()
    await pipeline.until(lambda counts: pipeline.admission.breaker.state == "open" and counts[State.UPLOADING] == 0)
    checks, release = pipeline.sploot.count("check"), asyncio.Event()

    async def slow(_: Request) -> Reply:
        await release.wait()
        return Reply(500, {})

    pipeline.sploot.always["check"] = slow
    await pipeline.later(RESET_TIMEOUT_S)
    await pipeline.sploot.until(lambda sploot: sploot.count("check") == checks + 1)
    for _ in range(100):
        pipeline.admission.changed.notify()
        await asyncio.sleep(0)
    assert pipeline.sploot.count("check") == checks + 1
    assert pipeline.admission.breaker.state == "half_open"
    pipeline.sploot.always.clear()
    release.set()
    await pipeline.until(lambda counts: pipeline.admission.breaker.state == "open" and counts[State.UPLOADING] == 0)
    await pipeline.later(RESET_TIMEOUT_S)
    assert (await pipeline.until_through())[State.EMBEDDING] == 60
    assert set(pipeline.sploot.stored.values()) == {1}


async def test_signed_out_waits_uncounted_and_resumes_after_login(pipeline: PipelineHarness) -> None:
    """Sploot responds with 500 to an upload, with 401 to a check, and with 404 and HTML to other requests."""

    def guarded(status: int) -> Handler:
        async def act(request: Request) -> Reply:
            if request.headers.get("authorization") == "Bearer good":
                return await pipeline.sploot.act(request)
            return Reply(status, b"<html>" if status == 404 else {"error": "Upload failed"}, {**HTML, **SIGNED_OUT})

        return act

    pipeline.sploot.always = {"limits": guarded(404), "check": guarded(401), "upload": guarded(500)}
    for number in range(20):
        await pipeline.add(f"{number}.jpg")
    pipeline.start()
    await pipeline.until(lambda counts: pipeline.admission.is_signed_out and counts[State.UPLOADING] == 0)
    assert pipeline.admission.state == "signed_out"
    for item in await pipeline.store.read_queries.items(limit=100):
        assert (item.state, item.attempts) == (State.PENDING, 0)
    assert pipeline.sploot.count("upload") == 0
    await pipeline.credentials.save(token="good")
    assert (await pipeline.until_through())[State.EMBEDDING] == 20
    assert pipeline.admission.state == "ok"


async def test_an_upload_rejected_for_an_expired_token_is_sent_again_with_the_next(tmp_path: Path) -> None:
    command = f"echo x >> {tmp_path}/runs; wc -l < {tmp_path}/runs"
    async with open_pipeline(tmp_path, token_command=command) as pipeline:
        pipeline.sploot.script("upload", reply_with(500, {"error": "Upload failed"}, SIGNED_OUT))
        item = await pipeline.take(await pipeline.add("a.jpg"))
        assert (item.state, item.attempts) == (State.EMBEDDING, 0)
        tokens = [request.headers["authorization"] for request in pipeline.sploot.requests]
        assert tokens == ["Bearer 1", "Bearer 1", "Bearer 2"]


def _until(seconds: float) -> str:
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


@pytest.mark.parametrize(
    ("response", "retry_after_s"),
    [
        (reply_with(429, b"slow down", {"retry-after": "120", "content-type": "text/plain"}), 120),
        (reply_with(429, {}, {"retry-after": _until(120), "date": _until(0)}), 120),
        (
            reply_with(429, {}, {"retry-after": _until(-86_400 + 120), "date": _until(-86_400)}),
            120,
        ),  # the server's clock is wrong
        (reply_with(429, {}, {"retry-after": "soon"}), 30),
        (reply_with(429, {}), 30),
        (reply_with(429, {}, {"retry-after": "99999999999999999999"}), 3600),
        (reply_with(503, {"error": "unavailable", "retryAfter": 45}), 45),
        (reply_with(503, {}, {"retry-after": "0"}), 1),
    ],
)
async def test_a_rate_limit_holds_all_workers_and_costs_no_item_an_attempt(
    pipeline: PipelineHarness, response: Handler, retry_after_s: float
) -> None:
    pipeline.sploot.always["upload"] = response
    for number in range(40):
        await pipeline.add(f"{number}.jpg")
    pipeline.start()
    await pipeline.until(lambda counts: pipeline.admission.state == "rate_limited" and counts[State.UPLOADING] == 0)
    pipeline.sploot.always.clear()
    held_s = (pipeline.admission.retry_after_until or 0) - pipeline.clock.now()
    assert retry_after_s - 30 < held_s <= retry_after_s + 1
    requests = len([request for request in pipeline.sploot.requests if request.route in ("check", "upload")])
    for item in await pipeline.store.read_queries.items(limit=100):
        assert item.attempts == 0
    await pipeline.later(retry_after_s - 1 - (retry_after_s - held_s))
    for _ in range(50):
        await asyncio.sleep(0)
    assert len([request for request in pipeline.sploot.requests if request.route in ("check", "upload")]) == requests
    await pipeline.later(2)
    assert (await pipeline.until_through())[State.EMBEDDING] == 40


async def test_503_without_retry_after_is_an_error_and_no_rate_limit(pipeline: PipelineHarness) -> None:
    pipeline.sploot.script("upload", reply_with(503, {"error": "Database not configured"}))
    item = await pipeline.take(await pipeline.add("a.jpg"))
    assert (item.error_code, item.attempts) == ("server_error", 1)
    assert pipeline.admission.state == "ok"


async def test_a_rejected_file_fails_with_the_servers_message(pipeline: PipelineHarness) -> None:
    pipeline.sploot.script("upload", reply_with(400, {"success": False, "error": "File appears to be empty"}))
    item = await pipeline.take(await pipeline.add("a.jpg"))
    assert (item.state, item.error_code) == (State.FAILED, "rejected")
    assert "File appears to be empty" in (item.error_message or "")
    requests = pipeline.sploot.count("limits")
    await pipeline.take(await pipeline.add("b.jpg"))
    assert pipeline.sploot.count("limits") == requests + 1  # the limits may have changed


async def test_a_rejection_of_the_tags_fails_with_an_error_code_of_its_own(pipeline: PipelineHarness) -> None:
    pipeline.sploot.script("upload", reply_with(400, {"success": False, "error": "Tags must be 50 characters or less"}))
    item = await pipeline.take(await pipeline.add("a.jpg", tags=("cat",)))
    assert (item.state, item.error_code) == (State.FAILED, "tags_rejected")
    assert "Tags must be 50 characters or less" in (item.error_message or "")


async def test_a_413_without_json_is_final(pipeline: PipelineHarness) -> None:
    pipeline.sploot.script("upload", reply_with(413, b"FUNCTION_PAYLOAD_TOO_LARGE", {"content-type": "text/plain"}))
    item = await pipeline.take(await pipeline.add("a.jpg"))
    assert (item.state, item.error_code) == (State.FAILED, "rejected")
    assert "too large" in (item.error_message or "")


@pytest.mark.parametrize("status", [301, 307, 401, 403, 404, 405])
async def test_a_server_that_is_not_a_sploot_costs_no_item_an_attempt(pipeline: PipelineHarness, status: int) -> None:
    """A wrong URL, a captive portal, a proxy: one such response must not fail ten thousand files."""
    for route in ("limits", "check", "upload"):
        pipeline.sploot.always[route] = reply_with(
            status, b"<html></html>", {**HTML, "location": "https://elsewhere.test/"}
        )
    item = await pipeline.take(await pipeline.add("a.jpg"))
    assert (item.state, item.attempts) == (State.PENDING, 0)
    assert len(pipeline.sploot.requests) == 1  # redirects are not followed


async def test_uploads_resume_when_an_unreachable_server_is_back(tmp_path: Path) -> None:
    async with open_pipeline(tmp_path) as pipeline:
        other = ScriptedSploot()
        socket = tmp_path / "s"
        socket.rename(tmp_path / "away")
        for number in range(20):
            await pipeline.add(f"{number}.jpg")
        pipeline.start()
        await pipeline.until(lambda counts: pipeline.admission.breaker.state == "open" and counts[State.UPLOADING] == 0)
        assert {item.attempts for item in await pipeline.store.read_queries.items(limit=100)} == {0}
        async with other.serve(socket):
            pipeline.admission.server_up()
            assert (await pipeline.until_through())[State.EMBEDDING] == 20
            await pipeline.stop()
        (tmp_path / "away").rename(socket)
        assert sum(other.stored.values()) == 20


async def test_while_the_local_server_is_down_nothing_is_sent(pipeline: PipelineHarness) -> None:
    pipeline.admission.server_starting()
    await pipeline.add("a.jpg")
    pipeline.start()
    for _ in range(50):
        await asyncio.sleep(0)
    assert pipeline.sploot.requests == []
    assert (pipeline.admission.state, pipeline.admission.detail) == ("starting", "the local server is starting")
    pipeline.admission.server_up()
    assert (await pipeline.until_through())[State.EMBEDDING] == 1


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC])
async def test_an_exhausted_resource_trips_the_breaker(
    pipeline: PipelineHarness, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def connect(*_: object) -> None:
        raise OSError(number, "none left")

    with monkeypatch.context() as patch:
        patch.setattr("socket.socket.connect", connect)
        item = await pipeline.take(await pipeline.add("a.jpg"))
    assert (item.state, item.attempts, item.error_code) == (State.PENDING, 0, "resource_exhausted")
    assert pipeline.admission.breaker.state == "open"
    await pipeline.later(RESET_TIMEOUT_S)
    assert (await pipeline.take(item.id)).state is State.EMBEDDING


async def test_without_a_free_descriptor_uploads_wait_and_resume(pipeline: PipelineHarness) -> None:
    await asyncio.gather(
        *[pipeline.take(await pipeline.add(f"{number}.jpg")) for number in range(4)]
    )  # connections and threads exist now
    item_id = await pipeline.add("a.jpg")
    descriptors: list[int] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(200, soft), hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                descriptors.append(os.dup(0))
        item = await pipeline.take(item_id)
    finally:
        for each in descriptors:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (item.state, item.attempts, item.error_code) == (State.PENDING, 0, "resource_exhausted")
    await pipeline.later(RESET_TIMEOUT_S)
    assert (await pipeline.take(item_id)).state is State.EMBEDDING


async def test_a_probe_without_work_is_released_for_another_worker(pipeline: PipelineHarness) -> None:
    pipeline.sploot.script("check", *[reply_with(500, {})] * 5)
    items = [await pipeline.add(f"{number}.jpg") for number in range(5)]
    for item_id in items:
        await pipeline.take(item_id)
    await pipeline.later(RESET_TIMEOUT_S)
    assert not await pipeline.uploader.run_once(None)  # there is no urgent item
    assert (await pipeline.take(items[0])).state is State.EMBEDDING


async def test_workers_survive_a_commit_with_an_unknown_outcome(
    pipeline: PipelineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They claim in the commit that adds a file. The disk fails there; the file is stored all the same and uploaded."""
    monkeypatch.setattr("splootd.upload.uploader.STORE_RETRY_DELAY_S", 0.0)
    busy, failed = threading.Event(), list[int]()

    def failing_once(connection: Any, ops: Any) -> CommitResult:
        committed = commit_all(connection, ops)
        if len(ops) > 1 and not failed:
            failed.append(len(ops))
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error
        return committed

    pipeline.start()
    for _ in range(20):
        await pipeline.store.database.ping()  # until the workers have found nothing and sleep
    monkeypatch.setattr(database, "commit_all", failing_once)
    before = asyncio.ensure_future(pipeline.store.database.write(lambda _: busy.wait()))
    await asyncio.sleep(0)
    adding = asyncio.ensure_future(pipeline.add("a.jpg"))
    for _ in range(100):
        await asyncio.sleep(0)
    busy.set()
    await before
    with pytest.raises(StoreFailed):
        await adding
    assert failed == [2]  # the file and all claims
    await pipeline.until_through()
    assert list(pipeline.sploot.stored.values()) == [1]
