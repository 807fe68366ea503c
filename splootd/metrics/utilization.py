"""Average number of workers busy with each activity."""

from collections import Counter, defaultdict, deque
from collections.abc import Mapping

from splootd.clock import Clock

UTILIZATION_WINDOW_S = 10.0
CHECKPOINT_INTERVAL_S = 1.0


class Utilization:
    """Time-weighted average concurrency of each activity over the last UTILIZATION_WINDOW_S seconds.

    With three connections the average of `sending` is at most 3. Worker-seconds are accumulated and checkpointed about
    once a second, so that the time before the window can be subtracted.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._active: Counter[str] = Counter()
        self._worker_seconds: defaultdict[str, float] = defaultdict(float)
        self._since = 0.0
        self._checkpoints: deque[tuple[float, Mapping[str, float]]] = deque()

    def track(self, activity: str) -> "_Tracking":
        """Count one more worker at `activity` until the end of the block."""
        return _Tracking(self, activity)

    def change(self, activity: str, workers: int) -> None:
        """Add `workers` to those at `activity`."""
        self._accumulate()
        self._active[activity] += workers

    def average(self, activity: str) -> float:
        """Return the average number of workers at `activity` in the window."""
        now = self._accumulate()
        (at, before), *later = self._checkpoints
        spent, start = before.get(activity, 0.0), now - UTILIZATION_WINDOW_S
        if at < start:  # interpolate linearly between two checkpoints
            end, after = later[0] if later else (now, self._worker_seconds)
            spent += (after.get(activity, 0.0) - spent) * (start - at) / (end - at)
            at = start
        # Divide by the time observed so far: right after the start the full window would understate the utilization.
        return (self._worker_seconds[activity] - spent) / max(CHECKPOINT_INTERVAL_S, now - at)

    def _accumulate(self) -> float:
        """Add the worker-seconds since the last change and return the current time."""
        now = self._clock.monotonic()
        if now - self._since > UTILIZATION_WINDOW_S and not any(self._active.values()):
            self._checkpoints.clear()
        for activity, active in self._active.items():
            self._worker_seconds[activity] += active * (now - self._since)
        self._since = now
        if not self._checkpoints or now - self._checkpoints[-1][0] >= CHECKPOINT_INTERVAL_S:
            self._checkpoints.append((now, dict(self._worker_seconds)))
        while len(self._checkpoints) > 1 and self._checkpoints[1][0] <= now - UTILIZATION_WINDOW_S:
            self._checkpoints.popleft()
        return now


class _Tracking:
    """One worker at an activity. Not a generator: that would cost as much as what it measures."""

    def __init__(self, utilization: Utilization, activity: str) -> None:
        self._utilization = utilization
        self._activity = activity

    def __enter__(self) -> None:
        self._utilization.change(self._activity, 1)

    def __exit__(self, *_: object) -> None:
        self._utilization.change(self._activity, -1)
