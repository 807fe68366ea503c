"""Upload metrics: throughput, transfers in flight, errors and durations."""

import contextlib
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass

from splootd.clock import Clock
from splootd.metrics.histogram import Histogram
from splootd.metrics.queue_latency import UrgentQueueLatency
from splootd.metrics.utilization import Utilization

WINDOW_S = 10
UPLOADS_KEPT = 100  # completed uploads, for the report


@dataclass(slots=True, eq=False)
class Transfer:
    """One upload, in flight or completed. Sizes are bytes, times seconds since the epoch, durations seconds."""

    path: bytes
    size: int
    started_at: float = 0.0
    retries: int = 0  # attempts before this one
    resumed_offset: int = 0  # bytes the server already had
    offset: int = 0  # including `resumed_offset`
    chunks: int = 0
    took_s: float = 0.0

    def record_progress(self, offset: int) -> None:
        """Set the number of bytes sent. A changed offset counts as one more chunk."""
        self.chunks += offset != self.offset
        self.offset = offset

    def resume_from(self, offset: int) -> None:
        """Start at `offset`: an earlier attempt sent the bytes before it."""
        self.resumed_offset = self.offset = offset

    @property
    def sent_bytes(self) -> int:
        """Bytes sent by this attempt."""
        return max(0, self.offset - self.resumed_offset)

    @property
    def bytes_per_s(self) -> float:
        return self.sent_bytes / self.took_s if self.took_s else 0.0


@dataclass(slots=True)
class _Second:
    at: int
    items: int = 0
    bytes: int = 0


class MetricsCollector:
    """Collects upload metrics: rates over the last WINDOW_S seconds, transfers in flight, totals since the start."""

    def __init__(self, clock: Clock) -> None:
        self.utilization = Utilization(clock)
        self.urgent_latency = UrgentQueueLatency(clock.now())
        self.errors: Counter[str] = Counter()  # failed attempts by error code
        self.items = 0  # items stored in the library, uploaded or already known
        self.bytes = 0
        self.chunks = 0
        self.retries = 0
        self.upload_s = Histogram()
        self.embedding_s = Histogram()  # from the upload response to searchable
        self.completed: deque[Transfer] = deque(maxlen=UPLOADS_KEPT)
        self._clock = clock
        self._seconds: deque[_Second] = deque(maxlen=WINDOW_S + 1)
        self._transfers: list[Transfer] = []

    def record_item(self, size_bytes: int) -> None:
        """Count one stored item and its uploaded bytes, 0 when the library already had the content."""
        now = int(self._clock.monotonic())
        if not self._seconds or self._seconds[-1].at != now:
            self._seconds.append(_Second(now))
        self._seconds[-1].items += 1
        self._seconds[-1].bytes += size_bytes
        self.items += 1

    @property
    def items_per_s(self) -> float:
        return sum(second.items for second in self._recent()) / self._span_s()

    @property
    def bytes_per_s(self) -> float:
        return sum(second.bytes for second in self._recent()) / self._span_s()

    @property
    def transfers(self) -> tuple[Transfer, ...]:
        """Uploads in flight, oldest first."""
        return tuple(self._transfers)

    @contextlib.contextmanager
    def transfer(self, path: bytes, size: int, *, retries: int = 0, shares_request: bool = False) -> Iterator[Transfer]:
        """Track an upload in `transfers` while it runs. A transfer without bytes is not counted as an upload.

        Set `shares_request` for all files of a request but one: together they occupy one connection, and counting
        each would report more busy connections than exist.
        """
        transfer = Transfer(path, size, self._clock.now(), retries)
        started_at = self._clock.monotonic()
        self._transfers.append(transfer)
        try:
            with contextlib.nullcontext() if shares_request else self.utilization.track("sending"):
                yield transfer
        finally:
            self._transfers.remove(transfer)
            transfer.took_s = self._clock.monotonic() - started_at
            if transfer.sent_bytes:
                self._count(transfer)

    def _count(self, transfer: Transfer) -> None:
        self.bytes += transfer.sent_bytes
        self.chunks += transfer.chunks
        self.retries += transfer.retries > 0
        self.upload_s.observe(transfer.took_s)
        self.completed.append(transfer)

    def _recent(self) -> list[_Second]:
        since = int(self._clock.monotonic()) - WINDOW_S
        return [second for second in self._seconds if second.at > since]

    def _span_s(self) -> int:
        """Return the window, or the part of it since the first recent item: rates must not start near zero."""
        recent = self._recent()
        return int(self._clock.monotonic()) - recent[0].at + 1 if recent else WINDOW_S
