"""Wake signals for workers and an in-process event bus with bounded subscribers.

A wake signal has no payload: the woken worker queries the database. A missed wake-up delays the work; it never loses a
file.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

SUBSCRIBER_EVENTS_MAX = 1_000


class WakeSignal:
    """Edge-triggered wake-up of all waiting workers.

    Take a snapshot, query the database, then wait with the snapshot. A notification between the query and the wait is
    not missed: it sets the event of the snapshot. A plain `asyncio.Event` that workers clear themselves would lose it.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    def snapshot(self) -> asyncio.Event:
        return self._event

    async def wait(self, snapshot: asyncio.Event, timeout_s: float | None) -> bool:
        """Wait for a notification after the snapshot was taken. Return False after `timeout_s` without one."""
        if snapshot.is_set():
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await snapshot.wait()
        return snapshot.is_set()


@dataclass(frozen=True, slots=True)
class WakeSignals:
    """One wake signal per kind of query that workers run."""

    work: WakeSignal = field(default_factory=WakeSignal)  # items to upload
    embedding: WakeSignal = field(default_factory=WakeSignal)  # embeddings to poll
    events: WakeSignal = field(default_factory=WakeSignal)  # new event rows


def match_all(event: Any) -> bool:
    return True


class Subscriber:
    """Bounded mailbox of one subscriber for the events that it matches."""

    def __init__(self, matches: Callable[[Any], bool], *, is_live: bool) -> None:
        self.is_live = is_live
        self._matches = matches
        self._events: deque[Any] = deque()
        self._wake_signal = WakeSignal()
        self._dropped = 0

    def put(self, event: Any) -> None:
        if not self._matches(event):
            return
        if len(self._events) >= SUBSCRIBER_EVENTS_MAX:
            self._dropped += 1
        else:
            self._events.append(event)
        self._wake_signal.notify()

    def wake(self) -> None:
        """Make `receive` return, even without events."""
        self._wake_signal.notify()

    async def receive(self, timeout_s: float) -> tuple[list[Any], int]:
        """Return the events since the last call and the number of dropped ones; no events after a timeout."""
        snapshot = self._wake_signal.snapshot()
        if not self._events:
            await self._wake_signal.wait(snapshot, timeout_s)
        events, dropped = list(self._events), self._dropped
        self._events.clear()
        self._dropped = 0
        return events, dropped


class EventBus:
    """Publishes events to all subscribers without blocking. A slow subscriber loses events and receives their count.

    A live subscriber shows events as they happen. Without one, the publisher may collect them for a while.
    """

    def __init__(self) -> None:
        self._subscribers: set[Subscriber] = set()
        self._live = asyncio.Event()

    def __repr__(self) -> str:
        return f"EventBus({len(self._subscribers)} subscribers)"

    def publish(self, event: Any) -> None:
        for subscriber in self._subscribers:
            subscriber.put(event)

    def wake(self) -> None:
        """Wake all subscribers."""
        for subscriber in self._subscribers:
            subscriber.wake()

    async def wait_for_live_subscriber(self, timeout_s: float) -> None:
        """Return once there is a live subscriber, or after `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._live.wait()

    @contextlib.contextmanager
    def subscribe(self, matches: Callable[[Any], bool] = match_all, *, is_live: bool = True) -> Iterator[Subscriber]:
        subscriber = Subscriber(matches, is_live=is_live)
        self._subscribers.add(subscriber)
        if is_live:
            self._live.set()
        try:
            yield subscriber
        finally:
            self._subscribers.discard(subscriber)
            if not any(each.is_live for each in self._subscribers):
                self._live.clear()
