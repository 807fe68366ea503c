"""How news travels inside the daemon: doorbells that wake workers, and a bounded fan-out for whoever watches.

A bell carries no message: whoever is woken asks the database what there is, so a lost ring costs time, never a meme.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

LISTENER_NEWS_MAX = 1_000


class Bell:
    """Wakes everybody who waits. Take a ticket, look at the database, then wait with the ticket: no ring is missed."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    def ticket(self) -> asyncio.Event:
        return self._event

    async def wait(self, ticket: asyncio.Event, timeout_s: float | None) -> bool:
        """Wait until it rings after `ticket` was taken; False when `timeout_s` ran out first."""
        if ticket.is_set():
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await ticket.wait()
        return ticket.is_set()


@dataclass(frozen=True, slots=True)
class Bells:
    """One bell for each question that a worker asks the database."""

    work: Bell = field(default_factory=Bell)  # is there something to upload?
    embedding: Bell = field(default_factory=Bell)  # is there something to ask the server about?
    news: Bell = field(default_factory=Bell)  # has anything changed?


def everything(news: dict[str, Any]) -> bool:
    return True


class Listener:
    """One subscriber's bounded mailbox, for the news that it wants."""

    def __init__(self, wants: Callable[[dict[str, Any]], bool]) -> None:
        self._wants = wants
        self._news: deque[dict[str, Any]] = deque()
        self._bell = Bell()
        self._lost = 0

    def put(self, news: dict[str, Any]) -> None:
        if not self._wants(news):
            return
        if len(self._news) >= LISTENER_NEWS_MAX:
            self._lost += 1
        else:
            self._news.append(news)
        self._bell.ring()

    def wake(self) -> None:
        """Let `take` return, whether there is anything or not."""
        self._bell.ring()

    async def take(self, timeout_s: float) -> tuple[list[dict[str, Any]], int]:
        """What came since the last call, and how many more were lost; both empty when the time ran out."""
        ticket = self._bell.ticket()
        if not self._news:
            await self._bell.wait(ticket, timeout_s)
        taken, lost = list(self._news), self._lost
        self._news.clear()
        self._lost = 0
        return taken, lost


class Bus:
    """Fans news out to any number of listeners; one that is slow loses news and is told how many, it never blocks."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()

    def __repr__(self) -> str:
        return f"Bus({len(self._listeners)} listeners)"

    def publish(self, news: dict[str, Any]) -> None:
        for listener in self._listeners:
            listener.put(news)

    def wake(self) -> None:
        """Let all listeners look up."""
        for listener in self._listeners:
            listener.wake()

    @contextlib.contextmanager
    def listen(self, wants: Callable[[dict[str, Any]], bool] = everything) -> Iterator[Listener]:
        listener = Listener(wants)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
