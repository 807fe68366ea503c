"""News between processes: one exam for what the database tells by itself and for Redis, both real."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import postgres
import pytest
from redis_server import RedisServer
from sploot_server import notify
from sploot_server.assets.postgres.assets import PostgresAssets
from sploot_server.assets.postgres.database import PostgresDatabase
from sploot_server.assets.sqlite import new_id
from sploot_server.config import ConfigError
from sploot_server.model import NewAsset
from sploot_server.notify import Kind, News, Notifier, Relay
from sploot_server.notify_postgres import postgres_line
from sploot_server.notify_redis import redis_at, redis_line
from sploot_server.serve import running

LIMIT_S = 20


class Listener:
    """Another process, as far as the news can tell."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.news = Notifier(relay.carry)
        self.heard: asyncio.Queue[str | None] = asyncio.Queue()
        self.work: asyncio.Queue[str] = asyncio.Queue()

    async def next(self) -> str | None:
        async with asyncio.timeout(LIMIT_S):
            return await self.heard.get()


@contextlib.asynccontextmanager
async def listening(relay: Relay) -> AsyncIterator[Listener]:
    """A listener that has been told to look once, as it is at the beginning of each line."""
    it = Listener(relay)
    with it.news.hear(it.heard.put_nowait), it.news.hear_work(lambda: it.work.put_nowait("work")):
        async with running(relay.run(it.news)):
            assert await it.next() is None
            assert it.work.get_nowait() == "work"
            yield it


@pytest.fixture
async def database() -> AsyncIterator[PostgresDatabase]:
    database = PostgresDatabase(await postgres.empty_database())
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "contextlib.Generator[RedisServer]":
    server = RedisServer(tmp_path)
    yield server
    server.kill()


@pytest.fixture(params=["postgres", "redis"])
def new_relay(request: pytest.FixtureRequest) -> Callable[[], Relay]:
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis")
        return lambda: Relay(partial(redis_line, server.url))
    database: PostgresDatabase = request.getfixturevalue("database")
    return lambda: Relay(partial(postgres_line, database))


async def test_what_changes_here_is_heard_there_once_and_here_once(new_relay: Callable[[], Relay]) -> None:
    async with listening(new_relay()) as here, listening(new_relay()) as there:
        for name in ("a", "b", "c"):
            here.news.publish(name)
        assert [await there.next() for _ in range(3)] == ["a", "b", "c"]
        there.news.publish("d")
        assert [await here.next() for _ in range(4)] == ["a", "b", "c", "d"]
        assert (here.heard.qsize(), there.heard.qsize()) == (0, 1)


async def test_whoever_waits_for_an_asset_hears_of_it_from_another_process(new_relay: Callable[[], Relay]) -> None:
    async with listening(new_relay()) as here, listening(new_relay()) as there:
        with there.news.subscribe("a") as event, there.news.subscribe("b") as other:
            here.news.publish("a")
            await asyncio.wait_for(event.wait(), LIMIT_S)
            assert not other.is_set()


async def test_redis_carries_ends_and_work_too(redis: RedisServer) -> None:
    relay = partial(Relay, partial(redis_line, redis.url))
    async with listening(relay()) as here, listening(relay()) as there:
        here.news.publish_end("a")
        assert await there.next() is None
        here.news.publish_work()
        await asyncio.wait_for(there.work.get(), LIMIT_S)


async def test_the_database_tells_by_itself_what_is_stored_in_it(database: PostgresDatabase) -> None:
    """Whoever writes: these statements might as well be typed into psql."""
    async with listening(Relay(partial(postgres_line, database))) as it:
        new = NewAsset(new_id(), "0" * 64, "x.jpg", "image/jpeg", 9, ())
        asset = (await PostgresAssets(database).add(new, now_ms=1)).asset
        await asyncio.wait_for(it.work.get(), LIMIT_S)
        with it.news.subscribe(asset.id) as event:
            await database.fetch("UPDATE embeddings SET state = 'ready', model = 'by hand', text = ''")
            await asyncio.wait_for(event.wait(), LIMIT_S)
        assert await it.next() is None


async def test_a_redis_that_was_killed_is_found_again_and_all_look_for_what_they_missed(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "PAUSES_S", (0.05,))
    relay = partial(Relay, partial(redis_line, redis.url))
    async with listening(relay()) as here, listening(relay()) as there:
        await asyncio.to_thread(redis.kill)
        await asyncio.to_thread(redis.start)
        assert await there.next() is None
        assert await here.next() is None
        here.news.publish("a")
        assert await there.next() == "a"


async def test_a_line_can_be_given_up_at_any_step_of_its_making(new_relay: Callable[[], Relay]) -> None:
    """Else a server that is told to stop, or that will not start, would hang while Redis is being connected to."""
    async with asyncio.timeout(LIMIT_S):
        for steps in range(40):
            async with running(new_relay().run(Notifier())):
                for _ in range(steps):
                    await asyncio.sleep(0)


async def test_a_session_that_the_database_ends_is_made_anew(
    database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "PAUSES_S", (0.05,))
    async with listening(Relay(partial(postgres_line, database))) as it:
        await database.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE 'LISTEN%' AND datname = current_database()"
        )
        assert await it.next() is None
        assert it.relay.connected


async def test_news_that_cannot_be_carried_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "OUTBOX_MAX", 3)
    relay = Relay(partial(redis_line, "unix:///nowhere"))
    for number in range(9):
        relay.carry(News(Kind.CHANGED, str(number)))
    assert [relay._outbox.get_nowait().asset_id for _ in range(3)] == ["6", "7", "8"]


def test_what_is_no_address_of_a_redis_is_refused_with_an_example() -> None:
    with pytest.raises(ConfigError, match="redis://host:6379"):
        redis_at("http://localhost")
