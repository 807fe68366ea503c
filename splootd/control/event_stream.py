"""Server-sent event streams: item events, transfers, status, metrics, and the progress of an import."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from splootd.codec import encode
from splootd.control.event_filter import ALL_EVENTS, EventFilter
from splootd.control.serializers import event_to_dict, transfers_to_dicts
from splootd.errors import StoreError
from splootd.event_bus import EventBus, Subscriber, WakeSignal
from splootd.logs import get_logger
from splootd.metrics import MetricsCollector
from splootd.protocol import Progress, Status
from splootd.store.read_queries import ReadQueries

STATUS_EVENT = "status"
PAGE_EVENTS = 500
HEARTBEAT_S = 15.0
STORE_ERROR_RETRY_S = 1.0
LOG_INTERVAL_S = 1.0  # between two queries for events while only the log receives them
TRANSFERS_INTERVAL_S = 0.25  # minimum time between two `transfers` events
SNAPSHOT_INTERVAL_S = 1.0  # minimum time between two snapshots of a source
PROGRESS_INTERVAL_S = 0.25  # at most four progress events per second
PROGRESS_HEARTBEAT_S = 1.0  # at least one
PROGRESS_QUERY_TIME_SHARE = 0.05  # maximum share of time spent on the progress query of a very large import

# A comment line (WHATWG HTML, 9.2.7): readers ignore it, but it reveals a dead peer and keeps proxies from closing
# an idle stream.
_HEARTBEAT = b": heartbeat\n\n"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Data of a snapshot event. The event is sent when `fingerprint` differs from the last one sent."""

    data: dict[str, Any]
    fingerprint: Any


SnapshotSource = Callable[[], Awaitable[Snapshot]]


def status_snapshot(status: Status) -> Snapshot:
    """Return the snapshot of a status. Uptime and memory change constantly, so the fingerprint excludes them."""
    return Snapshot(encode(status), replace(status, daemon=replace(status.daemon, uptime_s=0.0, rss_bytes=0)))


def format_sse_event(event: str, data: dict[str, Any], seq: int | None = None) -> bytes:
    """Format one server-sent event. JSON contains no bare newline, so a single data line suffices."""
    event_id = "" if seq is None else f"id: {seq}\n"
    return f"{event_id}event: {event}\ndata: {json.dumps(data)}\n\n".encode("ascii")


NO_SNAPSHOTS: Mapping[str, SnapshotSource] = {}


