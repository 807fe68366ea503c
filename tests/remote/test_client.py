"""The API client against a server with Sploot's deviations and with invalid responses."""

import asyncio
import contextlib
import gzip
import hashlib
import os
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from file_reading import read
from hypothesis import given
from hypothesis import strategies as st
from pipeline_fixtures import HEAD, JumpClock, jpeg
from scripted_sploot import HTML, SIGNED_OUT, Reply, Request, ScriptedSploot, disconnect, reply_with, store_then

from splootd.core.limits import Limits
from splootd.credentials import Credentials
from splootd.errors import (
    ConnectionLost,
    InternalServerError,
    InvalidResponse,
    ItemError,
    RateLimited,
    Rejected,
    ServerError,
    TagsRejected,
    Unauthenticated,
    Unreachable,
)
from splootd.file_reader import BUFFERED_BYTES_MAX, MemoryBudget, stat_version
from splootd.remote import client as client_module
from splootd.remote.client import SplootClient
from splootd.remote.responses import EmbeddingReport, EmbeddingStatus, ExistingAsset, Match, parse_json

LIMITS = Limits(100_000_000, frozenset({"image/jpeg"}))
SHA = hashlib.sha256(b"").digest()


class Setup:
    """A client and a scripted server, over TCP."""

    def __init__(self, folder: Path, sploot: ScriptedSploot, url: str, **credentials: Any) -> None:
        self.folder = folder
        self.sploot = sploot
        self.credentials = Credentials(folder / "token", JumpClock(), **credentials)
        self.client = SplootClient(url, credentials=self.credentials, connections=4)

    async def upload(self, content: bytes, *, tags: tuple[str, ...] = (), name: str = "a.jpg") -> Any:
        path = os.fsencode(self.folder / name)
        (self.folder / name).write_bytes(content)
        async with read(path, stat_version(path), budget=MemoryBudget(100_000_000), limits=LIMITS) as read_content:
            return await self.client.upload(read_content, tags=tags)


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    sploot = ScriptedSploot()
    async with sploot.serve() as url:
        setup = Setup(tmp_path, sploot, url, token="good")
        yield setup
        await setup.client.close()


async def test_limits_are_the_servers_own(setup: Setup) -> None:
    limits = await setup.client.limits()
    assert limits.bytes_max == 10 * 1024 * 1024
    assert limits.types == {"image/jpeg", "image/png", "image/webp", "image/gif"}
    assert limits.has_reliable_embedding_states
    setup.sploot.features = None
    assert not (await setup.client.limits()).has_reliable_embedding_states


async def test_a_check_is_by_lower_case_hex(setup: Setup) -> None:
    """Sploot accepts upper case but never matches it."""
    asset = setup.sploot.add(b"there", [])
    assert await setup.client.check(hashlib.sha256(b"there").digest()) == ExistingAsset(asset.id, has_embedding=True)
    assert await setup.client.check(SHA) is None
    assert [request.json()["checksum"] for request in setup.sploot.requests] == [asset.sha256, SHA.hex()]


@pytest.mark.parametrize("size", [100, 256 * 1024, 300_000, BUFFERED_BYTES_MAX + 1])
async def test_an_upload_is_a_form_that_sploots_parser_accepts(setup: Setup, size: int) -> None:
    content = HEAD + os.urandom(size - len(HEAD))
    stored = await setup.upload(content, tags=("cat", "größe", 'a"b'), name='ü "x".jpg')
    assert not stored.is_duplicate
    (asset,) = setup.sploot.assets.values()
    assert (asset.sha256, asset.tags) == (hashlib.sha256(content).hexdigest(), ["cat", "größe", 'a"b'])
    (request,) = setup.sploot.requests
    assert int(request.headers["content-length"]) == len(request.body)
    assert "transfer-encoding" not in request.headers
    assert f'filename="{asset.sha256[:12]}.jpg"'.encode() in request.body
    assert b"Content-Type: image/jpeg\r\n\r\n" in request.body


async def test_without_tags_there_is_no_tags_part(setup: Setup) -> None:
    await setup.upload(jpeg("a"))
    assert b'name="tags"' not in setup.sploot.requests[0].body


async def test_progress_is_reported_while_sending(setup: Setup) -> None:
    reported: list[int] = []
    path = os.fsencode(setup.folder / "a.jpg")
    (setup.folder / "a.jpg").write_bytes(HEAD + bytes(2_000_000))
    async with read(path, stat_version(path), budget=MemoryBudget(100_000_000), limits=LIMITS) as content:
        await setup.client.upload(content, on_progress=reported.append)
        assert reported == sorted(reported)
        assert len(reported) > 5
        assert reported[-1] == content.size


