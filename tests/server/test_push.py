"""Push channel: each client receives all updates of its assets and no others, and no client can delay another."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from live_library import LIMIT_S, STREAM_URL, LiveLibrary, live_library, stream, websocket_client
from sploot_server.auth.accounts import Scope, Token, User
from sploot_server.auth.tokens import hash_token, mint_token
from sploot_server.domain.embedding import UnreadableImage
from sploot_server.http.push import endpoints, subscriptions
from toy_library import ServerProcess
from websockets.exceptions import ConnectionClosed, InvalidStatus


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[LiveLibrary]:
    """Run a library that embeds nothing before `release`."""
    async with live_library(tmp_path / "library", hold=True) as library:
        yield library


def release(library: LiveLibrary) -> None:
    assert library.embedder.hold is not None
    library.embedder.hold.set()


async def test_ten_clients_all_receive_an_update(library: LiveLibrary) -> None:
    asset = await library.upload("cat")
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(websocket_client(library)) for _ in range(10)]
        for each in clients:
            await each.subscribe(asset)
            await each.expect_silence()
        release(library)
        for each in clients:
            update = await each.next()
            assert (update["type"], update["assetId"], update["status"]) == ("embedding-update", asset, "ready")
            assert update["hasEmbedding"] is True
            assert "error" not in update


async def test_each_client_receives_updates_of_its_own_assets_only(library: LiveLibrary) -> None:
    one, other = await library.upload("one"), await library.upload("other")
    async with (
        websocket_client(library) as first,
        websocket_client(library) as second,
        websocket_client(library) as third,
    ):
        await first.subscribe(one)
        await second.subscribe(other)
        for each in (first, second, third):
            await each.expect_silence()
        release(library)
        assert (await first.next())["assetId"] == one
        assert (await second.next())["assetId"] == other
        for each in (first, second, third):
            await each.expect_silence()


async def test_a_new_subscriber_receives_completions_from_before(library: LiveLibrary) -> None:
    library.embedder.errors["bad"] = [UnreadableImage("It is torn.")]
    good, bad = await library.upload("good"), await library.upload("bad")
    release(library)
    await library.wait_until_ready(good)
    async with websocket_client(library) as client:
        await client.subscribe(good, bad, "unknown")
        updates: dict[str, Any] = {}
        while len(updates) < 3:  # an embedding that completes during the subscription may be sent twice
            update = await client.next()
            updates[update["assetId"]] = update
    assert updates[good]["status"] == "ready"
    assert (updates[bad]["status"], updates[bad]["error"]) == ("failed", "It is torn.")
    assert (updates["unknown"]["status"], updates["unknown"]["error"]) == ("failed", "Asset not found or access denied")


async def test_a_client_that_unsubscribes_or_disconnects_receives_nothing_more(library: LiveLibrary) -> None:
    asset = await library.upload("cat")
    async with websocket_client(library) as client:
        await client.subscribe(asset)
        await client.unsubscribe(asset)
        await client.expect_silence()
        release(library)
        await library.wait_until_ready(asset)
        await client.expect_silence()
        assert len(library.hub) == 1
    await library.wait_for_subscribers(0)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        ("[" * 60_000, "not valid JSON"),
        ({"type": "subscribe"}, "Unknown message"),
        ({"type": "subscribe", "assetIds": "c1"}, "Unknown message"),
        (["subscribe"], "Unknown message"),
        ({"type": "dance", "assetIds": []}, "Unknown message"),
        ({"type": "subscribe", "assetIds": [1]}, "strings of 1 to"),
        ({"type": "subscribe", "assetIds": ["x" * 65]}, "strings of 1 to"),
        ({"type": "subscribe", "assetIds": [f"c{n}" for n in range(1001)]}, "at most 1000"),
    ],
)
async def test_an_invalid_message_is_answered_with_an_error_and_the_connection_stays_open(
    library: LiveLibrary, message: object, error: str
) -> None:
    async with websocket_client(library) as client:
        await client.send(message)
        update = await client.next()
        assert update["type"] == "error"
        assert error in update["error"]
        await client.expect_silence()


async def test_a_message_of_more_than_128_kb_closes_the_connection(library: LiveLibrary) -> None:
    async with websocket_client(library) as client:
        await client.send("x" * (endpoints.MESSAGE_BYTES_MAX + 1))
        with pytest.raises(ConnectionClosed):
            await client.next()
    await library.wait_for_subscribers(0)


async def test_the_number_of_assets_per_connection_is_limited(
    library: LiveLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "IDS_PER_CLIENT_MAX", 2)
    assets = [await library.upload(name) for name in ("one", "two", "three")]
    async with websocket_client(library) as client:
        await client.subscribe(*assets[:2])
        await client.subscribe(*assets)
        assert "At most 2" in (await client.next())["error"]
        await client.unsubscribe(assets[0])
        await client.subscribe(assets[2], assets[1])
        await client.expect_silence()
        release(library)
        assert {(await client.next())["assetId"], (await client.next())["assetId"]} == set(assets[1:])
        await client.expect_silence()


async def test_an_outbox_keeps_the_latest_update_of_each_asset_and_drops_a_slow_subscriber(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscriptions, "OUTBOX_MAX", 3)
    subscriber = subscriptions.Subscriber("", None)
    for asset_id, number in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        subscriber.put(subscriptions.Update(asset_id, "", {}, number))
    assert [(await subscriber.next()).sequence for _ in range(3)] == [2, 3, 4]
    await subscriber.wait_until_empty()
    for asset_id in "defg":
        subscriber.put(subscriptions.Update(asset_id, "", {}))
    with pytest.raises(subscriptions.SubscriberDropped, match="too slowly"):
        await subscriber.next()
    await subscriber.wait_until_empty()


async def test_a_client_that_does_not_read_is_dropped_and_others_receive_everything(
    library: LiveLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "SEND_TIMEOUT_S", 0.2)
    assets = [f"c{number:063}" for number in range(1000)]
    reader, writer = await asyncio.open_unix_connection(str(library.config.uds))
    writer.write(
        b"GET /api/ws/upload-status HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: " + b"dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert b" 101 " in await reader.readline()
    message = json.dumps({"type": "subscribe", "assetIds": assets}).encode()
    frame = b"\x81\xff" + len(message).to_bytes(8) + b"\0\0\0\0" + message  # a mask of zeros masks nothing
    writer.write(frame * 20)  # causes far more replies than the buffers on the way can hold
    async with websocket_client(library) as client:
        await library.wait_for_subscribers(1)
        await client.subscribe("unknown")
        assert (await client.next())["status"] == "failed"
    writer.transport.abort()


async def test_a_subscriber_over_the_limit_gets_503(library: LiveLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "SUBSCRIBERS_MAX", 1)
    async with websocket_client(library) as client:
        await client.expect_silence()
        with pytest.raises(InvalidStatus) as rejected:
            async with websocket_client(library):
                pass
        assert rejected.value.response.status_code == 503
        answer = await library.client.get(STREAM_URL)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


@pytest.mark.parametrize("end", ["revoked", "removed"])
async def test_a_connection_ends_with_its_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """A revoked token or removed user is disconnected; other users stay connected."""
    monkeypatch.setattr(endpoints, "TOKEN_CHECK_INTERVAL_S", 0.02)
    async with live_library(tmp_path / "l", accounts=True) as library, contextlib.AsyncExitStack() as stack:
        clients, headers = {}, {}
        for user in ("anna", "ben"):
            text, token_id = mint_token()
            await library.accounts.add_user(User(user, user, 0))
            await library.accounts.add_token(Token(token_id, user, "", hash_token(text), frozenset({Scope.READ}), 0))
            headers[user] = {"authorization": f"Bearer {text}"}
            clients[user] = await stack.enter_async_context(websocket_client(library, additional_headers=headers[user]))
            await clients[user].expect_silence()
            if user == "anna":
                annas = token_id
        async with library.client.stream("GET", STREAM_URL, headers=headers["anna"]) as events:
            if end == "revoked":
                await library.accounts.revoke_token(annas, now_ms=1)
            else:
                await library.accounts.remove_user("anna")
            async with asyncio.timeout(LIMIT_S):
                await clients["anna"].connection.wait_closed()
                assert clients["anna"].connection.close_reason == "the token is no longer valid"
                assert "connected" in "".join([line async for line in events.aiter_lines()])
        await clients["ben"].expect_silence()


async def test_one_user_cannot_take_all_subscriptions(library: LiveLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "SUBSCRIBERS_PER_USER_MAX", 1)
    with library.hub.subscribe("anna", None), library.hub.subscribe("ben", None):
        with pytest.raises(subscriptions.TooManySubscribers), library.hub.subscribe("anna", None):
            pass
        with library.hub.subscribe("", None), library.hub.subscribe("", None):
            assert len(library.hub) == 4, "without accounts, the limit per user does not apply"


async def test_a_foreign_web_page_may_not_subscribe(library: LiveLibrary) -> None:
    with pytest.raises(InvalidStatus) as rejected:
        async with websocket_client(library, origin="http://evil.example"):
            pass
    assert rejected.value.response.status_code == 403
    assert (await library.client.get(STREAM_URL, headers={"origin": "http://evil.example"})).status_code == 403


async def test_subscribers_do_not_count_as_active_requests(library: LiveLibrary) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(library.config.requests_max + 1):
            await stack.enter_async_context(stream(library))
        assert (await library.client.get("/api/health")).status_code == 200


async def test_a_stream_without_ids_sends_all_updates_in_order(library: LiveLibrary) -> None:
    async with stream(library) as client:
        assert client.response.headers["content-type"].startswith("text/event-stream")
        first = await client.next()
        assert (first["retry"], first["event"]) == ("1000", "connected")
        assert json.loads(first["data"])["resumed"] is False
        assets = {await library.upload(name) for name in ("one", "two", "three")}
        release(library)
        updates = [await client.update() for _ in assets]
    assert {asset for asset, _, _ in updates} == assets
    assert {status for _, status, _ in updates} == {"ready"}
    numbers = [int(str(cursor).partition("-")[2]) for _, _, cursor in updates]
    assert numbers == sorted(numbers)


async def test_a_stream_with_ids_starts_with_the_state_of_each_existing_asset(library: LiveLibrary) -> None:
    asset, other = await library.upload("one"), await library.upload("other")
    async with stream(library, asset, "unknown") as client:
        await client.next()
        assert await client.update() == (asset, "processing", None)
        release(library)
        await library.wait_until_ready(asset, other)
        assert (await client.update())[:2] == (asset, "ready")


async def test_a_client_that_resumes_with_the_last_event_id_receives_missed_updates_once(library: LiveLibrary) -> None:
    release(library)
    async with stream(library) as client:
        await client.next()
        first = await library.upload("first")
        asset, _, cursor = await client.update()
        assert asset == first
    missed = [await library.upload(name) for name in ("second", "third")]
    await library.wait_until_ready(*missed)
    async with stream(library, last=cursor) as client:
        assert json.loads((await client.next())["data"])["resumed"] is True
        assert {(await client.update())[0] for _ in missed} == set(missed)
    async with stream(library, missed[0], last=cursor) as client:
        await client.next()
        assert (await client.update())[0] == missed[0]


@pytest.mark.parametrize("last", ["nonsense", "0-0", "0-99999999999999999999999", "-", "é-1"])
async def test_an_unknown_event_id_is_not_resumed(library: LiveLibrary, last: str) -> None:
    asset = await library.upload("one")
    async with stream(library, asset, last=last) as client:
        assert json.loads((await client.next())["data"])["resumed"] is False
        assert (await client.update())[0] == asset


async def test_an_event_id_that_is_too_old_is_not_resumed(
    library: LiveLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "HISTORY_MAX", 1)
    release(library)
    async with stream(library) as client:
        await client.next()
        cursors = []
        for name in ("first", "second", "third"):
            await library.upload(name)
            cursors.append((await client.update())[2])
    async with stream(library, last=cursors[1]) as client:
        assert json.loads((await client.next())["data"])["resumed"] is True
    cursor = cursors[0]
    async with stream(library, last=cursor) as client:
        assert json.loads((await client.next())["data"])["resumed"] is False


async def test_an_idle_stream_sends_heartbeats(library: LiveLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "HEARTBEAT_S", 0.01)
    async with stream(library) as client:
        await client.next()
        assert "heartbeat" in (await client.next())[""]


async def test_too_many_ids_in_a_query_are_rejected(library: LiveLibrary) -> None:
    answer = await library.client.get(STREAM_URL, params={"assetIds": ",".join(map(str, range(1001)))})
    assert answer.status_code == 400
    assert "at most 1000" in answer.json()["error"]


async def test_updates_are_delayed_but_not_lost_when_the_database_fails(
    library: LiveLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "RETRY_DELAY_S", 0.01)
    asset = await library.upload("cat")
    after, failed = library.hub._completion_log.list_after, asyncio.Event()

    async def failing(*_: object) -> None:
        failed.set()
        raise OSError("no")

    async with websocket_client(library) as client:
        await client.subscribe(asset)
        await client.expect_silence()
        monkeypatch.setattr(library.hub._completion_log, "list_after", failing)
        release(library)
        await asyncio.wait_for(failed.wait(), LIMIT_S)
        monkeypatch.setattr(library.hub._completion_log, "list_after", after)
        assert (await client.next())["status"] == "ready"


async def test_too_many_pending_changes_drop_all_subscribers(
    library: LiveLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "CHANGED_MAX", 2)
    async with websocket_client(library) as client:
        await client.expect_silence()
        for name in "abc":
            library.hub._on_event(name)
        with pytest.raises(ConnectionClosed, match="updates were lost"):
            await client.next()


async def test_stopping_the_server_ends_websockets_and_streams(tmp_path: Path) -> None:
    async with live_library(tmp_path / "library") as library:
        listening, streaming = websocket_client(library), stream(library)
        client, other = await listening.__aenter__(), await streaming.__aenter__()
        await client.expect_silence()
        await other.next()
        async with asyncio.timeout(LIMIT_S):
            library.hub.close()
            with pytest.raises(ConnectionClosed, match="the server is stopping"):
                await client.next()
            assert await other.next() == {}
        await listening.__aexit__(None, None, None)
        await streaming.__aexit__(None, None, None)


def test_a_process_with_subscribers_drains_immediately(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "library")
    with server.client() as client, client.stream("GET", STREAM_URL) as response:
        lines = response.iter_lines()
        assert next(lines).startswith("retry")
        before = os.times().elapsed
        server.process.terminate()
        list(lines)
        server.ended()
        assert server.process.returncode == 0
        assert os.times().elapsed - before < 7  # below the drain timeout of 8 s
