"""Event relays between processes: the same tests for PostgreSQL and for Redis, both real."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import postgres
import pytest
from redis_server import RedisServer
from sploot_server.app import background_task
from sploot_server.config import ConfigError
from sploot_server.domain.entities import NewAsset, new_id
from sploot_server.pubsub import broker
from sploot_server.pubsub.broker import Broker, Event, EventKind, EventRelay
from sploot_server.pubsub.postgres import connect_postgres
from sploot_server.pubsub.redis import connect_redis, create_redis_client
from sploot_server.storage.postgres.assets import PostgresAssets
from sploot_server.storage.postgres.database import PostgresDatabase

LIMIT_S = 20


class Process:
    """Stand-in for one process: a broker with a relay and a subscriber."""

    def __init__(self, relay: EventRelay) -> None:
        self.relay = relay
        self.broker = Broker(relay.forward)
        self.events: asyncio.Queue[str | None] = asyncio.Queue()
        self.jobs: asyncio.Queue[str] = asyncio.Queue()

    async def next(self) -> str | None:
        async with asyncio.timeout(LIMIT_S):
            return await self.events.get()


@contextlib.asynccontextmanager
async def connected(relay: EventRelay) -> AsyncIterator[Process]:
    """Run a process that has received the resync at the start of its relay connection."""
    process = Process(relay)
    with (
        process.broker.on_event(process.events.put_nowait),
        process.broker.on_job_added(lambda: process.jobs.put_nowait("job")),
    ):
        async with background_task(relay.run(process.broker)):
            assert await process.next() is None
            assert process.jobs.get_nowait() == "job"
            yield process


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
def new_relay(request: pytest.FixtureRequest) -> Callable[[], EventRelay]:
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis")
        return lambda: EventRelay(partial(connect_redis, server.url))
    database: PostgresDatabase = request.getfixturevalue("database")
    return lambda: EventRelay(partial(connect_postgres, database))


async def test_each_process_receives_an_event_once(new_relay: Callable[[], EventRelay]) -> None:
    async with connected(new_relay()) as here, connected(new_relay()) as there:
        for name in ("a", "b", "c"):
            here.broker.publish(name)
        assert [await there.next() for _ in range(3)] == ["a", "b", "c"]
        there.broker.publish("d")
        assert [await here.next() for _ in range(4)] == ["a", "b", "c", "d"]
        assert (here.events.qsize(), there.events.qsize()) == (0, 1)


async def test_a_waiter_for_an_asset_is_woken_by_another_process(new_relay: Callable[[], EventRelay]) -> None:
    async with connected(new_relay()) as here, connected(new_relay()) as there:
        with there.broker.subscribe("a") as event, there.broker.subscribe("b") as other:
            here.broker.publish("a")
            await asyncio.wait_for(event.wait(), LIMIT_S)
            assert not other.is_set()


async def test_redis_relays_completions_and_jobs_too(redis: RedisServer) -> None:
    relay = partial(EventRelay, partial(connect_redis, redis.url))
    async with connected(relay()) as here, connected(relay()) as there:
        here.broker.publish_completion("a")
        assert await there.next() is None
        here.broker.publish_job_added()
        await asyncio.wait_for(there.jobs.get(), LIMIT_S)


async def test_triggers_of_the_database_publish_what_is_stored_in_it(database: PostgresDatabase) -> None:
    """The writer does not matter: these statements could be typed into psql."""
    async with connected(EventRelay(partial(connect_postgres, database))) as process:
        new = NewAsset(new_id(), "0" * 64, "x.jpg", "image/jpeg", 9, ())
        asset = (await PostgresAssets(database).add(new, now_ms=1)).asset
        await asyncio.wait_for(process.jobs.get(), LIMIT_S)
        with process.broker.subscribe(asset.id) as event:
            await database.fetch("UPDATE embeddings SET state = 'ready', model = 'by hand', text = ''")
            await asyncio.wait_for(event.wait(), LIMIT_S)
        assert await process.next() is None


async def test_after_a_restart_of_redis_all_processes_reconnect_and_resync(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "RECONNECT_DELAYS_S", (0.05,))
    relay = partial(EventRelay, partial(connect_redis, redis.url))
    async with connected(relay()) as here, connected(relay()) as there:
        await asyncio.to_thread(redis.kill)
        await asyncio.to_thread(redis.start)
        assert await there.next() is None
        assert await here.next() is None
        here.broker.publish("a")
        assert await there.next() == "a"


async def test_connecting_can_be_cancelled_at_any_step(new_relay: Callable[[], EventRelay]) -> None:
    """Otherwise a server that stops while it connects to Redis would hang."""
    async with asyncio.timeout(LIMIT_S):
        for steps in range(40):
            async with background_task(new_relay().run(Broker())):
                for _ in range(steps):
                    await asyncio.sleep(0)


async def test_a_session_that_the_database_closes_is_reopened(
    database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "RECONNECT_DELAYS_S", (0.05,))
    async with connected(EventRelay(partial(connect_postgres, database))) as process:
        await database.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE 'LISTEN%' AND datname = current_database()"
        )
        assert await process.next() is None
        assert process.relay.connected


async def test_the_queue_of_a_disconnected_relay_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "OUTBOX_MAX", 3)
    relay = EventRelay(partial(connect_redis, "unix:///nowhere"))
    for number in range(9):
        relay.forward(Event(EventKind.CHANGED, str(number)))
    assert [relay._outbox.get_nowait().asset_id for _ in range(3)] == ["6", "7", "8"]


def test_an_invalid_redis_url_is_rejected_with_an_example() -> None:
    with pytest.raises(ConfigError, match="redis://host:6379"):
        create_redis_client("http://localhost")