async def test_a_duplicate_is_success(setup: Setup) -> None:
    first = await setup.upload(jpeg("a"))
    second = await setup.upload(jpeg("a"), name="b.jpg")
    assert (second.asset_id, second.is_duplicate) == (first.asset_id, True)


async def test_an_upload_never_requests_its_embedding(setup: Setup) -> None:
    await setup.client.limits()
    await setup.upload(jpeg("a"))
    assert all("sync_embeddings" not in request.target for request in setup.sploot.requests)


async def test_the_token_is_a_bearer_with_a_capital(setup: Setup) -> None:
    """Sploot compares the scheme case-sensitively."""
    await setup.client.health()
    assert setup.sploot.requests[0].headers["authorization"] == "Bearer good"


async def test_without_a_token_none_is_sent(tmp_path: Path) -> None:
    sploot = ScriptedSploot()
    async with sploot.serve() as url:
        setup = Setup(tmp_path, sploot, url)
        await setup.client.health()
        await setup.client.close()
    assert "authorization" not in sploot.requests[0].headers


async def test_a_browsers_headers_are_not_sent(setup: Setup) -> None:
    """Clerk responds to these with a redirect to its own host."""
    await setup.client.health()
    headers = setup.sploot.requests[0].headers
    assert headers["accept"] == "application/json"
    assert "sec-fetch-dest" not in headers
    assert "cookie" not in headers


async def test_a_token_with_invalid_characters_is_not_sent(tmp_path: Path) -> None:
    sploot = ScriptedSploot()
    async with sploot.serve() as url:
        for token in ("good\nx-evil: 1", "größe"):
            setup = Setup(tmp_path, sploot, url, token=token)
            with pytest.raises(Unauthenticated):
                await setup.client.health()
            await setup.client.close()
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
async def test_signed_out_is_detected_for_every_status(
    setup: Setup, status: int, body: Any, headers: dict[str, str]
) -> None:
    for route, request in create_requests(setup).items():
        setup.sploot.script(route, reply_with(status, body, headers))
        with pytest.raises(Unauthenticated, match="you are signed out"):
            await request


def create_requests(setup: Setup) -> dict[str, Any]:
    return {
        "limits": setup.client.limits(),
        "check": setup.client.check(SHA),
        "upload": setup.upload(jpeg("a")),
        "statuses": setup.client.embedding_statuses(["c1"]),
        "asset": setup.client.embedding_status("c1"),
        "search": setup.client.search("cat", 5),
    }


async def test_a_401_without_clerks_header_is_a_fault_of_the_server_and_no_sign_out(setup: Setup) -> None:
    """GET /api/upload responds with 401 to every internal error."""
    setup.sploot.script("limits", reply_with(401, {"error": "Unauthorized"}))
    with pytest.raises(InternalServerError, match=r"^the server failed \(401: Unauthorized\)$"):
        await setup.client.limits()


async def test_the_next_token_is_tried_once(tmp_path: Path) -> None:
    sploot = ScriptedSploot()
    sploot.always["health"] = reply_with(401, {}, SIGNED_OUT)
    async with sploot.serve() as url:
        command = f"echo x >> {tmp_path}/runs; wc -l < {tmp_path}/runs"
        setup = Setup(tmp_path, sploot, url, token_command=command)
        with pytest.raises(Unauthenticated):
            await setup.client.health()
        await setup.client.close()
    assert [request.headers["authorization"] for request in sploot.requests] == ["Bearer 1", "Bearer 2"]


