"""What flows out by itself: the news of the queue and the progress of an add, as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from splootd.bus import Bell, Bus, Listener
from splootd.control.scope import EVERYTHING, Scope
from splootd.control.views import news, transfers
from splootd.errors import StoreError
from splootd.logs import logger
from splootd.metrics import Traffic
from splootd.protocol import Progress
from splootd.store.listing import Listing
from splootd.wire import encode

PAGE_EVENTS = 500
HEARTBEAT_S = 15.0
TROUBLE_PAUSE_S = 1.0
TRANSFERS_S = 0.25  # between two views of the bytes that move
FIGURES_S = 1.0  # between two views of figures that somebody wants to see move
PROGRESS_INTERVAL_S = 0.25  # at most four snapshots a second
PROGRESS_HEARTBEAT_S = 1.0  # and at least one
QUERY_SHARE = 0.05  # of the time may go into asking how far an add of very many files has come

_HEARTBEAT = b": still here\n\n"


@dataclass(frozen=True, slots=True)
class Look:
    """Figures as an event shows them; there is another one when `sign` has become another."""

    data: dict[str, Any]
    sign: Any


Figures = Callable[[], Awaitable[Look]]


def sse(event: str, data: dict[str, Any], seq: int | None = None) -> bytes:
    """One server-sent event. JSON holds no bare newline, so the data is one line."""
    identity = "" if seq is None else f"id: {seq}\n"
    return f"{identity}event: {event}\ndata: {json.dumps(data)}\n\n".encode("ascii")


NO_FIGURES: Mapping[str, Figures] = {}


class News:
    """Reads the event rows as they are committed, publishes them on the bus, and streams them to whoever listens."""

    def __init__(
        self, listing: Listing, traffic: Traffic, bus: Bus, bell: Bell, standing: Callable[[], dict[str, str]]
    ) -> None:
        self._listing = listing
        self._traffic = traffic
        self._bus = bus
        self._bell = bell
        self._standing = standing  # how the daemon and its server are
        self._ended = asyncio.Event()
        self._log = logger("news")

    async def run(self) -> None:
        seen: int | None = None
        while True:
            ticket = self._bell.ticket()
            try:
                if seen is None:
                    seen = await self._listing.newest_event()
                events = await self._listing.events(since=seen, limit=PAGE_EVENTS)
            except StoreError as error:
                self._log.warning("news cannot be read", error=error.title)
                await asyncio.sleep(TROUBLE_PAUSE_S)
                continue
            for event in events:
                self._bus.publish(news(event))
                seen = event.seq
            if not events:
                await self._bell.wait(ticket, None)

    def end(self) -> None:
        """End all streams: the daemon is about to."""
        self._ended.set()
        self._bell.ring()
        self._bus.wake()

    async def events(
        self, since: int | None, scope: Scope = EVERYTHING, figures: Mapping[str, Figures] = NO_FIGURES
    ) -> AsyncIterator[bytes]:
        """News of `scope` from the event after `since` on, without a gap, or `fresh` first where that is too old.

        Each of the `figures` is an event of that name as often as it changes, at most every FIGURES_S.
        """
        with self._bus.listen(scope.wants) as listener:
            newest, oldest = await self._listing.newest_event(), await self._listing.oldest_event()
            is_known = since is not None and oldest - 1 <= since <= newest
            seen = since if since is not None and is_known else newest
            yield sse("start" if is_known or since is None else "fresh", {"oldest": oldest, "newest": newest}, seen)
            while seen < newest and (missed := await self._listing.events(since=seen, limit=PAGE_EVENTS)):
                for event in missed:
                    if scope.wants(entry := news(event)):
                        yield sse("item", entry, event.seq)
                    seen = event.seq
            async for said in self._live(listener, seen, scope, _Shown(figures)):
                yield said

    async def _live(self, listener: Listener, seen: int, scope: Scope, figures: "_Shown") -> AsyncIterator[bytes]:
        """News as they are published, how far each transfer has come, how daemon and server are, else signs of life."""
        loop = asyncio.get_running_loop()
        shown: list[dict[str, Any]] = []
        stood = self._standing()
        shown_at = said_at = loop.time()
        if first := await figures.changed(shown_at):
            yield first
        while not self._ended.is_set():
            pause_s = FIGURES_S if figures else HEARTBEAT_S
            entries, lost = await listener.take(TRANSFERS_S if shown or self._traffic.transfers else pause_s)
            said = [sse("item", entry, entry["seq"]) for entry in entries if entry["seq"] > seen]
            seen = max([seen, *(entry["seq"] for entry in entries)])
            if lost:  # what comes when a mailbox is full is what gets lost
                said.append(sse("lost", {"count": lost}))
            if (standing := self._standing()) != stood:
                said.append(sse("status", standing))
                stood = standing
            now = loop.time()
            if now - shown_at >= TRANSFERS_S and (moving := scope.of(transfers(self._traffic.transfers))) != shown:
                said.append(sse("transfers", {"transfers": moving}))
                shown, shown_at = moving, now
            if figures and (changed := await figures.changed(now)):
                said.append(changed)
            if not said and now - said_at >= HEARTBEAT_S:
                said.append(_HEARTBEAT)
            if said:
                said_at = now
                yield b"".join(said)

    async def progress(self, snapshot: Callable[[], Awaitable[Progress]]) -> AsyncIterator[bytes]:
        """Snapshots as they change, until the add has ended."""
        loop = asyncio.get_running_loop()
        while True:
            ticket, asked_at = self._bell.ticket(), loop.time()
            progress = await snapshot()
            yield sse("progress", encode(progress))
            if progress.ended or self._ended.is_set():
                return
            took_s = loop.time() - asked_at
            left_s = max(PROGRESS_INTERVAL_S, PROGRESS_HEARTBEAT_S - took_s)
            pause_s = min(max(PROGRESS_INTERVAL_S, took_s / QUERY_SHARE), left_s)
            await asyncio.sleep(pause_s)
            await self._bell.wait(ticket, left_s - pause_s)


class _Shown:
    """What one listener has seen of its figures."""

    def __init__(self, figures: Mapping[str, Figures]) -> None:
        self._figures = figures
        self._signs: dict[str, Any] = {}
        self._due_at = 0.0

    def __bool__(self) -> bool:
        return bool(self._figures)

    async def changed(self, now: float) -> bytes:
        """The events of those that have changed since FIGURES_S ago; `now` is the time of the event loop."""
        if now < self._due_at:
            return b""
        self._due_at = now + FIGURES_S
        said = b""
        for name, figures in self._figures.items():
            try:
                look = await figures()
            except StoreError:  # another second will do
                continue
            if look.sign != self._signs.get(name):
                said += sse(name, look.data)
                self._signs[name] = look.sign
        return said
