"""News of embeddings: each client hears all of its own and nothing else, and no client can hold up another."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from livekit import LIMIT_S, STREAM_URL, LiveLibrary, ear, live_library, stream
from sploot_server import live, updates
from sploot_server.accounts import Scope, Token, User
from sploot_server.accounts.tokens import digest_of, minted
from sploot_server.embedding import Unreadable
from toy_library import ServerProcess
from websockets.exceptions import ConnectionClosed, InvalidStatus


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[LiveLibrary]:
    """Nothing is embedded before `go`."""
    async with live_library(tmp_path / "library", hold=True) as library:
        yield library


def go(library: LiveLibrary) -> None:
    assert library.embedder.hold is not None
    library.embedder.hold.set()


async def test_ten_clients_all_see_an_update(library: LiveLibrary) -> None:
    asset = await library.upload("cat")
    async with contextlib.AsyncExitStack() as stack:
        ears = [await stack.enter_async_context(ear(library)) for _ in range(10)]
        for each in ears:
            await each.subscribe(asset)
            await each.silent()
        go(library)
        for each in ears:
            heard = await each.next()
            assert (heard["type"], heard["assetId"], heard["status"]) == ("embedding-update", asset, "ready")
            assert heard["hasEmbedding"] is True
            assert "error" not in heard


async def test_each_client_hears_of_its_own_assets_alone(library: LiveLibrary) -> None:
    one, other = await library.upload("one"), await library.upload("other")
    async with ear(library) as first, ear(library) as second, ear(library) as third:
        await first.subscribe(one)
        await second.subscribe(other)
        for each in (first, second, third):
            await each.silent()
        go(library)
        assert (await first.next())["assetId"] == one
        assert (await second.next())["assetId"] == other
        for each in (first, second, third):
            await each.silent()


async def test_a_subscriber_is_told_at_once_of_what_has_ended_before(library: LiveLibrary) -> None:
    library.embedder.faults["bad"] = [Unreadable("It is torn.")]
    good, bad = await library.upload("good"), await library.upload("bad")
    go(library)
    await library.until_ready(good)
    async with ear(library) as it:
        await it.subscribe(good, bad, "nobody")
        heard: dict[str, Any] = {}
        while len(heard) < 3:  # what ends at this very moment may be told twice
            update = await it.next()
            heard[update["assetId"]] = update
    assert heard[good]["status"] == "ready"
    assert (heard[bad]["status"], heard[bad]["error"]) == ("failed", "It is torn.")
    assert (heard["nobody"]["status"], heard["nobody"]["error"]) == ("failed", "Asset not found or access denied")


async def test_nothing_is_left_of_a_client_that_unsubscribes_or_leaves(library: LiveLibrary) -> None:
    asset = await library.upload("cat")
    async with ear(library) as it:
        await it.subscribe(asset)
        await it.unsubscribe(asset)
        await it.silent()
        go(library)
        await library.until_ready(asset)
        await it.silent()
        assert len(library.updates) == 1
    await library.until_listening(0)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        ("[" * 60_000, "not valid JSON"),
        ({"type": "subscribe"}, "no subscribe"),
        ({"type": "subscribe", "assetIds": "c1"}, "no subscribe"),
        (["subscribe"], "no subscribe"),
        ({"type": "dance", "assetIds": []}, "no subscribe"),
        ({"type": "subscribe", "assetIds": [1]}, "texts of 1 to"),
        ({"type": "subscribe", "assetIds": ["x" * 65]}, "texts of 1 to"),
        ({"type": "subscribe", "assetIds": [f"c{n}" for n in range(1001)]}, "At most 1000"),
    ],
)
async def test_what_a_client_may_not_say_is_answered_in_words_and_the_line_stays(
    library: LiveLibrary, message: object, said: str
) -> None:
    async with ear(library) as it:
        await it.say(message)
        heard = await it.next()
        assert heard["type"] == "error"
        assert said in heard["error"]
        await it.silent()


async def test_a_message_of_more_than_128_kb_ends_the_line(library: LiveLibrary) -> None:
    async with ear(library) as it:
        await it.say("x" * (live.MESSAGE_BYTES_MAX + 1))
        with pytest.raises(ConnectionClosed):
            await it.next()
    await library.until_listening(0)


async def test_a_client_subscribes_to_so_many_assets_and_no_more(
    library: LiveLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "IDS_PER_CLIENT_MAX", 2)
    assets = [await library.upload(name) for name in ("one", "two", "three")]
    async with ear(library) as it:
        await it.subscribe(*assets[:2])
        await it.subscribe(*assets)
        assert "At most 2" in (await it.next())["error"]
        await it.unsubscribe(assets[0])
        await it.subscribe(assets[2], assets[1])
        await it.silent()
        go(library)
        assert {(await it.next())["assetId"], (await it.next())["assetId"]} == set(assets[1:])
        await it.silent()


async def test_an_outbox_keeps_the_latest_of_each_asset_and_drops_who_is_too_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(updates, "OUTBOX_MAX", 3)
    listener = updates.Listener("", None)
    for asset_id, number in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        listener.put(updates.Update(asset_id, "", {}, number))
    assert [(await listener.next()).number for _ in range(3)] == [2, 3, 4]
    await listener.emptied()
    for asset_id in "defg":
        listener.put(updates.Update(asset_id, "", {}))
    with pytest.raises(updates.Dropped, match="too slow"):
        await listener.next()
    await listener.emptied()


async def test_a_client_that_does_not_read_is_dropped_and_the_others_hear_everything(
    library: LiveLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "SEND_S_MAX", 0.2)
    assets = [f"c{number:063}" for number in range(1000)]
    reader, writer = await asyncio.open_unix_connection(str(library.config.uds))
    writer.write(
        b"GET /api/ws/upload-status HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: " + b"dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    assert b" 101 " in await reader.readline()
    message = json.dumps({"type": "subscribe", "assetIds": assets}).encode()
    frame = b"\x81\xff" + len(message).to_bytes(8) + b"\0\0\0\0" + message  # a mask of zeros masks nothing
    writer.write(frame * 20)  # far more answers than fit into the buffers between
    async with ear(library) as it:
        await library.until_listening(1)
        await it.subscribe("nobody")
        assert (await it.next())["status"] == "failed"
    writer.transport.abort()


async def test_a_full_house_is_told_so(library: LiveLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "LISTENERS_MAX", 1)
    async with ear(library) as it:
        await it.silent()
        with pytest.raises(InvalidStatus) as refused:
            async with ear(library):
                pass
        assert refused.value.response.status_code == 503
        answer = await library.client.get(STREAM_URL)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


@pytest.mark.parametrize("end", ["revoked", "removed"])
async def test_a_line_lasts_no_longer_than_its_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """Nobody who was let in stays on after he was put out, and nobody else is disturbed."""
    monkeypatch.setattr(live, "TOKEN_LOOK_S", 0.02)
    async with live_library(tmp_path / "l", accounts=True) as library, contextlib.AsyncExitStack() as stack:
        lines, shown = {}, {}
        for user in ("anna", "ben"):
            text, token_id = minted()
            await library.accounts.add_user(User(user, user, 0))
            await library.accounts.add_token(Token(token_id, user, "", digest_of(text), frozenset({Scope.READ}), 0))
            shown[user] = {"authorization": f"Bearer {text}"}
            lines[user] = await stack.enter_async_context(ear(library, additional_headers=shown[user]))
            await lines[user].silent()
            if user == "anna":
                annas = token_id
        async with library.client.stream("GET", STREAM_URL, headers=shown["anna"]) as events:
            if end == "revoked":
                await library.accounts.revoke(annas, now_ms=1)
            else:
                await library.accounts.remove_user("anna")
            async with asyncio.timeout(LIMIT_S):
                await lines["anna"].line.wait_closed()
                assert lines["anna"].line.close_reason == "the token has ended"
                assert "connected" in "".join([line async for line in events.aiter_lines()])
        await lines["ben"].silent()


async def test_one_user_cannot_take_all_places(library: LiveLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "LISTENERS_EACH_MAX", 1)
    with library.updates.listen("anna", None), library.updates.listen("ben", None):
        with pytest.raises(updates.Full), library.updates.listen("anna", None):
            pass
        with library.updates.listen("", None), library.updates.listen("", None):
            assert len(library.updates) == 4, "where there are no accounts nobody is somebody else"


async def test_a_foreign_web_page_may_not_listen(library: LiveLibrary) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with ear(library, origin="http://evil.example"):
            pass
    assert refused.value.response.status_code == 403
    assert (await library.client.get(STREAM_URL, headers={"origin": "http://evil.example"})).status_code == 403


async def test_listeners_do_not_use_up_the_places_of_requests(library: LiveLibrary) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(library.config.requests_max + 1):
            await stack.enter_async_context(stream(library))
        assert (await library.client.get("/api/health")).status_code == 200


async def test_a_stream_without_ids_brings_everything_as_it_happens(library: LiveLibrary) -> None:
    async with stream(library) as it:
        assert it.response.headers["content-type"].startswith("text/event-stream")
        first = await it.next()
        assert (first["retry"], first["event"]) == ("1000", "connected")
        assert json.loads(first["data"])["resumed"] is False
        assets = {await library.upload(name) for name in ("one", "two", "three")}
        go(library)
        heard = [await it.update() for _ in assets]
    assert {asset for asset, _, _ in heard} == assets
    assert {status for _, status, _ in heard} == {"ready"}
    numbers = [int(str(mark).partition("-")[2]) for _, _, mark in heard]
    assert numbers == sorted(numbers)


async def test_a_stream_with_ids_begins_with_the_state_of_each_that_there_is(library: LiveLibrary) -> None:
    asset, other = await library.upload("one"), await library.upload("other")
    async with stream(library, asset, "nobody") as it:
        await it.next()
        assert await it.update() == (asset, "processing", None)
        go(library)
        await library.until_ready(asset, other)
        assert (await it.update())[:2] == (asset, "ready")


async def test_whoever_comes_back_with_the_last_id_hears_what_was_missed_once(library: LiveLibrary) -> None:
    go(library)
    async with stream(library) as it:
        await it.next()
        first = await library.upload("first")
        asset, _, mark = await it.update()
        assert asset == first
    missed = [await library.upload(name) for name in ("second", "third")]
    await library.until_ready(*missed)
    async with stream(library, last=mark) as it:
        assert json.loads((await it.next())["data"])["resumed"] is True
        assert {(await it.update())[0] for _ in missed} == set(missed)
    async with stream(library, missed[0], last=mark) as it:
        await it.next()
        assert (await it.update())[0] == missed[0]


@pytest.mark.parametrize("last", ["nonsense", "0-0", "0-99999999999999999999999", "-", "é-1"])
async def test_an_id_that_is_not_known_is_not_resumed(library: LiveLibrary, last: str) -> None:
    asset = await library.upload("one")
    async with stream(library, asset, last=last) as it:
        assert json.loads((await it.next())["data"])["resumed"] is False
        assert (await it.update())[0] == asset


async def test_an_id_from_too_long_ago_is_not_resumed(library: LiveLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "HISTORY_MAX", 1)
    go(library)
    async with stream(library) as it:
        await it.next()
        marks = []
        for name in ("first", "second", "third"):
            await library.upload(name)
            marks.append((await it.update())[2])
    async with stream(library, last=marks[1]) as it:
        assert json.loads((await it.next())["data"])["resumed"] is True
    mark = marks[0]
    async with stream(library, last=mark) as it:
        assert json.loads((await it.next())["data"])["resumed"] is False


async def test_a_silent_stream_has_a_heartbeat(library: LiveLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.01)
    async with stream(library) as it:
        await it.next()
        assert "heartbeat" in (await it.next())[""]


async def test_too_many_ids_in_an_address_are_refused(library: LiveLibrary) -> None:
    answer = await library.client.get(STREAM_URL, params={"assetIds": ",".join(map(str, range(1001)))})
    assert answer.status_code == 400
    assert "At most 1000" in answer.json()["error"]


async def test_when_the_database_fails_everybody_hears_of_it_later(
    library: LiveLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updates, "PAUSE_S", 0.01)
    asset = await library.upload("cat")
    after, failed = library.updates._ends.after, asyncio.Event()

    async def failing(*_: object) -> None:
        failed.set()
        raise OSError("no")

    async with ear(library) as it:
        await it.subscribe(asset)
        await it.silent()
        monkeypatch.setattr(library.updates._ends, "after", failing)
        go(library)
        await asyncio.wait_for(failed.wait(), LIMIT_S)
        monkeypatch.setattr(library.updates._ends, "after", after)
        assert (await it.next())["status"] == "ready"


async def test_more_news_than_can_be_kept_drops_everybody(
    library: LiveLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updates, "TOLD_MAX", 2)
    async with ear(library) as it:
        await it.silent()
        for name in "abc":
            library.updates._tell(name)
        with pytest.raises(ConnectionClosed, match="lost track"):
            await it.next()


async def test_the_end_of_the_server_ends_sockets_and_streams(tmp_path: Path) -> None:
    async with live_library(tmp_path / "library") as library:
        listening, streaming = ear(library), stream(library)
        it, other = await listening.__aenter__(), await streaming.__aenter__()
        await it.silent()
        await other.next()
        async with asyncio.timeout(LIMIT_S):
            library.updates.close()
            with pytest.raises(ConnectionClosed, match="the server ends"):
                await it.next()
            assert await other.next() == {}
        await listening.__aexit__(None, None, None)
        await streaming.__aexit__(None, None, None)


def test_a_process_with_listeners_drains_at_once(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "library")
    with server.client() as client, client.stream("GET", STREAM_URL) as response:
        lines = response.iter_lines()
        assert next(lines).startswith("retry")
        before = os.times().elapsed
        server.process.terminate()
        list(lines)
        server.ended()
        assert server.process.returncode == 0
        assert os.times().elapsed - before < 7  # less than the 8 s that a drain may take at most
