"""A machine for the daemon that runs on a clock of its own: time passes only when nothing can be done any more.

The event loop jumps to the next timer whenever all tasks wait. For that nothing may happen on threads, so the doors to
them are replaced: SQLite runs within the loop, on real files, and what would go to a thread is done in line. Each of
these doors takes a while, before and after, by chance: what a task finds done has mostly been done some time ago.
"""

import asyncio
import contextlib
import random
import selectors
import sqlite3
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Any
from unittest import mock

import httpx
from real_sploot import lasting, route_of
from scripted import Drop, Reply, Request

from splootd.clock import Clock
from splootd.core.item import shard_of

EPOCH = 1_800_000_000.0
LATENCY_S = 0.05
SELDOM = 0.15


class Stuck(Exception):
    """All tasks wait, and no timer will ever wake one."""


class JumpLoop(asyncio.SelectorEventLoop):
    """`time()` stands still while there is something to do, and jumps to the next timer when there is not."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(_Jumping(self))
        self._now = 0.0
        self._chance = chance

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """Done at once; known a little later."""
        future = self.create_future()
        try:
            result = func(*args)
        except BaseException as error:  # noqa: BLE001 - whatever a thread's work raises belongs to whoever waits for it
            self.call_later(pause_s(self._chance), _settle, future.set_exception, future, error)
        else:
            self.call_later(pause_s(self._chance), _settle, future.set_result, future, result)
        return future


def _settle(how: Callable[[Any], None], future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        how(value)


class _Jumping(selectors.DefaultSelector):  # type: ignore[misc, valid-type]  # which one it is, the system decides
    def __init__(self, loop: JumpLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise Stuck
        if not ready and timeout:
            self._loop.jump(timeout)
        return ready


def pause_s(chance: random.Random) -> float:
    """Nothing, mostly."""
    return chance.random() * LATENCY_S if chance.random() < SELDOM else 0.0


class SetClock(Clock):
    """The wall clock can be set, the other one goes on."""

    def __init__(self) -> None:
        self.off_s = 0.0

    def now(self) -> float:
        return EPOCH + asyncio.get_running_loop().time() + self.off_s


class Inline:
    """An aiosqlite connection without its thread, as far as the database uses it. When `dead`, it does nothing more."""

    def __init__(self, file: str, chance: random.Random, **options: Any) -> None:
        self._open = lambda: sqlite3.connect(file, **options)
        self._chance = chance
        self._conn: Any = None
        self.dead = False

    def __await__(self) -> Generator[Any, None, "Inline"]:
        self._conn = self._open()
        return self
        yield

    async def _execute(self, work: Callable[..., Any], *args: Any) -> Any:
        await lasting(pause_s(self._chance))
        if self.dead:
            raise asyncio.CancelledError
        result = work(*args)
        await lasting(pause_s(self._chance))
        return result

    async def interrupt(self) -> None:
        """Nothing ever runs while somebody else does."""

    async def close(self) -> None:
        self._conn.close()

    def kill(self) -> None:
        """The process that had it is no more: what was not committed never was."""
        self.dead = True
        self._conn.close()


class Network:
    """Takes what httpx asks to `handle`. It takes its time, and counts the lines that are in use at once."""

    def __init__(self, handle: Callable[[Request], Awaitable[Reply]], chance: random.Random) -> None:
        self.handle = handle
        self.chance = chance
        self.lines = 0
        self.lines_max = 0

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        self.lines += 1
        self.lines_max = max(self.lines_max, self.lines)
        try:
            yield
        finally:
            self.lines -= 1


class Lines(httpx.AsyncBaseTransport):
    """A pool of lines. The server answers whether or not anybody still waits for it."""

    def __init__(self, network: Network, lines_max: int) -> None:
        self._network = network
        self._chance = network.chance
        self._slots = asyncio.Semaphore(lines_max)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        async with self._slots:
            with self._network.used():
                return await self._exchange(request)

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        body = b"".join([piece async for piece in request.stream])
        target = request.url.raw_path.decode()
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Request(route_of(request.method, target), request.method, target, headers, body)
        await lasting(pause_s(self._chance))
        answering = asyncio.ensure_future(self._network.handle(asked))
        answering.add_done_callback(_heard)
        done, _ = await asyncio.wait([answering], timeout=request.extensions["timeout"]["read"])
        if not done:
            raise httpx.ReadTimeout("no answer")
        try:
            reply = answering.result()
        except (Drop, asyncio.CancelledError):
            kind = self._chance.choice([httpx.ReadError, httpx.RemoteProtocolError, httpx.WriteError])
            raise kind("the line broke") from None
        await lasting(pause_s(self._chance))
        return response_of(reply)


def _heard(answering: asyncio.Future[Reply]) -> None:
    if not answering.cancelled():
        answering.exception()


def response_of(reply: Reply) -> httpx.Response:
    head, _, body = reply.encoded().partition(b"\r\n\r\n")
    _, *lines = head.decode().split("\r\n")
    headers = [tuple(line.split(": ", 1)) for line in lines]
    return httpx.Response(reply.status, headers=headers, stream=_Body(body, is_whole=reply.cut is None))  # type: ignore[arg-type]


class _Body(httpx.AsyncByteStream):
    def __init__(self, body: bytes, *, is_whole: bool) -> None:
        self._body = body
        self._is_whole = is_whole

    async def __aiter__(self) -> Any:
        yield self._body
        if not self._is_whole:
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


@contextlib.contextmanager
def doors(
    chance: random.Random,
    opened: list[Inline],
    run: Callable[[str], Awaitable[str | None]],
    network: Network,
) -> Iterator[None]:
    """Replace the doors to threads, processes and the network.

    `opened` collects the connections to databases, `run` stands for the commands that print tokens, and `network`
    leads to whatever server there is. Shards follow from names alone: a seed means the same wherever its folder is.
    """

    def connect(file: str, **options: Any) -> Inline:
        opened.append(Inline(file, chance, **options))
        return opened[-1]

    def client(base: str, *, connections: int, read_s: float, **_: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=base, transport=Lines(network, connections), timeout=read_s)

    with (
        mock.patch("aiosqlite.connect", connect),
        mock.patch("splootd.credentials._run", run),
        mock.patch("splootd.remote.lines.client_of", client),
        mock.patch("splootd.store.offers.shard_of", lambda path: shard_of(path.rpartition(b"/")[2])),
    ):
        yield