INVALID_RESPONSES = {
    "HTML": reply_with(200, b"<!doctype html>", HTML),
    "no type": reply_with(200, b"{}", {"content-type": ""}),
    "truncated": reply_with(200, b'{"limits": {"maxFile'),
    "deep": reply_with(200, b"[" * 1_000_000),
    "a huge number": reply_with(200, b"1" * 100_000),
    "not UTF-8": reply_with(200, b"\xff\xfe{"),
    "null": reply_with(200, b"null"),
    "a list": reply_with(200, [1, 2, 3]),
    "a text": reply_with(200, "yes"),
    "empty": reply_with(200, b""),
    "nothing known": reply_with(200, {"a": 1}),
    "wrong kinds": reply_with(
        200, {"limits": 1, "exists": "yes", "asset": [], "statuses": [], "results": {}, "assets": 7}
    ),
    "wrong kinds inside": reply_with(
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
    "an unknown status": reply_with(200, {"statuses": {"c1": {"status": "dreaming"}}}),
    "a negative limit": reply_with(200, {"limits": {"maxFileSize": -1, "allowedTypes": []}}),
    "compressed, invalid": reply_with(200, b"\x1f\x8b...", {"content-encoding": "gzip"}),
    "compressed, truncated": reply_with(200, gzip.compress(b"{}" * 100)[:20], {"content-encoding": "gzip"}),
    "compressed, unknown": reply_with(200, b"{}", {"content-encoding": "br"}),
    "compressed, endless": reply_with(
        200, gzip.compress(bytes(client_module.RESPONSE_BYTES_MAX + 1)), {"content-encoding": "gzip"}
    ),
    "endless": reply_with(200, bytes(client_module.RESPONSE_BYTES_MAX + 1)),
}


@pytest.mark.parametrize("response", INVALID_RESPONSES.values(), ids=INVALID_RESPONSES.keys())
async def test_an_invalid_response_is_an_error(setup: Setup, response: Any) -> None:
    for route, request in create_requests(setup).items():
        setup.sploot.script(route, response)
        with pytest.raises(InvalidResponse) as raised:
            await request
        assert raised.value.title.isprintable()


@pytest.mark.parametrize(
    ("coding", "compress"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda body: zlib.compress(body)[2:-4]),  # without the frame, as some servers send it
    ],
)
async def test_a_compressed_response_is_decoded(setup: Setup, coding: str, compress: Callable[[bytes], bytes]) -> None:
    """A proxy may compress although that was not requested."""
    body = compress(b'{"exists": false, "message": "' + b"x" * 200_000 + b'"}')
    setup.sploot.script("check", reply_with(200, body, {"content-encoding": coding}))
    assert await setup.client.check(SHA) is None


async def test_a_request_on_a_stale_connection_is_sent_again(setup: Setup) -> None:
    await setup.client.health()
    setup.sploot.script("health", disconnect)
    await setup.client.health()
    assert setup.sploot.count("health") == 3


async def test_a_request_is_sent_again_only_once(setup: Setup) -> None:
    await setup.client.health()
    setup.sploot.script("health", disconnect, disconnect)
    with pytest.raises(ConnectionLost):
        await setup.client.health()
    assert setup.sploot.count("health") == 3


@pytest.mark.parametrize("is_stored", [False, True])
async def test_an_upload_on_a_stale_connection_is_sent_again_unless_it_was_stored(
    setup: Setup, is_stored: bool
) -> None:
    await setup.client.check(SHA)
    setup.sploot.script("upload", store_then(setup.sploot, disconnect) if is_stored else disconnect)
    with pytest.raises(ConnectionLost) if is_stored else contextlib.nullcontext():  # resolved by the caller
        await setup.upload(HEAD + bytes(2_000_000))
    assert list(setup.sploot.stored.values()) == [1]
    routes = ["check", "upload", "check"] if is_stored else ["check", "upload", "check", "upload"]
    assert [request.route for request in setup.sploot.requests] == routes


@given(st.binary(max_size=200), st.text(max_size=30))
def test_any_body_is_parsed_or_rejected(body: bytes, content_type: str) -> None:
    for kind in ("application/json", content_type):
        try:
            parse_json(kind, body)
        except InvalidResponse as error:
            assert error.title.isprintable()  # noqa: PT017 - it may also be parsed


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (disconnect, ConnectionLost),
        (reply_with(200, {}, cut=1), ConnectionLost),
        (reply_with(500, {"error": "oh"}), InternalServerError),
        (reply_with(502, b"<html>", HTML), InternalServerError),
        (reply_with(503, {"error": "x"}), InternalServerError),
        (reply_with(503, {"retryAfter": 5}), RateLimited),
        (reply_with(504, b"FUNCTION_INVOCATION_TIMEOUT", {"content-type": "text/plain"}), InternalServerError),
        (reply_with(429, b""), RateLimited),
        (reply_with(302, b"", {"location": "https://elsewhere.test/"}), InvalidResponse),
        (reply_with(403, b"<html>", HTML), InvalidResponse),
        (reply_with(403, {"error": "This token may only read"}), Unauthenticated),
        (reply_with(404, b"<html>", HTML), InvalidResponse),
    ],
)
async def test_each_kind_of_failure_is_one_kind_of_error(setup: Setup, response: Any, error: type[ServerError]) -> None:
    for route, request in create_requests(setup).items():
        setup.sploot.script(route, response)
        with pytest.raises(error) as raised:
            await request
        assert type(raised.value) is error


