"""The push client against real sockets: servers that drop, delay, reorder and repeat, and servers without a channel."""

import asyncio
import random
import select
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from live_library import live_library
from push_fixtures import (
    LIMIT_S,
    SIGNED_OUT,
    StreamServer,
    create_push_client,
    push_server,
    running,
    sending,
    stream_server,
    until,
    update,
)
from websockets.asyncio.server import ServerConnection

from splootd.core.reconnect import DELAYS_S, SLOW_RETRY_S
from splootd.embeddings import push_client as push_client_module
from splootd.embeddings import push_subscriptions as push_subscriptions_module
from splootd.embeddings.push_subscriptions import PushSubscriptions
from splootd.event_bus import WakeSignal
from splootd.remote.responses import EmbeddingReport, EmbeddingStatus

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
READY = EmbeddingReport(EmbeddingStatus.READY)


@pytest.fixture
def push_subscriptions() -> PushSubscriptions:
    return PushSubscriptions(WakeSignal())


class Pauses:
    """Records the reconnect delays instead of waiting."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._wake_signal = WakeSignal()

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self._wake_signal.notify()
        await asyncio.sleep(0)

    async def until(self, count: int) -> list[float]:
        """Wait for `count` delays and return them."""
        async with asyncio.timeout(LIMIT_S):
            while len(self.seconds) < count:
                await self._wake_signal.wait(self._wake_signal.snapshot(), None)
        return self.seconds[:count]


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    paused = Pauses()
    monkeypatch.setattr(push_client_module, "sleep", paused.sleep)
    monkeypatch.setattr(random, "random", lambda: 0.5)
    return paused


def is_open(state: str, generation: int = 1) -> Callable[[PushSubscriptions], bool]:
    return lambda push_subscriptions: push_subscriptions.state == state and push_subscriptions.generation >= generation


async def collect_updates(push_subscriptions: PushSubscriptions, *asset_ids: str) -> dict[str, EmbeddingReport]:
    """Return all updates, once there is one of each of these assets."""
    found: dict[str, EmbeddingReport] = {}

    def is_all(push_subscriptions: PushSubscriptions) -> bool:
        found.update(push_subscriptions.drain())
        return set(asset_ids) <= set(found)

    await until(push_subscriptions, is_all)
    return found


@pytest.mark.parametrize("tcp", [False, True])
async def test_the_real_server_pushes_embeddings_that_finish_and_that_had_finished(
    tmp_path: Path, push_subscriptions: PushSubscriptions, *, tcp: bool
) -> None:
    async with live_library(tmp_path / "library", hold=True, tcp=tcp) as library:
        push_client = create_push_client(
            push_subscriptions, library.config.uds or tmp_path / "none", url=library.url if tcp else ""
        )
        async with running(push_client):
            await until(push_subscriptions, is_open("websocket"))
            asset, other = await library.upload("cat"), await library.upload("dog")
            push_subscriptions.subscribe([asset])
            assert library.embedder.hold is not None
            library.embedder.hold.set()
            assert await collect_updates(push_subscriptions, asset) == {asset: READY}
            push_subscriptions.subscribe([other, "unknown"])
            found = await collect_updates(push_subscriptions, other, "unknown")
            assert found[other] == READY
            assert found["unknown"].status is EmbeddingStatus.UNKNOWN


async def test_the_server_keeps_no_subscription_after_an_unsubscribe_or_a_disconnect(
    tmp_path: Path, push_subscriptions: PushSubscriptions
) -> None:
    async with live_library(tmp_path / "library") as library:
        assert library.config.uds is not None
        async with running(create_push_client(push_subscriptions, library.config.uds)):
            await until(push_subscriptions, is_open("websocket"))
            asset = await library.upload("cat")
            push_subscriptions.subscribe([asset, "c2"])
            await collect_updates(push_subscriptions, asset, "c2")
            (subscriber,) = library.hub._subscribers
            assert subscriber.ids == {asset, "c2"}
            push_subscriptions.unsubscribe([asset, "c2"])
            push_subscriptions.subscribe(["c3"])
            await collect_updates(push_subscriptions, "c3")
            assert subscriber.ids == {"c3"}
        await library.wait_for_subscribers(0)
    assert push_subscriptions.state == "polling"
    assert not push_subscriptions.is_subscribed("c3")


async def test_a_reconnect_begins_a_generation_without_the_old_subscriptions(
    tmp_path: Path, push_subscriptions: PushSubscriptions, pauses: Pauses
) -> None:
    async with running(create_push_client(push_subscriptions, tmp_path / "s")):
        for generation in (1, 2, 3):
            async with live_library(tmp_path / "library", socket=tmp_path / "s") as library:
                await until(push_subscriptions, lambda push_subscriptions: push_subscriptions.state == "websocket")
                assert push_subscriptions.generation >= generation
                asset = await library.upload(f"cat {generation}")
                push_subscriptions.subscribe([asset])
                assert await collect_updates(push_subscriptions, asset) == {asset: READY}
            await pauses.until(len(pauses.seconds) + 1)
            assert not push_subscriptions.is_subscribed(asset)
    assert pauses.seconds[0] == DELAYS_S[0]


async def test_an_unreachable_server_is_retried_after_1_2_4_8_16_seconds_and_then_rarely(
    tmp_path: Path, push_subscriptions: PushSubscriptions, pauses: Pauses
) -> None:
    async with running(create_push_client(push_subscriptions, tmp_path / "nowhere")):
        assert await pauses.until(9) == [*DELAYS_S, SLOW_RETRY_S, SLOW_RETRY_S, SLOW_RETRY_S, SLOW_RETRY_S]
    assert push_subscriptions.generation == 1  # after the last quick retry: pending embeddings must be polled
    assert push_subscriptions.state == "polling"


async def test_a_server_that_drops_every_connection_is_retried_with_the_same_delays(
    tmp_path: Path, push_subscriptions: PushSubscriptions, pauses: Pauses
) -> None:
    async with (
        push_server(tmp_path / "s", sending()) as server,
        running(create_push_client(push_subscriptions, tmp_path / "s")),
    ):
        assert await pauses.until(7) == [*DELAYS_S, SLOW_RETRY_S, SLOW_RETRY_S]
    assert len(server.heads) >= 7


async def test_repeated_late_and_malformed_messages_leave_the_latest_update_of_each_asset(
    tmp_path: Path, push_subscriptions: PushSubscriptions
) -> None:
    strange = [
        update("c1", "processing"),
        "not json",
        "[" * 5_000,
        "[]",
        "7",
        '{"type":"embedding-update"}',
        update("", "ready"),
        update("x" * 300, "ready"),
        update("c\n1", "ready"),
        update("c3", "cheerful"),
        '{"type":"embedding-update","assetId":5,"status":"ready"}',
        '{"type":"news"}',
        update("c2", "ready"),
        update("c2", "ready"),
        update("c1", "failed", error="the model is down"),
    ]
    async with (
        push_server(tmp_path / "s", sending(*strange)),
        running(create_push_client(push_subscriptions, tmp_path / "s")),
    ):
        found = await collect_updates(push_subscriptions, "c1", "c2")
    assert found["c2"] == READY
    assert found["c1"].status in {EmbeddingStatus.PROCESSING, EmbeddingStatus.FAILED}
    assert set(found) == {"c1", "c2"}


async def test_an_oversized_message_costs_one_connection(tmp_path: Path, push_subscriptions: PushSubscriptions) -> None:
    endless = sending(update("c1", error="x" * push_client_module.MESSAGE_BYTES_MAX))
    async with (
        push_server(tmp_path / "s", endless, sending(update("c2"))),
        running(create_push_client(push_subscriptions, tmp_path / "s")),
    ):
        assert set(await collect_updates(push_subscriptions, "c2")) == {"c2"}


async def test_an_error_message_ends_the_connection_and_it_is_retried(
    tmp_path: Path, push_subscriptions: PushSubscriptions, pauses: Pauses
) -> None:
    async with push_server(tmp_path / "s") as server, running(create_push_client(push_subscriptions, tmp_path / "s")):
        server.scripts = [refusing, server.listen]
        await until(push_subscriptions, is_open("websocket", generation=2))
        assert pauses.seconds == [DELAYS_S[0]]


async def refusing(connection: ServerConnection) -> None:
    await connection.send('{"type":"error","error":"too many"}')
    async for _ in connection:
        pass


async def test_ten_thousand_assets_are_one_connection_and_few_messages(
    tmp_path: Path, push_subscriptions: PushSubscriptions
) -> None:
    asset_ids = [f"c{number:024}" for number in range(12_000)]
    async with push_server(tmp_path / "s") as server, running(create_push_client(push_subscriptions, tmp_path / "s")):
        await until(push_subscriptions, is_open("websocket"))
        push_subscriptions.subscribe(asset_ids)
        await server.until(lambda server: len(server.subscribed()) >= push_subscriptions_module.SUBSCRIPTIONS_MAX)
        assert server.subscribed() == asset_ids[: push_subscriptions_module.SUBSCRIPTIONS_MAX]
        assert len(server.heads) == 1
        assert (
            len(server.messages) == push_subscriptions_module.SUBSCRIPTIONS_MAX / push_client_module.IDS_PER_MESSAGE_MAX
        )
        push_subscriptions.unsubscribe(asset_ids[:5])
        push_subscriptions.subscribe(asset_ids[-2:])
        await server.until(lambda server: server.subscribed()[-2:] == asset_ids[-2:])
        (unsubscribed,) = [message["assetIds"] for message in server.messages if message["type"] == "unsubscribe"]
        assert unsubscribed == asset_ids[:5]


async def test_undrained_updates_are_bounded(
    tmp_path: Path, push_subscriptions: PushSubscriptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_subscriptions_module, "UPDATES_MAX", 3)
    with push_subscriptions.open_channel("websocket"):
        for number in range(5):
            push_subscriptions.put(f"c{number}", READY)
    assert push_subscriptions.generation == 2
    assert set(push_subscriptions.drain()) == {"c3", "c4"}


async def test_a_connection_is_replaced_at_its_maximum_age(
    tmp_path: Path, push_subscriptions: PushSubscriptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_client_module, "CONNECTION_AGE_MAX_S", 0.05)
    async with (
        push_server(tmp_path / "s") as server,
        running(create_push_client(push_subscriptions, tmp_path / "s", token="t0ken")),
    ):
        await until(push_subscriptions, is_open("websocket", generation=3))
    assert [head["authorization"] for head in server.heads[:3]] == ["Bearer t0ken"] * 3
    assert server.heads[0]["user-agent"] == "splootd"


async def test_without_a_websocket_the_event_stream_is_used(
    tmp_path: Path, push_subscriptions: PushSubscriptions
) -> None:
    async with (
        stream_server(tmp_path / "s") as sploot,
        running(create_push_client(push_subscriptions, tmp_path / "s", token="t0ken")),
    ):
        await until(push_subscriptions, is_open("sse"))
        assert sploot.paths() == [
            push_client_module.WEBSOCKET_PATH,
            push_client_module.SSE_PATH,
        ]  # no ids in the URL: all updates
        assert sploot.headers("authorization") == ["Bearer t0ken"] * 2
        sploot.events.put_nowait(":heartbeat 1795374527501\n\n")
        sploot.put('{"type":"embedding-update","assetId":"c1","status":"pending","hasEmbedding":false}')
        sploot.put(update("c2", "failed", error="no"))
        found = await collect_updates(push_subscriptions, "c1", "c2")
        assert found["c1"].status is EmbeddingStatus.PENDING
        assert found["c2"] == EmbeddingReport(EmbeddingStatus.FAILED, "no")
        push_subscriptions.subscribe(["c3"])
        assert not push_subscriptions.is_subscribed("c3")


async def test_the_refused_websocket_is_closed_before_the_event_stream_opens(
    tmp_path: Path, push_subscriptions: PushSubscriptions
) -> None:
    """So the push channel is one connection at any instant, beside the four that carry requests."""
    opened: list[tuple[asyncio.StreamWriter, select.poll]] = []
    open_counts: list[int] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (poll := select.poll()).register(writer.get_extra_info("socket").fileno(), select.POLLRDHUP)
        opened.append((writer, poll))
        head = await reader.readuntil(b"\r\n\r\n")
        open_counts.append(sum(not each.poll(0) for _, each in opened))  # as the kernel knows it
        is_stream = push_client_module.SSE_PATH.encode() in head
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" if is_stream else NOT_FOUND)

    async with (
        await asyncio.start_unix_server(accept, tmp_path / "s"),
        running(create_push_client(push_subscriptions, tmp_path / "s")),
    ):
        await until(push_subscriptions, is_open("sse"))
    for writer, _ in opened:
        writer.close()
    assert open_counts == [1, 1]


async def test_a_broken_stream_resumes_with_the_last_event_id(
    tmp_path: Path, push_subscriptions: PushSubscriptions, pauses: Pauses
) -> None:
    async with stream_server(tmp_path / "s") as sploot, running(create_push_client(push_subscriptions, tmp_path / "s")):
        await until(push_subscriptions, is_open("sse"))
        sploot.put(update("c1"), event_id="series-1")
        await collect_updates(push_subscriptions, "c1")
        sploot.events.put_nowait(None)
        await until(push_subscriptions, is_open("sse", generation=2))
        sploot.put(update("c2"))
        await collect_updates(push_subscriptions, "c2")
    assert sploot.headers("last-event-id")[1::2] == ["", "series-1"]
    assert pauses.seconds == [DELAYS_S[0]]


async def test_a_silent_stream_is_closed_after_a_timeout(
    tmp_path: Path, push_subscriptions: PushSubscriptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_client_module, "STREAM_READ_TIMEOUT_S", 0.05)
    async with stream_server(tmp_path / "s"), running(create_push_client(push_subscriptions, tmp_path / "s")):
        await until(push_subscriptions, is_open("sse", generation=2))


@pytest.mark.parametrize(
    "faults",
    [
        {"stream_status": "404 Not Found"},
        {"stream_type": "text/html"},
        {"socket_status": "426 Upgrade Required", "stream_status": "405 Method Not Allowed"},
    ],
)
async def test_a_server_without_a_push_channel_is_retried_rarely(
    tmp_path: Path, push_subscriptions: PushSubscriptions, pauses: Pauses, faults: dict[str, str]
) -> None:
    async with stream_server(tmp_path / "s", **faults), running(create_push_client(push_subscriptions, tmp_path / "s")):
        assert await pauses.until(3) == [SLOW_RETRY_S] * 3
    assert (push_subscriptions.state, push_subscriptions.generation) == ("polling", 1)


@pytest.mark.parametrize("answer", ["502 Bad Gateway", "503 Service Unavailable", "429 Too Many Requests"])
async def test_a_temporary_server_error_is_retried_soon(
    tmp_path: Path, push_subscriptions: PushSubscriptions, pauses: Pauses, answer: str
) -> None:
    async with (
        stream_server(tmp_path / "s", socket_status=answer, stream_status=answer) as sploot,
        running(create_push_client(push_subscriptions, tmp_path / "s")),
    ):
        assert await pauses.until(2) == [*DELAYS_S[:2]]
        sploot.stream_status = "200 OK"
        await until(push_subscriptions, lambda push_subscriptions: push_subscriptions.state == "sse")


@asynccontextmanager
async def redirecting(target: str, folder: Path) -> AsyncIterator[StreamServer]:
    where = f"location: http://{target}/elsewhere\r\n"
    async with stream_server(
        folder / "s",
        socket_status="307 Temporary Redirect",
        socket_headers=where.replace("http", "ws"),
        stream_status="307 Temporary Redirect",
        stream_headers=where,
    ) as server:
        yield server


async def test_a_redirect_is_not_followed_because_the_token_is_for_this_server_only(
    tmp_path: Path, push_subscriptions: PushSubscriptions, pauses: Pauses
) -> None:
    elsewhere = StreamServer()
    listener = await asyncio.start_server(elsewhere.accept, "127.0.0.1", 0)
    target = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    push_client = create_push_client(push_subscriptions, tmp_path / "s", token="t0ken")
    async with listener, redirecting(target, tmp_path) as server, running(push_client):
        await pauses.until(1)
    assert len(server.heads) >= 2
    assert elsewhere.heads == []


async def test_a_rejected_token_is_refreshed_before_the_next_connection(
    tmp_path: Path, push_subscriptions: PushSubscriptions, pauses: Pauses
) -> None:
    kept = tmp_path / "count"
    command = f"echo x >> {kept}; echo token-$(wc -l < {kept} | tr -d ' ')"
    push_client = create_push_client(push_subscriptions, tmp_path / "s", token_command=command)
    async with stream_server(tmp_path / "s", socket_headers=SIGNED_OUT) as sploot, running(push_client):
        await pauses.until(1)
        sploot.socket_headers = ""
        await until(push_subscriptions, is_open("sse"))
    assert sploot.headers("authorization")[:2] == ["Bearer token-1", "Bearer token-2"]
    assert sploot.paths()[:2] == [push_client_module.WEBSOCKET_PATH] * 2


async def test_it_waits_until_the_server_is_reachable(tmp_path: Path, push_subscriptions: PushSubscriptions) -> None:
    async with push_server(tmp_path / "s") as server:
        push_client, allowed = create_push_client(push_subscriptions, tmp_path / "s"), asyncio.Event()
        push_client._wait_until_reachable = allowed.wait  # type: ignore[assignment]  # its result is not used
        async with running(push_client):
            for _ in range(10):
                await asyncio.sleep(0)
            assert server.heads == []
            allowed.set()
            await until(push_subscriptions, is_open("websocket"))


async def test_a_server_that_accepts_and_never_responds_is_given_up(
    tmp_path: Path, push_subscriptions: PushSubscriptions, pauses: Pauses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It accepts the connection and never sends a byte, not even a pong."""
    monkeypatch.setattr(push_client_module, "OPEN_TIMEOUT_S", 0.05)
    silent: list[asyncio.StreamWriter] = []

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent.append(writer)

    monkeypatch.setattr(push_client_module, "STREAM_READ_TIMEOUT_S", 0.05)
    listener = await asyncio.start_unix_server(accept, str(tmp_path / "s"))
    async with listener, running(create_push_client(push_subscriptions, tmp_path / "s")):
        await pauses.until(2)
        assert len(silent) >= 4  # each time for a WebSocket, then for a stream
        for writer in silent:  # before the listener, whose close waits for them
            writer.transport.abort()