class EventStream:
    """Reads event rows after their commit, publishes them on the event bus, and streams them to subscribers.

    Events are read back from the database instead of being published by their writer: a rolled-back transaction must
    not be visible to subscribers, and the row's sequence number is the id that `Last-Event-ID` resumes from.
    """

    def __init__(
        self,
        read_queries: ReadQueries,
        metrics: MetricsCollector,
        event_bus: EventBus,
        wake_signal: WakeSignal,
        *,
        get_connection_state: Callable[[], dict[str, str]],
        get_status: Callable[[], Awaitable[Status]],
    ) -> None:
        self._read_queries = read_queries
        self._metrics = metrics
        self._event_bus = event_bus
        self._wake_signal = wake_signal
        self._get_connection_state = get_connection_state
        self._get_status = get_status
        self._closed = asyncio.Event()
        self._log = get_logger("events")

    async def run(self) -> None:
        last_seq: int | None = None
        while True:
            signal_snapshot = self._wake_signal.snapshot()
            try:
                if last_seq is None:
                    last_seq = await self._read_queries.newest_event_seq()
                events = await self._read_queries.events(since=last_seq, limit=PAGE_EVENTS)
            except StoreError as error:
                self._log.warning("reading events failed", error=error.title)
                await asyncio.sleep(STORE_ERROR_RETRY_S)
                continue
            for event in events:
                self._event_bus.publish(event)
                last_seq = event.seq
            if len(events) < PAGE_EVENTS:
                await self._event_bus.wait_for_live_subscriber(LOG_INTERVAL_S)
                await self._wake_signal.wait(signal_snapshot, None)

    def close(self) -> None:
        """End all streams before the daemon stops."""
        self._closed.set()
        self._wake_signal.notify()
        self._event_bus.wake()

    async def stream_events(
        self,
        since: int | None,
        event_filter: EventFilter = ALL_EVENTS,
        sources: Mapping[str, SnapshotSource] = NO_SNAPSHOTS,
    ) -> AsyncIterator[bytes]:
        """Stream events that match the filter, from the event after `since` on, without a gap.

        A cursor that is too old or unknown yields `reset` instead of `start`: the client must read the state again.
        Each of the `sources` yields an event of its name when it changes, at most every SNAPSHOT_INTERVAL_S.
        """
        # Subscribe before reading the newest sequence number. In the opposite order an event committed in between
        # would be in neither the replayed nor the live part; this way it is in both, and its number removes the copy.
        with self._event_bus.subscribe(event_filter.matches) as subscriber:
            newest, oldest = await self._read_queries.newest_event_seq(), await self._read_queries.oldest_event_seq()
            is_resumable = since is not None and oldest - 1 <= since <= newest
            last_seq = since if since is not None and is_resumable else newest
            yield format_sse_event(
                "start" if is_resumable or since is None else "reset", {"oldest": oldest, "newest": newest}, last_seq
            )
            while last_seq < newest and (missed := await self._read_queries.events(since=last_seq, limit=PAGE_EVENTS)):
                for event in missed:
                    if event_filter.matches(event):
                        yield format_sse_event("item", event_to_dict(event), event.seq)
                    last_seq = event.seq
            async for chunk in self._stream_live(subscriber, last_seq, event_filter, _SnapshotTracker(sources)):
                yield chunk

    async def _stream_live(
        self, subscriber: Subscriber, last_seq: int, event_filter: EventFilter, snapshots: "_SnapshotTracker"
    ) -> AsyncIterator[bytes]:
        """Stream live events, transfers, status changes and snapshots; send a heartbeat when idle."""
        loop = asyncio.get_running_loop()
        sent_transfers: list[dict[str, Any]] = []
        connection_state = self._get_connection_state()
        transfers_sent_at = sent_at = loop.time()
        if first := await snapshots.render_changed(transfers_sent_at):
            yield first
        while not self._closed.is_set():
            pause_s = SNAPSHOT_INTERVAL_S if snapshots else HEARTBEAT_S
            events, dropped = await subscriber.receive(
                TRANSFERS_INTERVAL_S if sent_transfers or self._metrics.transfers else pause_s
            )
            chunks = [format_sse_event("item", event_to_dict(each), each.seq) for each in events if each.seq > last_seq]
            last_seq = max([last_seq, *(each.seq for each in events)])
            if dropped:  # a full mailbox drops the newest events, so this marks the gap after those before it
                chunks.append(format_sse_event("dropped", {"count": dropped}))
            now = loop.time()
            if (state := self._get_connection_state()) != connection_state:
                with contextlib.suppress(StoreError):  # the next iteration tries again
                    chunks.append(await snapshots.render_now(STATUS_EVENT, self._status_snapshot))
                    connection_state = state
            if (
                now - transfers_sent_at >= TRANSFERS_INTERVAL_S
                and (current_transfers := event_filter.filter_transfers(transfers_to_dicts(self._metrics.transfers)))
                != sent_transfers
            ):
                chunks.append(format_sse_event("transfers", {"transfers": current_transfers}))
                sent_transfers, transfers_sent_at = current_transfers, now
            if snapshots and (changed := await snapshots.render_changed(now)):
                chunks.append(changed)
            if not (chunk := b"".join(chunks)) and now - sent_at >= HEARTBEAT_S:
                chunk = _HEARTBEAT
            if chunk:
                sent_at = now
                yield chunk

    async def _status_snapshot(self) -> Snapshot:
        return status_snapshot(await self._get_status())

    async def stream_progress(self, get_progress: Callable[[], Awaitable[Progress]]) -> AsyncIterator[bytes]:
        """Stream the progress of an import until it has ended."""
        loop = asyncio.get_running_loop()
        while True:
            signal_snapshot, started_at = self._wake_signal.snapshot(), loop.time()
            progress = await get_progress()
            if self._closed.is_set() and not progress.ended:
                # No unfinished snapshot during the shutdown: a client that follows it with a request for the status
                # would find the daemon stopping, and start the daemon that the user has just stopped.
                return
            yield format_sse_event("progress", encode(progress))
            if progress.ended:
                return
            took_s = loop.time() - started_at
            left_s = max(PROGRESS_INTERVAL_S, PROGRESS_HEARTBEAT_S - took_s)
            pause_s = min(max(PROGRESS_INTERVAL_S, took_s / PROGRESS_QUERY_TIME_SHARE), left_s)
            await asyncio.sleep(pause_s)
            await self._wake_signal.wait(signal_snapshot, left_s - pause_s)


class _SnapshotTracker:
    """Tracks the snapshots that one subscriber has received."""

    def __init__(self, sources: Mapping[str, SnapshotSource]) -> None:
        self._sources = sources
        self._fingerprints: dict[str, Any] = {}
        self._due_at = 0.0

    def __bool__(self) -> bool:
        return bool(self._sources)

    async def render_changed(self, now: float) -> bytes:
        """Return the events of the sources that changed, at most every SNAPSHOT_INTERVAL_S; `now` is loop time."""
        if now < self._due_at:
            return b""
        self._due_at = now + SNAPSHOT_INTERVAL_S
        chunk = b""
        for name, source in self._sources.items():
            with contextlib.suppress(StoreError):  # the next interval tries again
                chunk += await self.render_now(name, source)
        return chunk

    async def render_now(self, name: str, source: SnapshotSource) -> bytes:
        """Return the event of one source without waiting for its interval; empty when it has not changed."""
        snapshot = await source()
        if snapshot.fingerprint == self._fingerprints.get(name):
            return b""
        self._fingerprints[name] = snapshot.fingerprint
        return format_sse_event(name, snapshot.data)
