"""What goes to the server: how fast, how much, how well."""

import contextlib
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass

from splootd.clock import Clock
from splootd.metrics.histogram import Histogram
from splootd.metrics.load import Load
from splootd.metrics.waits import Waits

WINDOW_S = 10
UPLOADS_KEPT = 100  # of those that have ended, for the report


@dataclass(slots=True, eq=False)
class Transfer:
    """One upload, under way or ended. Sizes are bytes, times seconds since the epoch and seconds."""

    path: bytes
    size: int
    started_at: float = 0.0
    retries: int = 0  # tries before this one
    resumed_at: int = 0  # so much the server had already
    sent: int = 0  # with that
    pieces: int = 0
    took_s: float = 0.0

    def progress(self, sent: int) -> None:
        """So many bytes have gone out, in one piece more unless it is said a second time."""
        self.pieces += sent != self.sent
        self.sent = sent

    def resume(self, at: int) -> None:
        """An earlier try has sent the bytes up to `at`."""
        self.resumed_at = self.sent = at

    @property
    def carried(self) -> int:
        """What went over the line this time."""
        return max(0, self.sent - self.resumed_at)

    @property
    def bytes_per_s(self) -> float:
        return self.carried / self.took_s if self.took_s else 0.0


@dataclass(slots=True)
class _Second:
    at: int
    items: int = 0
    bytes: int = 0


class Traffic:
    """What went to the server in the last WINDOW_S seconds, what is on its way now, and all of it since the start."""

    def __init__(self, clock: Clock) -> None:
        self.load = Load(clock)
        self.waits = Waits(clock.now())
        self.faults: Counter[str] = Counter()  # how tries ended that failed
        self.items = 0  # the library has them, whether they were sent or known
        self.bytes = 0
        self.pieces = 0
        self.retries = 0
        self.upload_s = Histogram()
        self.embedding_s = Histogram()  # from the library's answer to searchable
        self.ended: deque[Transfer] = deque(maxlen=UPLOADS_KEPT)
        self._clock = clock
        self._seconds: deque[_Second] = deque(maxlen=WINDOW_S + 1)
        self._transfers: list[Transfer] = []

    def record(self, size_bytes: int) -> None:
        """One item is done, and so many bytes were sent for it: none for one that the library had."""
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
        """What is being sent now, the oldest first."""
        return tuple(self._transfers)

    @contextlib.contextmanager
    def transfer(self, path: bytes, size: int, *, retries: int = 0, is_company: bool = False) -> Iterator[Transfer]:
        """Show an upload among the `transfers` while it is under way. One that sent nothing was no upload.

        Of several in one request one keeps the line busy; the others are only its company.
        """
        transfer = Transfer(path, size, self._clock.now(), retries)
        started_at = self._clock.monotonic()
        self._transfers.append(transfer)
        try:
            with contextlib.nullcontext() if is_company else self.load.at("sending"):
                yield transfer
        finally:
            self._transfers.remove(transfer)
            transfer.took_s = self._clock.monotonic() - started_at
            if transfer.carried:
                self._count(transfer)

    def _count(self, transfer: Transfer) -> None:
        self.bytes += transfer.carried
        self.pieces += transfer.pieces
        self.retries += transfer.retries > 0
        self.upload_s.observe(transfer.took_s)
        self.ended.append(transfer)

    def _recent(self) -> list[_Second]:
        since = int(self._clock.monotonic()) - WINDOW_S
        return [second for second in self._seconds if second.at > since]

    def _span_s(self) -> int:
        """The window, or as much of it as has passed since it went on: a start is not slow because it is young."""
        recent = self._recent()
        return int(self._clock.monotonic()) - recent[0].at + 1 if recent else WINDOW_S
