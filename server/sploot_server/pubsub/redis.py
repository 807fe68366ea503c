"""Event relay through one Redis pub/sub channel. Redis stores no messages: disconnected subscribers miss them."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from sploot_server.config import ConfigError
from sploot_server.domain.entities import BackendUnavailable
from sploot_server.measurements import Measurements
from sploot_server.pubsub.broker import Event, EventKind

CHANNEL = "sploot:events"
CONNECT_TIMEOUT_S = 5.0
PING_INTERVAL_S = 15.0  # after this silence the relay pings to detect a broken connection


class RedisRelayConnection:
    """Relay connection that ignores its own events, which Redis also delivers to their sender."""

    def __init__(
        self, redis: Redis, pubsub: PubSub, deliver: Callable[[Event], None], measurements: Measurements
    ) -> None:
        self._measurements = measurements
        self._redis = redis
        self._pubsub = pubsub
        self._deliver = deliver
        self._sender_id = secrets.token_hex(8)

    async def send(self, event: Event) -> None:
        with map_redis_errors(), self._measurements.timed("redis", "publish"):
            await await_cancellable(self._redis.publish(CHANNEL, f"{self._sender_id} {event.kind} {event.asset_id}"))

    async def receive(self) -> None:
        with map_redis_errors():
            while True:
                message = await await_cancellable(
                    self._pubsub.get_message(ignore_subscribe_messages=True, timeout=PING_INTERVAL_S)
                )
                if message is None:
                    await await_cancellable(self._pubsub.ping())
                elif message["type"] == "message":
                    self._on_payload(message["data"])

    def _on_payload(self, data: bytes) -> None:
        sender_id, kind, asset_id = data.decode().split(" ", 2)
        if sender_id != self._sender_id and kind in frozenset(EventKind):
            self._deliver(Event(EventKind(kind), asset_id))


@contextlib.asynccontextmanager
async def connect_redis(
    url: str, deliver: Callable[[Event], None], *, measurements: Measurements | None = None
) -> AsyncIterator[RedisRelayConnection]:
    """Open a relay connection to the Redis at `url`. Raise BackendUnavailable."""
    redis = create_redis_client(url)
    try:
        with map_redis_errors():
            pubsub = redis.pubsub()
            await await_cancellable(pubsub.subscribe(CHANNEL))
        try:
            yield RedisRelayConnection(redis, pubsub, deliver, measurements or Measurements())
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]  # as the library has it
    finally:
        await redis.aclose()


def create_redis_client(url: str) -> Redis:
    """Return a client. Raise ConfigError for an invalid URL."""
    try:
        # The client must not retry on its own: the relay has to see each reconnection, because it must resync then.
        return Redis.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            socket_timeout=2 * PING_INTERVAL_S,
        )
    except ValueError as error:
        raise ConfigError(f"--events is not a valid Redis URL; expected redis://host:6379 ({error}).") from error


async def await_cancellable(awaitable: Awaitable[Any]) -> Any:
    """Await a call of the Redis client. Raise CancelledError if the task was cancelled meanwhile.

    The client uses `asyncio.wait_for`, which before Python 3.12 loses a cancellation that arrives as it completes.
    Without this check the relay would keep running after `cancel`, and the shutdown would wait forever.
    """
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    result = await awaitable
    if task.cancelling() > before:
        raise asyncio.CancelledError
    return result


@contextlib.contextmanager
def map_redis_errors() -> Iterator[None]:
    """Convert errors of the client to BackendUnavailable."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise BackendUnavailable(f"Redis cannot be reached: {error}") from error
