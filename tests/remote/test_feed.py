"""The push channel on the real wire: servers that drop, delay, reorder and repeat, and servers that have none."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from livekit import live_library
from pushkit import (
    LIMIT_S,
    SIGNED_OUT,
    StreamServer,
    feed_to,
    push_server,
    running,
    saying,
    stream_server,
    until,
    update,
)
from websockets.asyncio.server import ServerConnection

from splootd.bus import Bell
from splootd.core.reconnect import DELAYS_S, RARELY_S
from splootd.remote import feed as feeds
from splootd.remote import inbox as inboxes
from splootd.remote.answers import EmbeddingReport, EmbeddingStatus
from splootd.remote.inbox import Inbox

READY = EmbeddingReport(EmbeddingStatus.READY)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox(Bell())


class Pauses:
    """The seconds that feeds would have waited before they connected again."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._bell = Bell()

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self._bell.ring()
        await asyncio.sleep(0)

    async def until(self, count: int) -> list[float]:
        """The first `count` of them."""
        async with asyncio.timeout(LIMIT_S):
            while len(self.seconds) < count:
                await self._bell.wait(self._bell.ticket(), None)
        return self.seconds[:count]


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    paused = Pauses()
    monkeypatch.setattr(feeds, "sleep", paused.sleep)
    monkeypatch.setattr(random, "random", lambda: 0.5)
    return paused


def is_open(state: str, epoch: int = 1) -> Callable[[Inbox], bool]:
    return lambda inbox: inbox.state == state and inbox.epoch >= epoch


async def heard(inbox: Inbox, *asset_ids: str) -> dict[str, EmbeddingReport]:
    """Everything that comes, until there is news of all these."""
    found: dict[str, EmbeddingReport] = {}

    def is_all(inbox: Inbox) -> bool:
        found.update(inbox.take())
        return set(asset_ids) <= set(found)

    await until(inbox, is_all)
    return found


@pytest.mark.parametrize("tcp", [False, True])
async def test_the_real_library_tells_of_what_ends_and_of_what_has_ended(
    tmp_path: Path, inbox: Inbox, *, tcp: bool
) -> None:
    async with live_library(tmp_path / "library", hold=True, tcp=tcp) as library:
        feed = feed_to(inbox, library.config.uds or tmp_path / "none", url=library.url if tcp else "")
        async with running(feed):
            await until(inbox, is_open("websocket"))
            asset, other = await library.upload("cat"), await library.upload("dog")
            inbox.watch([asset])
            assert library.embedder.hold is not None
            library.embedder.hold.set()
            assert await heard(inbox, asset) == {asset: READY}
            inbox.watch([other, "nobody"])
            found = await heard(inbox, other, "nobody")
            assert found[other] == READY
            assert found["nobody"].status is EmbeddingStatus.UNKNOWN


async def test_nothing_is_left_at_the_server_after_an_unsubscribe_and_an_end(tmp_path: Path, inbox: Inbox) -> None:
    async with live_library(tmp_path / "library") as library:
        assert library.config.uds is not None
        async with running(feed_to(inbox, library.config.uds)):
            await until(inbox, is_open("websocket"))
            asset = await library.upload("cat")
            inbox.watch([asset, "c2"])
            await heard(inbox, asset, "c2")
            (listener,) = library.updates._listeners
            assert listener.ids == {asset, "c2"}
            inbox.unwatch([asset, "c2"])
            inbox.watch(["c3"])
            await heard(inbox, "c3")
            assert listener.ids == {"c3"}
        await library.until_listening(0)
    assert inbox.state == "polling"
    assert not inbox.watches("c3")


async def test_after_a_loss_it_comes_back_in_a_new_epoch_and_watches_nothing_of_before(
    tmp_path: Path, inbox: Inbox, pauses: Pauses
) -> None:
    async with running(feed_to(inbox, tmp_path / "s")):
        for epoch in (1, 2, 3):
            async with live_library(tmp_path / "library", socket=tmp_path / "s") as library:
                await until(inbox, lambda inbox: inbox.state == "websocket")
                assert inbox.epoch >= epoch
                asset = await library.upload(f"cat {epoch}")
                inbox.watch([asset])
                assert await heard(inbox, asset) == {asset: READY}
            await pauses.until(len(pauses.seconds) + 1)
            assert not inbox.watches(asset)
    assert pauses.seconds[0] == DELAYS_S[0]


async def test_without_an_answer_it_is_tried_after_1_2_4_8_16_seconds_and_then_rarely(
    tmp_path: Path, inbox: Inbox, pauses: Pauses
) -> None:
    async with running(feed_to(inbox, tmp_path / "nowhere")):
        assert await pauses.until(9) == [*DELAYS_S, RARELY_S, RARELY_S, RARELY_S, RARELY_S]
    assert inbox.epoch == 1  # when it was given up for now: what was left to it must be asked about
    assert inbox.state == "polling"


