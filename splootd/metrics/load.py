"""What the hands of the daemon are busy with."""

import contextlib
from collections import Counter, defaultdict, deque
from collections.abc import Iterator

from splootd.clock import Clock

LOAD_WINDOW_S = 10


class Load:
    """How many hands were at each activity, on average, in the last LOAD_WINDOW_S seconds.

    It tells where the time goes: of three connections, `sending` is at most 3.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._hands: Counter[str] = Counter()
        self._since = 0.0
        self._seconds: deque[tuple[int, defaultdict[str, float]]] = deque(maxlen=LOAD_WINDOW_S + 1)

    @contextlib.contextmanager
    def at(self, activity: str) -> Iterator[None]:
        """One hand more is at `activity`, until the end of the block."""
        self._settle()
        self._hands[activity] += 1
        try:
            yield
        finally:
            self._settle()
            self._hands[activity] -= 1

    def hands(self, activity: str) -> float:
        self._settle()
        recent = [(second, busy) for second, busy in self._seconds if second > int(self._since) - LOAD_WINDOW_S]
        span_s = max(1.0, self._since - recent[0][0])  # a start is not idle because it is young
        return sum(busy[activity] for _, busy in recent) / span_s

    def _settle(self) -> None:
        """Book the time since the last change, all of it in the present second: exact enough for an average."""
        now = self._clock.monotonic()
        passed_s, self._since = min(now - self._since, LOAD_WINDOW_S), now
        if not self._seconds or self._seconds[-1][0] != int(now):
            self._seconds.append((int(now), defaultdict(float)))
        busy = self._seconds[-1][1]
        for activity, hands in self._hands.items():
            if hands:
                busy[activity] += hands * passed_s
