"""News between processes through Redis: one channel, which nobody stores."""

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
from sploot_server.model import Unreachable
from sploot_server.notify import Kind, News

CHANNEL = "sploot:news"
CONNECT_S_MAX = 5.0
SILENCE_S_MAX = 15.0  # then the line is tried


class RedisLine:
    """A line that knows its own news by a name, and does not pass them on again."""

    def __init__(self, redis: Redis, heard: PubSub, tell: Callable[[News], None]) -> None:
        self._redis = redis
        self._heard = heard
        self._tell = tell
        self._name = secrets.token_hex(8)

    async def send(self, news: News) -> None:
        with reachable():
            await still_wanted(self._redis.publish(CHANNEL, f"{self._name} {news.kind} {news.asset_id}"))

    async def hear(self) -> None:
        with reachable():
            while True:
                message = await still_wanted(
                    self._heard.get_message(ignore_subscribe_messages=True, timeout=SILENCE_S_MAX)
                )
                if message is None:
                    await still_wanted(self._heard.ping())
                elif message["type"] == "message":
                    self._pass_on(message["data"])

    def _pass_on(self, data: bytes) -> None:
        name, kind, asset_id = data.decode().split(" ", 2)
        if name != self._name and kind in frozenset(Kind):
            self._tell(News(Kind(kind), asset_id))


@contextlib.asynccontextmanager
async def redis_line(url: str, tell: Callable[[News], None]) -> AsyncIterator[RedisLine]:
    """A line through the Redis at `url`. Raises Unreachable."""
    redis = redis_at(url)
    try:
        with reachable():
            heard = redis.pubsub()
            await still_wanted(heard.subscribe(CHANNEL))
        try:
            yield RedisLine(redis, heard, tell)
        finally:
            await heard.aclose()  # type: ignore[no-untyped-call]  # as the library has it
    finally:
        await redis.aclose()


def redis_at(url: str) -> Redis:
    """Raises ConfigError for what is no address of a Redis."""
    try:
        # Retries are the relay's, which knows that what was told meanwhile is missed.
        return Redis.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=CONNECT_S_MAX,
            socket_timeout=2 * SILENCE_S_MAX,
        )
    except ValueError as error:
        raise ConfigError(
            f"--events is no address of a Redis; it should look like redis://host:6379 ({error})."
        ) from error


async def still_wanted(answer: Awaitable[Any]) -> Any:
    """What Redis answers. Raises CancelledError if it was cancelled meanwhile, even if nobody below has noticed.

    The client sends through `asyncio.wait_for`, which before Python 3.12 loses a cancellation that comes as it ends.
    """
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    answered = await answer
    if task.cancelling() > before:
        raise asyncio.CancelledError
    return answered


@contextlib.contextmanager
def reachable() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise Unreachable(f"Redis cannot be reached: {error}") from error