@pytest.mark.parametrize("message", ["File appears to be empty", "File type not supported\x1b[31m"])
async def test_only_an_upload_can_be_rejected_with_the_servers_message(setup: Setup, message: str) -> None:
    rejecting = reply_with(400, {"success": False, "error": message})
    setup.sploot.script("upload", rejecting)
    with pytest.raises(Rejected, match=message[:20]) as raised:
        await setup.upload(jpeg("a"))
    assert raised.value.title.isprintable()
    setup.sploot.script("check", rejecting)
    with pytest.raises(InvalidResponse):
        await setup.client.check(SHA)


async def test_a_400_of_a_proxy_does_not_reject_the_file(setup: Setup) -> None:
    setup.sploot.script("upload", reply_with(400, b"<html>400 The plain HTTP request was sent to HTTPS port", HTML))
    with pytest.raises(InvalidResponse):
        await setup.upload(jpeg("a"))


async def test_redirects_are_not_followed_and_the_token_stays(setup: Setup) -> None:
    other = ScriptedSploot()
    async with other.serve() as url:
        setup.sploot.always["health"] = reply_with(307, b"", {"location": f"{url}/api/health"})
        with pytest.raises(InvalidResponse, match="something in between answers"):
            await setup.client.health()
    assert other.requests == []


@pytest.mark.parametrize("prefix", ["", "/memes"])
async def test_a_server_that_has_moved_is_named_by_its_base_address(setup: Setup, prefix: str) -> None:
    base = setup.client._control_pool.base_url
    target = f"{base.replace('http:', 'https:')}{prefix}"
    setup.sploot.always["limits"] = reply_with(308, b"", {"location": f"{target}/api/upload"})
    with pytest.raises(InvalidResponse, match=f"^the server has moved to {target}$") as raised:
        await setup.client.limits()
    assert raised.value.hint == f"set it: sploot config set server {target}"


@pytest.mark.parametrize("location", ["https://portal.hotel/login", "https://portal.hotel/api/upload", "/sign-in", ""])
async def test_a_login_page_of_the_network_is_never_advised_as_the_server(setup: Setup, location: str) -> None:
    setup.sploot.always["limits"] = reply_with(302, b"", {"location": location})
    with pytest.raises(
        InvalidResponse, match=r"^something in between answers \(a login page of the network\?\)"
    ) as raised:
        await setup.client.limits()
    assert raised.value.hint is not None
    assert "config set" not in raised.value.hint


async def test_a_token_is_not_sent_to_another_origin_and_the_message_says_so(tmp_path: Path) -> None:
    sploot = ScriptedSploot()
    sploot.always["limits"] = reply_with(401, {}, SIGNED_OUT)
    async with sploot.serve() as url:
        setup = Setup(tmp_path, sploot, url, origin="https://b:443")
        await Credentials(tmp_path / "token", JumpClock(), origin="https://a:443").save(token="s3cret")
        with pytest.raises(Unauthenticated, match="the saved token is for https://a:443 and is sent nowhere else"):
            await setup.client.limits()
        await setup.client.close()
    assert [request.headers.get("authorization") for request in sploot.requests] == [None]


async def test_a_configured_token_that_one_server_accepted_is_not_sent_to_another(tmp_path: Path) -> None:
    first, other = ScriptedSploot(), ScriptedSploot()
    other.always["limits"] = reply_with(401, {}, SIGNED_OUT)
    async with first.serve() as first_url, other.serve() as other_url:
        setup = Setup(tmp_path, first, first_url, origin="https://a:443", token="s3cret")
        await setup.client.limits()
        await setup.client.close()
        setup = Setup(tmp_path, other, other_url, origin="https://b:443", token="s3cret")
        with pytest.raises(Unauthenticated, match="SPLOOT_TOKEN is for https://a:443 and is sent nowhere else"):
            await setup.client.limits()
        await setup.client.close()
    assert [request.headers.get("authorization") for request in first.requests] == ["Bearer s3cret"]
    assert [request.headers.get("authorization") for request in other.requests] == [None]


async def test_any_signed_in_answer_ends_signed_out(tmp_path: Path) -> None:
    """The health of a server needs no sign-in, so its answer proves nothing."""
    sploot = ScriptedSploot()
    async with sploot.serve() as url:
        setup = Setup(tmp_path, sploot, url, token="good")
        sploot.script("check", reply_with(401, {}, SIGNED_OUT))
        with pytest.raises(Unauthenticated):
            await setup.client.check(SHA)
        snapshot = setup.credentials.token_changed.snapshot()
        await setup.client.health()
        assert not snapshot.is_set()
        await setup.client.limits()
        assert snapshot.is_set()
        await setup.client.close()


