"""Resident memory of the daemon over the last five minutes."""

from collections import deque

RSS_WINDOW_S = 300.0
SAMPLE_INTERVAL_S = 10.0


class RssSamples:
    """Samples of the resident set size in bytes, taken at least SAMPLE_INTERVAL_S apart."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque(maxlen=int(RSS_WINDOW_S / SAMPLE_INTERVAL_S) + 1)

    def observe(self, rss_bytes: int, at: float) -> None:
        """Add a sample taken `at` monotonic seconds."""
        self._samples.append((at, rss_bytes))

    def peak_bytes(self, now: float) -> int:
        return max(self._within(now), default=0)

    def average_bytes(self, now: float) -> int:
        within = self._within(now)
        return sum(within) // len(within) if within else 0

    def _within(self, now: float) -> list[int]:
        return [rss_bytes for at, rss_bytes in self._samples if at >= now - RSS_WINDOW_S]