async def test_a_server_that_drops_each_line_is_not_asked_more_often(
    tmp_path: Path, inbox: Inbox, pauses: Pauses
) -> None:
    async with push_server(tmp_path / "s", saying()) as server, running(feed_to(inbox, tmp_path / "s")):
        assert await pauses.until(7) == [*DELAYS_S, RARELY_S, RARELY_S]
    assert len(server.heads) >= 7


async def test_what_comes_twice_or_late_or_broken_is_heard_once_and_as_it_was_last(
    tmp_path: Path, inbox: Inbox
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
    async with push_server(tmp_path / "s", saying(*strange)), running(feed_to(inbox, tmp_path / "s")):
        found = await heard(inbox, "c1", "c2")
    assert found["c2"] == READY
    assert found["c1"].status in {EmbeddingStatus.PROCESSING, EmbeddingStatus.FAILED}
    assert set(found) == {"c1", "c2"}


async def test_a_message_without_end_costs_the_line_and_no_more(tmp_path: Path, inbox: Inbox) -> None:
    endless = saying(update("c1", error="x" * feeds.MESSAGE_BYTES_MAX))
    async with push_server(tmp_path / "s", endless, saying(update("c2"))), running(feed_to(inbox, tmp_path / "s")):
        assert set(await heard(inbox, "c2")) == {"c2"}


async def test_a_server_that_refuses_to_push_is_left_and_tried_again(
    tmp_path: Path, inbox: Inbox, pauses: Pauses
) -> None:
    async with push_server(tmp_path / "s") as server, running(feed_to(inbox, tmp_path / "s")):
        server.talks = [refusing, server.listen]
        await until(inbox, is_open("websocket", epoch=2))
        assert pauses.seconds == [DELAYS_S[0]]


async def refusing(line: ServerConnection) -> None:
    await line.send('{"type":"error","error":"too many"}')
    async for _ in line:
        pass


async def test_ten_thousand_assets_are_one_connection_and_few_messages(tmp_path: Path, inbox: Inbox) -> None:
    asset_ids = [f"c{number:024}" for number in range(12_000)]
    async with push_server(tmp_path / "s") as server, running(feed_to(inbox, tmp_path / "s")):
        await until(inbox, is_open("websocket"))
        inbox.watch(asset_ids)
        await server.until(lambda server: len(server.subscribed()) >= inboxes.WATCHED_MAX)
        assert server.subscribed() == asset_ids[: inboxes.WATCHED_MAX]
        assert len(server.heads) == 1
        assert len(server.said) == inboxes.WATCHED_MAX / feeds.IDS_PER_MESSAGE_MAX
        inbox.unwatch(asset_ids[:5])
        inbox.watch(asset_ids[-2:])
        await server.until(lambda server: server.subscribed()[-2:] == asset_ids[-2:])
        (gone,) = [message["assetIds"] for message in server.said if message["type"] == "unsubscribe"]
        assert gone == asset_ids[:5]


async def test_news_that_nobody_takes_are_not_kept_without_end(
    tmp_path: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inboxes, "HEARD_MAX", 3)
    with inbox.open("websocket"):
        for number in range(5):
            inbox.put(f"c{number}", READY)
    assert inbox.epoch == 2
    assert set(inbox.take()) == {"c3", "c4"}


async def test_a_connection_is_made_anew_from_time_to_time(
    tmp_path: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "CONNECTION_S_MAX", 0.05)
    async with push_server(tmp_path / "s") as server, running(feed_to(inbox, tmp_path / "s", token="t0ken")):
        await until(inbox, is_open("websocket", epoch=3))
    assert [head["authorization"] for head in server.heads[:3]] == ["Bearer t0ken"] * 3
    assert server.heads[0]["user-agent"] == "splootd"


async def test_sploot_has_no_websocket_so_its_stream_is_read(tmp_path: Path, inbox: Inbox) -> None:
    async with (
        stream_server(tmp_path / "s") as sploot,
        running(feed_to(inbox, tmp_path / "s", token="t0ken")),
    ):
        await until(inbox, is_open("sse"))
        assert sploot.paths() == [feeds.SOCKET_PATH, feeds.STREAM_PATH]  # all updates: no ids in the address
        assert sploot.headers("authorization") == ["Bearer t0ken"] * 2
        sploot.events.put_nowait(":heartbeat 1795374527501\n\n")
        sploot.put('{"type":"embedding-update","assetId":"c1","status":"pending","hasEmbedding":false}')
        sploot.put(update("c2", "failed", error="no"))
        found = await heard(inbox, "c1", "c2")
        assert found["c1"].status is EmbeddingStatus.PENDING
        assert found["c2"] == EmbeddingReport(EmbeddingStatus.FAILED, "no")
        inbox.watch(["c3"])
        assert not inbox.watches("c3")


async def test_a_stream_that_is_cut_off_is_opened_again_where_it_ended(
    tmp_path: Path, inbox: Inbox, pauses: Pauses
) -> None:
    async with stream_server(tmp_path / "s") as sploot, running(feed_to(inbox, tmp_path / "s")):
        await until(inbox, is_open("sse"))
        sploot.put(update("c1"), mark="series-1")
        await heard(inbox, "c1")
        sploot.events.put_nowait(None)
        await until(inbox, is_open("sse", epoch=2))
        sploot.put(update("c2"))
        await heard(inbox, "c2")
    assert sploot.headers("last-event-id")[1::2] == ["", "series-1"]
    assert pauses.seconds == [DELAYS_S[0]]


async def test_a_silent_stream_is_given_up(tmp_path: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "STREAM_SILENCE_S", 0.05)
    async with stream_server(tmp_path / "s"), running(feed_to(inbox, tmp_path / "s")):
        await until(inbox, is_open("sse", epoch=2))


@pytest.mark.parametrize(
    "faults",
    [
        {"stream_answer": "404 Not Found"},
        {"stream_kind": "text/html"},
        {"socket_answer": "426 Upgrade Required", "stream_answer": "405 Method Not Allowed"},
    ],
)
async def test_a_server_without_any_channel_is_asked_rarely(
    tmp_path: Path, inbox: Inbox, pauses: Pauses, faults: dict[str, str]
) -> None:
    async with stream_server(tmp_path / "s", **faults), running(feed_to(inbox, tmp_path / "s")):
        assert await pauses.until(3) == [RARELY_S] * 3
    assert (inbox.state, inbox.epoch) == ("polling", 1)


@pytest.mark.parametrize("answer", ["502 Bad Gateway", "503 Service Unavailable", "429 Too Many Requests"])
async def test_a_server_that_is_only_sick_or_busy_is_tried_again_soon(
    tmp_path: Path, inbox: Inbox, pauses: Pauses, answer: str
) -> None:
    async with (
        stream_server(tmp_path / "s", socket_answer=answer, stream_answer=answer) as sploot,
        running(feed_to(inbox, tmp_path / "s")),
    ):
        assert await pauses.until(2) == [*DELAYS_S[:2]]
        sploot.stream_answer = "200 OK"
        await until(inbox, lambda inbox: inbox.state == "sse")


@asynccontextmanager
async def redirecting(target: str, folder: Path) -> AsyncIterator[StreamServer]:
    where = f"location: http://{target}/elsewhere\r\n"
    async with stream_server(
        folder / "s",
        socket_answer="307 Temporary Redirect",
        socket_headers=where.replace("http", "ws"),
        stream_answer="307 Temporary Redirect",
        stream_headers=where,
    ) as server:
        yield server


async def test_a_redirect_is_not_followed_the_token_is_for_this_server_alone(
    tmp_path: Path, inbox: Inbox, pauses: Pauses
) -> None:
    elsewhere = StreamServer()
    listener = await asyncio.start_server(elsewhere.accept, "127.0.0.1", 0)
    target = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    feed = feed_to(inbox, tmp_path / "s", token="t0ken")
    async with listener, redirecting(target, tmp_path) as server, running(feed):
        await pauses.until(1)
    assert len(server.heads) >= 2
    assert elsewhere.heads == []


async def test_whoever_is_not_known_comes_back_with_the_next_token(
    tmp_path: Path, inbox: Inbox, pauses: Pauses
) -> None:
    kept = tmp_path / "count"
    command = f"echo x >> {kept}; echo token-$(wc -l < {kept} | tr -d ' ')"
    feed = feed_to(inbox, tmp_path / "s", token_command=command)
    async with stream_server(tmp_path / "s", socket_headers=SIGNED_OUT) as sploot, running(feed):
        await pauses.until(1)
        sploot.socket_headers = ""
        await until(inbox, is_open("sse"))
    assert sploot.headers("authorization")[:2] == ["Bearer token-1", "Bearer token-2"]
    assert sploot.paths()[:2] == [feeds.SOCKET_PATH] * 2


async def test_it_waits_until_the_server_may_be_spoken_to(tmp_path: Path, inbox: Inbox) -> None:
    async with push_server(tmp_path / "s") as server:
        feed, allowed = feed_to(inbox, tmp_path / "s"), asyncio.Event()
        feed._allowed = allowed.wait  # type: ignore[assignment]  # that it gives True is nobody's business
        async with running(feed):
            for _ in range(10):
                await asyncio.sleep(0)
            assert server.heads == []
            allowed.set()
            await until(inbox, is_open("websocket"))


async def test_a_half_dead_server_is_noticed(
    tmp_path: Path, inbox: Inbox, pauses: Pauses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has accepted the connection, and says no word; not even to a ping."""
    monkeypatch.setattr(feeds, "OPEN_S", 0.05)
    silent: list[asyncio.StreamWriter] = []

    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent.append(writer)

    monkeypatch.setattr(feeds, "STREAM_SILENCE_S", 0.05)
    listener = await asyncio.start_unix_server(accept, str(tmp_path / "s"))
    async with listener, running(feed_to(inbox, tmp_path / "s")):
        await pauses.until(2)
        assert len(silent) >= 4  # each time for a WebSocket, then for a stream
        for writer in silent:  # before the listener, which waits for them
            writer.transport.abort()
