"""The screen's line to the daemon: one thread that listens to its news, one that asks it, neither ever polling.

The screen itself never waits. A daemon that died is started again; one that was stopped is waited for.
"""

import asyncio
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sploot.client import Client
from sploot.connection import Connection, LostError, News, NoDaemonError, running
from sploot.reach import connected
from splootd.config import Paths
from splootd.errors import SplootError
from splootd.protocol import GetEvents, Request, Status
from splootd.wire import decode

TELL_S = 0.25  # between two pieces of news for the screen
LOOK_S = 1.0  # between two looks for a daemon that was stopped
ASKS_MAX = 32
STOPPED = "The daemon was stopped. As soon as it runs again, this goes on. To start it: sploot daemon start"
DIED = "The daemon has died. It is started again."

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Online:
    """There is a daemon that tells its news from now on: what was known is out of date."""


@dataclass(frozen=True, slots=True)
class Offline:
    """There is none."""

    sentence: str


@dataclass(frozen=True, slots=True)
class Told:
    """Whether items have changed; what is being sent, and where everything stands, when that has."""

    has_changed: bool
    transfers: list[dict[str, Any]] | None = None
    status: Status | None = None


Heard = Online | Offline | Told


class Daemon(Protocol):
    """What the screen knows of the daemon; `hear` is called from another thread."""

    def open(self, hear: Callable[[Heard], None]) -> None: ...

    def close(self) -> None: ...

    async def ask(self, request: Request, reply: type[T]) -> T: ...


class Link:
    """Talks to the daemon of `paths`."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._asks: queue.Queue[_Ask | None] = queue.Queue(ASKS_MAX)
        self._is_closed = threading.Event()
        self._hear: Callable[[Heard], None] = lambda _: None
        self._threads: list[threading.Thread] = []

    def open(self, hear: Callable[[Heard], None]) -> None:
        """Call `hear`, from another thread, with whatever there is to tell, at most every TELL_S."""
        self._hear = hear
        for work in (self._listen, self._answer):
            thread = threading.Thread(target=work, name=f"top{work.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Let the threads end. A process that ends does not wait for them."""
        self._is_closed.set()
        self._asks.put(None)

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    async def ask(self, request: Request, reply: type[T]) -> T:
        """The daemon's answer; SplootError when it refuses or cannot be reached."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        try:
            self._asks.put_nowait(_Ask(request, reply, loop, answer))
        except queue.Full:
            raise SplootError("the daemon has not answered for a while", "sploot logs") from None
        return await answer

    def _answer(self) -> None:
        """Ask what is to be asked, one after another."""
        client: Client | None = None
        while (ask := self._asks.get()) is not None:
            try:
                client = client or Client(self._connection, lambda _: None)
                ask.settle(client.ask(ask.request, ask.reply), None)
            except LostError:
                ask.settle(None, SplootError("the daemon hung up in the middle of an answer"))
            except SplootError as error:
                ask.settle(None, error)
        if client is not None:
            client.close()

    def _connection(self) -> Connection:
        """A connection to a daemon that runs: starting one is up to who listens."""
        connection = running(self._paths.socket)
        if connection is None:
            raise NoDaemonError("the daemon does not run", "sploot daemon start")
        return connection

    def _listen(self) -> None:
        while not self._is_closed.is_set():
            sentence = STOPPED
            try:
                with closing(Client(lambda: connected(self._paths), lambda _: None)) as client:
                    self._tell(client.follow(GetEvents(now=True), lambda: TELL_S))
            except LostError:
                self._hear(Offline(DIED))
                self._is_closed.wait(TELL_S)
                continue
            except SplootError as error:
                sentence = f"{error.title}; {error.hint}" if error.hint else error.title
            if not self._is_closed.is_set():
                self._hear(Offline(sentence))
                self._wait_for_daemon()

    def _tell(self, news: Iterator[News | None]) -> None:
        """Pass the news on, many at a time."""
        has_changed, transfers, status = False, None, None
        told_at = -math.inf
        for entry in news:
            if self._is_closed.is_set():
                return
            match entry:
                case ("start" | "fresh", _):
                    self._hear(Online())
                case ("transfers", data):
                    transfers = data["transfers"]
                case ("now", data):
                    status = decode(Status, data)
                case (_, _):
                    has_changed = True
            now = time.monotonic()
            is_news = has_changed or transfers is not None or status is not None
            if is_news and now - told_at >= TELL_S:
                self._hear(Told(has_changed, transfers, status))
                has_changed, transfers, status = False, None, None
                told_at = now

    def _wait_for_daemon(self) -> None:
        while not self._is_closed.wait(LOOK_S):
            try:
                connection = running(self._paths.socket)
            except SplootError:
                continue
            if connection is not None:
                connection.close()
                return


@dataclass(frozen=True, slots=True)
class _Ask:
    request: Request
    reply: type[Any]
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[Any]"

    def settle(self, value: Any, error: Exception | None) -> None:
        """Hand the answer over to the screen, if it still waits for it."""

        def hand_over() -> None:
            if self.answer.done():
                return
            if error is None:
                self.answer.set_result(value)
            else:
                self.answer.set_exception(error)

        try:
            self.loop.call_soon_threadsafe(hand_over)
        except RuntimeError:  # the screen has closed
            return
