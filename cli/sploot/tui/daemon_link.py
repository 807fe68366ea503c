"""Connects the terminal UI to the daemon with two threads: one reads the event stream, one sends requests.

The event loop of the UI never blocks on the socket. A daemon that crashed is started again; after an orderly stop the
threads wait until it runs again.
"""

import asyncio
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sploot.client import Client
from sploot.connection import Connection, ConnectionLostError, Event, NoDaemonError
from sploot.daemon_connect import connect_if_any, connect_or_start
from splootd.codec import decode
from splootd.config import Paths
from splootd.errors import SplootError
from splootd.protocol import GetEvents, Request, Status

UPDATE_INTERVAL_S = 0.25  # between two updates of the screen
RECONNECT_INTERVAL_S = 1.0  # between attempts to connect to a stopped daemon
PENDING_REQUESTS_MAX = 32
STOPPED = "The daemon was stopped. This screen continues when it runs again: sploot daemon start"
CRASHED = "The daemon crashed. Starting it again."

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Online:
    """The event stream started: everything that was loaded before is out of date."""


@dataclass(frozen=True, slots=True)
class Offline:
    """The daemon is not reachable."""

    message: str


@dataclass(frozen=True, slots=True)
class DataUpdate:
    """New data: whether items changed, the current transfers and the status. None means unchanged."""

    has_changed: bool
    transfers: list[dict[str, Any]] | None = None
    status: Status | None = None


Update = Online | Offline | DataUpdate


class DaemonApi(Protocol):
    """The daemon as the UI sees it. `on_update` is called from another thread."""

    def open(self, on_update: Callable[[Update], None]) -> None: ...

    def close(self) -> None: ...

    async def request(self, request: Request, reply: type[T]) -> T: ...


class DaemonLink:
    """A connection to the daemon of `paths`."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._requests: queue.Queue[tuple[Request, type[Any], Future[Any]] | None] = queue.Queue(PENDING_REQUESTS_MAX)
        self._is_closed = threading.Event()
        self._on_update: Callable[[Update], None] = lambda _: None
        self._threads: list[threading.Thread] = []

    def open(self, on_update: Callable[[Update], None]) -> None:
        """Start the threads. They call `on_update` at most once in UPDATE_INTERVAL_S."""
        self._on_update = on_update
        for work in (self._run_events, self._run_requests):
            thread = threading.Thread(target=work, name=f"top{work.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Signal the threads to end. They are daemon threads, so the process does not wait for them."""
        self._is_closed.set()
        self._requests.put(None)

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    async def request(self, request: Request, reply: type[T]) -> T:
        """Return the daemon's reply; SplootError if it rejects the request or is not reachable."""
        future: Future[T] = Future()
        try:
            self._requests.put_nowait((request, reply, future))
        except queue.Full:
            raise SplootError("the daemon has not responded for a while", "sploot logs") from None
        return await asyncio.wrap_future(future)

    def _run_requests(self) -> None:
        """Send the queued requests one after another."""
        client: Client | None = None
        while (pending := self._requests.get()) is not None:
            request, reply, future = pending
            if not future.set_running_or_notify_cancel():
                continue
            try:
                client = client or Client(self._connect_if_running, lambda _: None)
                future.set_result(client.request(request, reply))
            except ConnectionLostError:
                future.set_exception(SplootError("the daemon closed the connection in the middle of a response"))
            except SplootError as error:
                future.set_exception(error)
        if client is not None:
            client.close()

    def _connect_if_running(self) -> Connection:
        """Connect without starting the daemon: only the event thread starts it."""
        connection = connect_if_any(self._paths)
        if connection is None:
            raise NoDaemonError("the daemon is not running", "sploot daemon start")
        return connection

    def _run_events(self) -> None:
        while not self._is_closed.is_set():
            message = STOPPED
            try:
                with closing(Client(lambda: connect_or_start(self._paths), lambda _: None)) as client:
                    self._forward_events(client.stream_events(GetEvents(status=True), lambda: UPDATE_INTERVAL_S))
            except ConnectionLostError:
                self._on_update(Offline(CRASHED))
                self._is_closed.wait(UPDATE_INTERVAL_S)
                continue
            except SplootError as error:
                message = f"{error.title}; {error.hint}" if error.hint else error.title
            if not self._is_closed.is_set():
                self._on_update(Offline(message))
                self._wait_for_daemon()

    def _forward_events(self, events: Iterator[Event | None]) -> None:
        """Combine events and pass them on, at most once in UPDATE_INTERVAL_S."""
        has_changed, transfers, status = False, None, None
        updated_at = -math.inf
        for event in events:
            if self._is_closed.is_set():
                return
            match event:
                case ("start" | "reset", _):
                    self._on_update(Online())
                case ("transfers", data):
                    transfers = data["transfers"]
                case ("status", data):
                    status = decode(Status, data)
                case (_, _):
                    has_changed = True
            now = time.monotonic()
            has_update = has_changed or transfers is not None or status is not None
            if has_update and now - updated_at >= UPDATE_INTERVAL_S:
                self._on_update(DataUpdate(has_changed, transfers, status))
                has_changed, transfers, status = False, None, None
                updated_at = now

    def _wait_for_daemon(self) -> None:
        while not self._is_closed.wait(RECONNECT_INTERVAL_S):
            try:
                connection = connect_if_any(self._paths)
            except SplootError:
                continue
            if connection is not None:
                connection.close()
                return
