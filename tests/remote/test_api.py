"""The server as the client meets it, its oddities included: each hazard of its answers is a test."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import HTML, SIGNED_OUT, Reply, Request, Scripted, dropping, replying
from walkkit import HEAD, JumpClock, jpeg

from splootd.credentials import Credentials
from splootd.errors import (
    BadAnswer,
    BrokenOff,
    ItemError,
    RateLimited,
    Refused,
    ServerError,
    ServerFault,
    SignedOut,
    Unreachable,
)
from splootd.remote import api
from splootd.remote.answers import EmbeddingReport, EmbeddingStatus, Found, Limits, Match, parsed
from splootd.remote.api import Server
from splootd.work.files import HELD_BYTES_MAX, MemoryBudget, look, read

LIMITS = Limits(100_000_000, frozenset({"image/jpeg"}))
SHA = hashlib.sha256(b"").digest()


class Line:
    """A client and a server, over TCP."""

    def __init__(self, folder: Path, sploot: Scripted, url: str, **credentials: Any) -> None:
        self.folder = folder
        self.sploot = sploot
        self.credentials = Credentials(folder / "token", JumpClock(), **credentials)
        self.server = Server(url, credentials=self.credentials, connections=4)

    async def upload(self, content: bytes, *, tags: tuple[str, ...] = (), name: str = "a.jpg") -> Any:
        path = os.fsencode(self.folder / name)
        (self.folder / name).write_bytes(content)
        async with read(path, look(path), budget=MemoryBudget(100_000_000), limits=LIMITS) as read_content:
            return await self.server.upload(read_content, tags=tags)


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    sploot = Scripted()
    async with sploot.serving() as url:
        line = Line(tmp_path, sploot, url, token="good")
        yield line
        await line.server.close()


async def test_limits_are_the_servers_own(line: Line) -> None:
    limits = await line.server.limits()
    assert limits.bytes_max == 10 * 1024 * 1024
    assert limits.types == {"image/jpeg", "image/png", "image/webp", "image/gif"}
    assert limits.tells_embedding_states
    line.sploot.features = None
    assert not (await line.server.limits()).tells_embedding_states


async def test_a_check_is_by_lower_case_hex(line: Line) -> None:
    """Sploot accepts upper case and then does not find it."""
    asset = line.sploot.add(b"there", [])
    assert await line.server.check(hashlib.sha256(b"there").digest()) == Found(asset.id, embedded=True)
    assert await line.server.check(SHA) is None
    assert [request.json()["checksum"] for request in line.sploot.requests] == [asset.sha256, SHA.hex()]


@pytest.mark.parametrize("size", [100, 256 * 1024, 300_000, HELD_BYTES_MAX + 1])
async def test_an_upload_is_a_form_that_sploots_parser_accepts(line: Line, size: int) -> None:
    content = HEAD + os.urandom(size - len(HEAD))
    stored = await line.upload(content, tags=("cat", "größe", 'a"b'), name='ü "x".jpg')
    assert not stored.duplicate
    (asset,) = line.sploot.assets.values()
    assert (asset.sha256, asset.tags) == (hashlib.sha256(content).hexdigest(), ["cat", "größe", 'a"b'])
    (request,) = line.sploot.requests
    assert int(request.headers["content-length"]) == len(request.body)
    assert "transfer-encoding" not in request.headers
    assert f'filename="{asset.sha256[:12]}.jpg"'.encode() in request.body
    assert b"Content-Type: image/jpeg\r\n\r\n" in request.body


async def test_without_tags_there_is_no_tags_part(line: Line) -> None:
    await line.upload(jpeg("a"))
    assert b'name="tags"' not in line.sploot.requests[0].body


async def test_progress_is_told_as_it_is_made(line: Line) -> None:
    told: list[int] = []
    path = os.fsencode(line.folder / "a.jpg")
    (line.folder / "a.jpg").write_bytes(HEAD + bytes(2_000_000))
    async with read(path, look(path), budget=MemoryBudget(100_000_000), limits=LIMITS) as content:
        await line.server.upload(content, sent=told.append)
        assert told == sorted(told)
        assert len(told) > 5
        assert told[-1] == content.size


async def test_a_duplicate_is_success(line: Line) -> None:
    first = await line.upload(jpeg("a"))
    second = await line.upload(jpeg("a"), name="b.jpg")
    assert (second.asset_id, second.duplicate) == (first.asset_id, True)


async def test_embeddings_are_never_asked_for_in_the_upload_itself(line: Line) -> None:
    await line.server.limits()
    await line.upload(jpeg("a"))
    assert all("sync_embeddings" not in request.target for request in line.sploot.requests)


async def test_the_token_is_a_bearer_with_a_capital(line: Line) -> None:
    """Sploot compares the scheme as it stands."""
    await line.server.health()
    assert line.sploot.requests[0].headers["authorization"] == "Bearer good"


async def test_without_a_token_none_is_sent(tmp_path: Path) -> None:
    sploot = Scripted()
    async with sploot.serving() as url:
        line = Line(tmp_path, sploot, url)
        await line.server.health()
        await line.server.close()
    assert "authorization" not in sploot.requests[0].headers


async def test_a_browsers_headers_are_not_sent(line: Line) -> None:
    """Clerk answers those with a redirect to its own host."""
    await line.server.health()
    headers = line.sploot.requests[0].headers
    assert headers["accept"] == "application/json"
    assert "sec-fetch-dest" not in headers
    assert "cookie" not in headers


async def test_a_token_that_cannot_be_sent_is_none(tmp_path: Path) -> None:
    sploot = Scripted()
    async with sploot.serving() as url:
        for token in ("good\nx-evil: 1", "größe"):
            line = Line(tmp_path, sploot, url, token=token)
            with pytest.raises(SignedOut):
                await line.server.health()
            await line.server.close()
    assert sploot.requests == []


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (500, {"error": "Upload failed"}, SIGNED_OUT),
        (404, b"<html>", {**HTML, **SIGNED_OUT}),
        (401, {"error": "Unauthorized"}, SIGNED_OUT),
        (200, {}, {"x-clerk-auth-status": "handshake"}),
        (307, b"", {"x-clerk-auth-status": "handshake", "location": "https://clerk.test/v1/client/handshake"}),
        (401, b"", {"www-authenticate": "Bearer"}),
    ],
)
async def test_signed_out_is_recognised_whatever_the_status(
    line: Line, status: int, body: Any, headers: dict[str, str]
) -> None:
    for route, ask in asking(line).items():
        line.sploot.script(route, replying(status, body, headers))
        with pytest.raises(SignedOut, match="does not know who you are"):
            await ask


def asking(line: Line) -> dict[str, Any]:
    return {
        "limits": line.server.limits(),
        "check": line.server.check(SHA),
        "upload": line.upload(jpeg("a")),
        "statuses": line.server.statuses(["c1"]),
        "asset": line.server.embedding("c1"),
        "search": line.server.search("cat", 5),
    }


async def test_a_401_of_sploot_without_clerks_word_is_a_fault_and_no_sign_out(line: Line) -> None:
    """GET /api/upload makes a 401 of every fault."""
    line.sploot.script("limits", replying(401, {"error": "Unauthorized"}))
    with pytest.raises(BadAnswer):
        await line.server.limits()


async def test_the_next_token_is_tried_once(tmp_path: Path) -> None:
    sploot = Scripted()
    sploot.always["health"] = replying(401, {}, SIGNED_OUT)
    async with sploot.serving() as url:
        command = f"echo x >> {tmp_path}/runs; wc -l < {tmp_path}/runs"
        line = Line(tmp_path, sploot, url, token_command=command)
        with pytest.raises(SignedOut):
            await line.server.health()
        await line.server.close()
    assert [request.headers["authorization"] for request in sploot.requests] == ["Bearer 1", "Bearer 2"]


ODD_ANSWERS = {
    "HTML": replying(200, b"<!doctype html>", HTML),
    "no type": replying(200, b"{}", {"content-type": ""}),
    "truncated": replying(200, b'{"limits": {"maxFile'),
    "deep": replying(200, b"[" * 1_000_000),
    "a huge number": replying(200, b"1" * 100_000),
    "not UTF-8": replying(200, b"\xff\xfe{"),
    "null": replying(200, b"null"),
    "a list": replying(200, [1, 2, 3]),
    "a text": replying(200, "yes"),
    "empty": replying(200, b""),
    "nothing known": replying(200, {"a": 1}),
    "wrong kinds": replying(
        200, {"limits": 1, "exists": "yes", "asset": [], "statuses": [], "results": {}, "assets": 7}
    ),
    "wrong kinds inside": replying(
        200,
        {
            "limits": {"maxFileSize": "10", "allowedTypes": [1]},
            "exists": True,
            "asset": {"id": None, "embedding": 5},
            "statuses": {"c1": {"status": 1}},
            "results": [{"id": 5}],
            "assets": [{"id": 5}],
        },
    ),
    "a new word": replying(200, {"statuses": {"c1": {"status": "dreaming"}}}),
    "a negative limit": replying(200, {"limits": {"maxFileSize": -1, "allowedTypes": []}}),
    "compressed": replying(200, b"\x1f\x8b...", {"content-encoding": "gzip"}),
    "endless": replying(200, bytes(api.ANSWER_BYTES_MAX + 1)),
}


@pytest.mark.parametrize("answer", ODD_ANSWERS.values(), ids=ODD_ANSWERS.keys())
async def test_no_answer_breaks_a_parser(line: Line, answer: Any) -> None:
    for route, ask in asking(line).items():
        line.sploot.script(route, answer)
        with pytest.raises(BadAnswer) as raised:
            await ask
        assert raised.value.title.isprintable()


@given(st.binary(max_size=200), st.text(max_size=30))
def test_any_body_is_parsed_or_refused(body: bytes, content_type: str) -> None:
    for kind in ("application/json", content_type):
        try:
            parsed(kind, body)
        except BadAnswer as error:
            assert error.title.isprintable()  # noqa: PT017 - it may also be parsed


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (dropping, BrokenOff),
        (replying(200, {}, cut=1), BrokenOff),
        (replying(500, {"error": "oh"}), ServerFault),
        (replying(502, b"<html>", HTML), ServerFault),
        (replying(503, {"error": "x"}), ServerFault),
        (replying(503, {"retryAfter": 5}), RateLimited),
        (replying(504, b"FUNCTION_INVOCATION_TIMEOUT", {"content-type": "text/plain"}), ServerFault),
        (replying(429, b""), RateLimited),
        (replying(302, b"", {"location": "https://elsewhere.test/"}), BadAnswer),
        (replying(403, b"<html>", HTML), BadAnswer),
        (replying(403, {"error": "This token may only read"}), SignedOut),
        (replying(404, b"<html>", HTML), BadAnswer),
    ],
)
async def test_each_kind_of_failure_is_one_kind_of_error(line: Line, answer: Any, error: type[ServerError]) -> None:
    for route, ask in asking(line).items():
        line.sploot.script(route, answer)
        with pytest.raises(error) as raised:
            await ask
        assert type(raised.value) is error


@pytest.mark.parametrize("words", ["File appears to be empty", "Empty tags are not allowed\x1b[31m"])
async def test_only_an_upload_can_be_refused_and_in_the_servers_words(line: Line, words: str) -> None:
    refusing = replying(400, {"success": False, "error": words})
    line.sploot.script("upload", refusing)
    with pytest.raises(Refused, match=words[:20]) as raised:
        await line.upload(jpeg("a"))
    assert raised.value.title.isprintable()
    line.sploot.script("check", refusing)
    with pytest.raises(BadAnswer):
        await line.server.check(SHA)


async def test_a_400_that_is_not_the_servers_own_speaks_against_no_file(line: Line) -> None:
    line.sploot.script("upload", replying(400, b"<html>400 The plain HTTP request was sent to HTTPS port", HTML))
    with pytest.raises(BadAnswer):
        await line.upload(jpeg("a"))


async def test_redirects_are_not_followed_and_the_token_stays(line: Line) -> None:
    other = Scripted()
    async with other.serving() as url:
        line.sploot.always["health"] = replying(307, b"", {"location": f"{url}/api/health"})
        with pytest.raises(BadAnswer, match="points elsewhere"):
            await line.server.health()
    assert other.requests == []


async def test_nothing_there_is_unreachable(tmp_path: Path) -> None:
    sploot = Scripted()
    async with sploot.serving() as url:
        pass
    line = Line(tmp_path, sploot, url)
    with pytest.raises(Unreachable, match=r"^127\.0\.0\.1 cannot be reached: connection refused$"):
        await line.server.health()
    await line.server.close()


async def test_an_answer_that_never_comes_is_given_up(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "CONTROL_READ_S", 0.05)
    server = Server(line.server._control.base, credentials=line.credentials, connections=4)

    async def silent(_: Request) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    line.sploot.always["health"] = silent
    with pytest.raises(BrokenOff, match="no answer for too long"):
        await server.health()
    await server.close()


async def test_a_refusal_before_the_body_was_read_is_still_heard(tmp_path: Path) -> None:
    """A proxy says 413 at once and hangs up, while we are still sending."""

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        await reader.read(-1)
        writer.close()

    listening = await asyncio.start_server(proxy, "127.0.0.1", 0)
    line = Line(tmp_path, Scripted(), f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    with pytest.raises(ItemError) as raised:
        await line.upload(HEAD + bytes(3_000_000))
    assert isinstance(raised.value, Refused | BrokenOff)
    await line.server.close()
    listening.close()


async def test_statuses_tell_removed_from_failed(line: Line) -> None:
    ready, failed, pending = (line.sploot.add(name, []) for name in (b"ready", b"failed", b"pending"))
    failed.embedding = {"dim": 0, "status": "failed", "error": "no model"}
    pending.embedding = None
    assert await line.server.statuses([ready.id, failed.id, pending.id, "c0"]) == {
        ready.id: EmbeddingReport(EmbeddingStatus.READY),
        failed.id: EmbeddingReport(EmbeddingStatus.FAILED, "no model"),
        pending.id: EmbeddingReport(EmbeddingStatus.PENDING),
        "c0": EmbeddingReport(EmbeddingStatus.UNKNOWN),
    }


@pytest.mark.parametrize(
    ("embedding", "status"),
    [
        (None, EmbeddingStatus.PENDING),
        ({"dim": 512, "status": "pending", "completedAt": None}, EmbeddingStatus.READY),
        ({"dim": 0, "status": "failed", "modelName": "unknown", "error": "timeout"}, EmbeddingStatus.FAILED),
        ({"dim": 0, "status": "pending"}, EmbeddingStatus.PENDING),
        ({"dim": None, "status": 4}, EmbeddingStatus.PENDING),
    ],
)
async def test_the_truth_about_an_embedding_is_its_dimension(
    line: Line, embedding: dict[str, Any] | None, status: EmbeddingStatus
) -> None:
    asset = line.sploot.add(b"a", [])
    asset.embedding = embedding
    assert (await line.server.embedding(asset.id)).status is status
    assert (await line.server.newest(10))[asset.id].status is status


async def test_an_asset_that_is_not_there_was_removed(line: Line) -> None:
    assert await line.server.embedding("../c1?x=1") == EmbeddingReport(EmbeddingStatus.UNKNOWN)
    assert line.sploot.requests[0].target == "/api/assets/..%2Fc1%3Fx%3D1"


async def test_search_gives_matches_and_takes_those_without_a_score(line: Line) -> None:
    line.sploot.script(
        "search",
        replying(
            200,
            {
                "results": [
                    {"id": "c1", "blobUrl": "http://x/1", "similarity": 0.75, "text": "ONE DOES NOT SIMPLY"},
                    {"id": "c2", "blobUrl": "http://x/2", "similarity": None},
                ]
            },
        ),
    )
    assert await line.server.search("mordor", 5) == [
        Match("c1", 0.75, "http://x/1", "ONE DOES NOT SIMPLY"),
        Match("c2", None, "http://x/2", None),
    ]
    assert line.sploot.requests[0].json() == {"query": "mordor", "limit": 5}


async def test_nothing_that_the_client_shows_of_itself_holds_the_token(line: Line) -> None:
    line.sploot.always["health"] = dropping
    with pytest.raises(BrokenOff) as raised:
        await line.server.health()
    assert "good" not in repr(line.server) + str(raised.value) + repr(raised.value.__cause__)