async def test_a_404_page_does_not_reject_the_tags_of_a_file(setup: Setup) -> None:
    """Only the server's own JSON does. A page comes from a proxy, and another attempt may succeed."""
    setup.sploot.script("asset", reply_with(404, b"<html>", HTML), reply_with(404, {"error": "Asset not found"}))
    with pytest.raises(InvalidResponse) as caught:
        await setup.client.add_tags("c1", ["cat"])
    assert not isinstance(caught.value, TagsRejected)
    with pytest.raises(TagsRejected, match="Asset not found"):
        await setup.client.add_tags("c1", ["cat"])


async def test_a_refused_connection_is_unreachable(tmp_path: Path) -> None:
    sploot = ScriptedSploot()
    async with sploot.serve() as url:
        pass
    setup = Setup(tmp_path, sploot, url)
    with pytest.raises(Unreachable, match=r"^127\.0\.0\.1 cannot be reached: connection refused$"):
        await setup.client.health()
    await setup.client.close()


async def test_a_missing_response_times_out(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "CONTROL_READ_TIMEOUT_S", 0.05)
    patient = SplootClient(setup.client._control_pool.base_url, credentials=setup.credentials, connections=4)

    async def silent(_: Request) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    setup.sploot.always["health"] = silent
    with pytest.raises(ConnectionLost, match="timed out"):
        await patient.health()
    await patient.close()


async def test_a_rejection_before_the_body_was_read_is_received(tmp_path: Path) -> None:
    """A proxy responds with 413 and disconnects while the body is being sent."""

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        await reader.read(-1)
        writer.close()

    listening = await asyncio.start_server(proxy, "127.0.0.1", 0)
    setup = Setup(tmp_path, ScriptedSploot(), f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    with pytest.raises(ItemError) as raised:
        await setup.upload(HEAD + bytes(3_000_000))
    assert isinstance(raised.value, Rejected | ConnectionLost)
    await setup.client.close()
    listening.close()


async def test_statuses_distinguish_removed_from_failed(setup: Setup) -> None:
    ready, failed, pending = (setup.sploot.add(name, []) for name in (b"ready", b"failed", b"pending"))
    failed.embedding = {"dim": 0, "status": "failed", "error": "no model"}
    pending.embedding = None
    assert await setup.client.embedding_statuses([ready.id, failed.id, pending.id, "c0"]) == {
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
async def test_the_status_of_an_embedding_follows_from_its_dimension(
    setup: Setup, embedding: dict[str, Any] | None, status: EmbeddingStatus
) -> None:
    asset = setup.sploot.add(b"a", [])
    asset.embedding = embedding
    assert (await setup.client.embedding_status(asset.id)).status is status
    assert (await setup.client.newest_embedding_statuses(10))[asset.id].status is status


async def test_an_asset_that_does_not_exist_is_unknown(setup: Setup) -> None:
    assert await setup.client.embedding_status("../c1?x=1") == EmbeddingReport(EmbeddingStatus.UNKNOWN)
    assert setup.sploot.requests[0].target == "/api/assets/..%2Fc1%3Fx%3D1"


async def test_search_returns_the_matches_and_not_what_sploot_fills_up_with(setup: Setup) -> None:
    """Below the threshold, or `null` for an asset whose embedding failed. A server without scores is none of these."""
    setup.sploot.script(
        "search",
        reply_with(
            200,
            {
                "results": [
                    {"id": "c1", "blobUrl": "http://x/1", "similarity": 0.75, "matchedText": "ONE DOES NOT SIMPLY"},
                    {"id": "c2", "blobUrl": "http://x/2"},
                    {"id": "c3", "blobUrl": "http://x/3", "similarity": None},
                    {"id": "c4", "blobUrl": "http://x/4", "similarity": 0.1, "belowThreshold": True},
                ]
            },
        ),
    )
    assert await setup.client.search("mordor", 5) == (
        [Match("c1", 0.75, "http://x/1", "ONE DOES NOT SIMPLY"), Match("c2", None, "http://x/2", None)],
        [Match("c4", 0.1, "http://x/4", None)],
    )
    assert setup.sploot.requests[0].json() == {"query": "mordor", "limit": 5}


async def test_no_repr_or_message_of_the_client_contains_the_token(setup: Setup) -> None:
    setup.sploot.always["health"] = disconnect
    with pytest.raises(ConnectionLost) as raised:
        await setup.client.health()
    assert "good" not in repr(setup.client) + str(raised.value) + repr(raised.value.__cause__)
