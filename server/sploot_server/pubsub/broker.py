"""In-process publish/subscribe of library events, and the relay that exchanges them with other processes.

An event is only a hint to read the database again: it may be lost, repeated or reordered. Between processes an
`EventRelay` carries events through PostgreSQL (`postgres.py`) or Redis (`redis.py`).
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import structlog

OUTBOX_MAX = (
    10_000  # events waiting to be sent; beyond it the oldest are dropped, and other processes find out by polling
)
RECONNECT_DELAYS_S = (0.1, 0.5, 2.0, 5.0, 10.0)

logger = structlog.get_logger()


class EventKind(StrEnum):
    """Kind of an event. The values are part of the Redis messages."""

    COMPLETED = "completed"  # an embedding is ready or failed
    CHANGED = "changed"  # an asset was deleted, restored or purged
    JOB_ADDED = "job_added"  # embedding jobs are waiting


@dataclass(frozen=True, slots=True)
class Event:
    """An event and the asset it concerns."""

    kind: EventKind
    asset_id: str = ""


class Broker:
    """Delivers events to the subscribers of this process and passes them to `forward` for other processes."""

    def __init__(self, forward: Callable[[Event], None] | None = None) -> None:
        self._forward = forward
        self._asset_waiters: dict[str, set[asyncio.Event]] = {}
        self._subscribers: set[Callable[[str | None], None]] = set()
        self._job_subscribers: set[Callable[[], None]] = set()

    def publish(self, asset_id: str) -> None:
        """Publish that an asset was deleted, restored or purged."""
        self._publish(Event(EventKind.CHANGED, asset_id))

    def publish_completion(self, asset_id: str) -> None:
        """Publish that the embedding of an asset is ready or failed."""
        self._publish(Event(EventKind.COMPLETED, asset_id))

    def publish_job_added(self) -> None:
        """Publish that embedding jobs are waiting."""
        self._publish(Event(EventKind.JOB_ADDED))

    def deliver(self, event: Event) -> None:
        """Deliver an event to the subscribers of this process."""
        if event.kind is EventKind.JOB_ADDED:
            for callback in self._job_subscribers:
                callback()
            return
        for waiter in self._asset_waiters.get(event.asset_id, ()):
            waiter.set()
        for subscriber in self._subscribers:
            subscriber(event.asset_id if event.kind is EventKind.CHANGED else None)

    def resync_all(self) -> None:
        """Wake all subscribers, because events of other processes may have been lost."""
        for waiters in self._asset_waiters.values():
            for waiter in waiters:
                waiter.set()
        for subscriber in self._subscribers:
            subscriber(None)
        for callback in self._job_subscribers:
            callback()

    @contextlib.contextmanager
    def subscribe(self, asset_id: str) -> Iterator[asyncio.Event]:
        """Yield an asyncio.Event that is set by events of this asset.

        Subscribe first and read the state afterwards: in the other order, a change between the two is missed.
        """
        waiter = asyncio.Event()
        self._asset_waiters.setdefault(asset_id, set()).add(waiter)
        try:
            yield waiter
        finally:
            self._asset_waiters[asset_id].discard(waiter)
            if not self._asset_waiters[asset_id]:
                del self._asset_waiters[asset_id]

    @contextlib.contextmanager
    def on_event(self, subscriber: Callable[[str | None], None]) -> Iterator[None]:
        """Call `subscriber` with the id of every changed asset, and with None when embeddings completed.

        It must not block and not raise.
        """
        self._subscribers.add(subscriber)
        try:
            yield
        finally:
            self._subscribers.discard(subscriber)

    @contextlib.contextmanager
    def on_job_added(self, callback: Callable[[], None]) -> Iterator[None]:
        """Call `callback` when embedding jobs are waiting. It must not block and not raise."""
        self._job_subscribers.add(callback)
        try:
            yield
        finally:
            self._job_subscribers.discard(callback)

    def _publish(self, event: Event) -> None:
        self.deliver(event)
        if self._forward is not None:
            self._forward(event)


class RelayConnection(Protocol):
    """Connection that exchanges events with other processes."""

    async def send(self, event: Event) -> None:
        """Send an event. Raise BackendUnavailable."""

    async def receive(self) -> None:
        """Deliver received events until the connection is lost. Raise BackendUnavailable."""


class EventRelay:
    """Keeps a relay connection open and reconnects with growing delays."""

    def __init__(
        self, connect: Callable[[Callable[[Event], None]], contextlib.AbstractAsyncContextManager[RelayConnection]]
    ) -> None:
        self._connect = connect
        self._outbox: asyncio.Queue[Event] = asyncio.Queue(OUTBOX_MAX)
        self.connected = False

    def forward(self, event: Event) -> None:
        """Queue an event for other processes; drop the oldest one if the queue is full."""
        if self._outbox.full():
            self._outbox.get_nowait()
        self._outbox.put_nowait(event)

    async def run(self, broker: Broker) -> None:
        """Run until cancelled."""
        failures = 0
        while True:
            try:
                async with self._connect(broker.deliver) as connection, asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._send(connection))
                    tasks.create_task(connection.receive())
                    self.connected, failures = True, 0
                    logger.info("event relay connected")
                    broker.resync_all()  # after subscribing: an event between a resync and the subscription is lost
            except* Exception as errors:  # noqa: BLE001 - the relay must reconnect after any error
                logger.warning("event relay disconnected", error_message=str(errors.exceptions[0]))
            finally:
                self.connected = False
            await asyncio.sleep(RECONNECT_DELAYS_S[min(failures, len(RECONNECT_DELAYS_S) - 1)])
            failures += 1

    async def _send(self, connection: RelayConnection) -> None:
        while True:
            await connection.send(await self._outbox.get())
