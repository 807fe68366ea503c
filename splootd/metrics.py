"""How fast things go."""

import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from splootd.clock import Clock

WINDOW_S = 10


@dataclass(slots=True, eq=False)
class Transfer:
    """One upload that is under way. Sizes are bytes."""

    path: bytes
    size: int
    sent: int = 0

    def progress(self, sent: int) -> None:
        self.sent = sent


@dataclass(slots=True)
class _Second:
    at: int
    items: int = 0
    bytes: int = 0


class Traffic:
    """What went to the server in the last WINDOW_S seconds, and what is on its way now."""

    def __init__(self, clock: Clock) -> None:
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
    def transfer(self, path: bytes, size: int) -> Iterator[Transfer]:
        """Show an upload among the `transfers` while it is under way."""
        transfer = Transfer(path, size)
        self._transfers.append(transfer)
        try:
            yield transfer
        finally:
            self._transfers.remove(transfer)

    def _recent(self) -> list[_Second]:
        since = int(self._clock.monotonic()) - WINDOW_S
        return [second for second in self._seconds if second.at > since]

    def _span_s(self) -> int:
        """The window, or as much of it as has passed since it went on: a start is not slow because it is young."""
        recent = self._recent()
        return int(self._clock.monotonic()) - recent[0].at + 1 if recent else WINDOW_S
