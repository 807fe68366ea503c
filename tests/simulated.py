"""Simulated time for the daemon: the clock advances only when all tasks wait.

The event loop jumps to the next timer whenever all tasks wait. Nothing may then run on threads, so every use of a
thread is patched: SQLite runs inside the loop, on real files, and a function for a thread runs inline. Each of them
takes a random pause before and after, so that a task usually sees a result some time after it happened.
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
from real_sploot import route_of, sleep_for
from scripted_sploot import Disconnect, Reply, Request

from splootd.clock import Clock
from splootd.core.item import shard_for

EPOCH = 1_800_000_000.0
LATENCY_S = 0.05
SELDOM = 0.15


class Stuck(Exception):
    """All tasks wait, and there is no timer to wake one."""


class JumpLoop(asyncio.SelectorEventLoop):
    """`time()` stands still while a task can run, and jumps to the next timer otherwise."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(_Jumping(self))
        self._now = 0.0
        self._chance = chance

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """Run the function immediately; deliver its result a little later."""
        future = self.create_future()
        try:
            result = func(*args)
        except BaseException as error:  # noqa: BLE001 - every exception belongs to the waiting task
            self.call_later(pause_s(self._chance), _settle, future.set_exception, future, error)
        else:
            self.call_later(pause_s(self._chance), _settle, future.set_result, future, result)
        return future


def _settle(how: Callable[[Any], None], future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        how(value)


class _Jumping(selectors.DefaultSelector):  # type: ignore[misc, valid-type]  # the platform decides which class it is
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
    """Return a random pause, mostly zero."""
    return chance.random() * LATENCY_S if chance.random() < SELDOM else 0.0


class SetClock(Clock):
    """A clock whose wall time can be set; its monotonic time runs on."""

    def __init__(self) -> None:
        self.off_s = 0.0

    def now(self) -> float:
        return EPOCH + asyncio.get_running_loop().time() + self.off_s


class InlineConnection:
    """The part of an aiosqlite connection that the store uses, without a thread. After `kill` it does nothing."""

    def __init__(self, file: str, chance: random.Random, **options: Any) -> None:
        self._open = lambda: sqlite3.connect(file, **options)
        self._chance = chance
        self._conn: Any = None
        self.killed = False

    def __await__(self) -> Generator[Any, None, "InlineConnection"]:
        self._conn = self._open()
        return self
        yield

    async def _execute(self, work: Callable[..., Any], *args: Any) -> Any:
        await sleep_for(pause_s(self._chance))
        if self.killed:
            raise asyncio.CancelledError
        result = work(*args)
        await sleep_for(pause_s(self._chance))
        return result

    async def interrupt(self) -> None:
        """Do nothing: no statement runs while another task does."""

    async def close(self) -> None:
        self._conn.close()

    def kill(self) -> None:
        """Simulate the end of the process: uncommitted changes are lost."""
        self.killed = True
        self._conn.close()


class Network:
    """Passes the requests of httpx to `handle`, with random pauses, and counts concurrent connections."""

    def __init__(self, handle: Callable[[Request], Awaitable[Reply]], chance: random.Random) -> None:
        self.handle = handle
        self.chance = chance
        self.connections = 0
        self.connections_max = 0

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        self.connections += 1
        self.connections_max = max(self.connections_max, self.connections)
        try:
            yield
        finally:
            self.connections -= 1


class SimulatedTransport(httpx.AsyncBaseTransport):
    """A connection pool. The server completes a request even if its caller has gone."""

    def __init__(self, network: Network, connections_max: int) -> None:
        self._network = network
        self._chance = network.chance
        self._slots = asyncio.Semaphore(connections_max)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        async with self._slots:
            with self._network.used():
                return await self._exchange(request)

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        body = b"".join([piece async for piece in request.stream])
        target = request.url.raw_path.decode()
        headers = {name.lower(): value for name, value in request.headers.items()}
        received = Request(route_of(request.method, target), request.method, target, headers, body)
        await sleep_for(pause_s(self._chance))
        response_task = asyncio.ensure_future(self._network.handle(received))
        response_task.add_done_callback(_consume_exception)
        done, _ = await asyncio.wait([response_task], timeout=request.extensions["timeout"]["read"])
        if not done:
            raise httpx.ReadTimeout("no answer")
        try:
            reply = response_task.result()
        except (Disconnect, asyncio.CancelledError):
            kind = self._chance.choice([httpx.ReadError, httpx.RemoteProtocolError, httpx.WriteError])
            raise kind("connection lost") from None
        await sleep_for(pause_s(self._chance))
        return response_of(reply)


def _consume_exception(response_task: asyncio.Future[Reply]) -> None:
    if not response_task.cancelled():
        response_task.exception()


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
def patched_io(
    chance: random.Random,
    opened: list[InlineConnection],
    run: Callable[[str], Awaitable[str | None]],
    network: Network,
) -> Iterator[None]:
    """Replace threads, processes and the network.

    `opened` collects the database connections, `run` replaces the token command, and `network` receives all requests.
    Shards depend on the file name alone, so that a seed gives the same run in any folder.
    """

    def connect(file: str, **options: Any) -> InlineConnection:
        opened.append(InlineConnection(file, chance, **options))
        return opened[-1]

    def client(base: str, *, connections_max: int, **_: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=base, transport=SimulatedTransport(network, connections_max))

    with (
        mock.patch("aiosqlite.connect", connect),
        mock.patch("splootd.credentials._run_token_command", run),
        mock.patch("splootd.remote.connection_pool.create_client", client),
        mock.patch("splootd.store.upsert.shard_for", lambda path: shard_for(path.rpartition(b"/")[2])),
    ):
        yield
