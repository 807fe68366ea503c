"""A log-linear histogram: ninety linear buckets in each decade, so that every bucket is at most a tenth wide.

This is the layout of OpenHistogram (two significant decimal digits). Its borders are round decimal numbers, so the few
that Prometheus is told are exact sums of ours.
"""

from bisect import bisect_left
from collections.abc import Sequence

BOUNDS = (*(float(f"{digits}e{exponent}") for exponent in range(-5, 2) for digits in range(10, 100)), 1_000.0)
"""Upper borders, each inclusive: 0.1 ms to 1000 s. What is below is in the first, what is above behind the last."""

PRECISION = 0.1  # a quantile is never too small, and never more than this part too large


class Histogram:
    """Counts of durations in seconds. Observing costs one binary search, whatever was observed before."""

    def __init__(self) -> None:
        self.sum = 0.0
        self.count = 0
        self._largest = 0.0
        self._counts = [0] * (len(BOUNDS) + 1)

    def __repr__(self) -> str:
        return f"Histogram({self.count} of {self.sum:.3f} s)"

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self.count += 1
        self.sum += seconds
        self._largest = max(self._largest, seconds)

    def quantile(self, share: float) -> float:
        """The duration that `share` (0 to 1) of all stay within: p99 is 0.99. 0 without any."""
        rank, seen = share * self.count, 0
        for bound, count in zip(BOUNDS, self._counts, strict=False):
            seen += count
            if count and seen >= rank:
                return min(bound, self._largest)
        return self._largest

    def at_most(self, bounds: Sequence[float]) -> list[int]:
        """How many were within each of `bounds`, which must be among BOUNDS and ascend."""
        found, seen, start = [], 0, 0
        for bound in bounds:
            end = bisect_left(BOUNDS, bound) + 1
            seen += sum(self._counts[start:end])
            found.append(seen)
            start = end
        return found
