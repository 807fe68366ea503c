"""What the hands of the daemon are busy with."""

import contextlib
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping

from splootd.clock import Clock

LOAD_WINDOW_S = 10.0
MARK_S = 1.0


class Load:
    """How many hands were at each activity, on average, in the last LOAD_WINDOW_S seconds.

    It tells where the time goes: of three connections, `sending` is at most 3. Hand-seconds are added up, and marked
    about once a second, so that what was spent before the window can be subtracted.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._hands: Counter[str] = Counter()
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._since = 0.0
        self._marks: deque[tuple[float, Mapping[str, float]]] = deque()

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
        now = self._settle()
        (at, before), *later = self._marks
        spent, start = before.get(activity, 0.0), now - LOAD_WINDOW_S
        if at < start:  # between two marks it is taken to have grown evenly
            end, after = later[0] if later else (now, self._spent)
            spent += (after.get(activity, 0.0) - spent) * (start - at) / (end - at)
            at = start
        return (self._spent[activity] - spent) / max(MARK_S, now - at)  # a start is not idle because it is young

    def _settle(self) -> float:
        """Book the time since the last change; the time that it is now."""
        now = self._clock.monotonic()
        if now - self._since > LOAD_WINDOW_S and not any(self._hands.values()):
            self._marks.clear()
        for activity, hands in self._hands.items():
            self._spent[activity] += hands * (now - self._since)
        self._since = now
        if not self._marks or now - self._marks[-1][0] >= MARK_S:
            self._marks.append((now, dict(self._spent)))
        while len(self._marks) > 1 and self._marks[1][0] <= now - LOAD_WINDOW_S:
            self._marks.popleft()
        return now
