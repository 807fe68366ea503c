"""Log-linear latency histogram: ninety linear buckets per decade, each at most 10 % wide.

This is the layout of OpenHistogram (two significant decimal digits). The bounds are round decimal numbers, so the few
Prometheus buckets are exact sums of these buckets.
"""

from bisect import bisect_left
from collections.abc import Sequence

BOUNDS = (*(float(f"{digits}e{exponent}") for exponent in range(-5, 2) for digits in range(10, 100)), 1_000.0)
"""Inclusive upper bounds, 0.1 ms to 1000 s. Smaller values count in the first bucket, larger ones in an extra last."""

PRECISION = 0.1  # a quantile is never too small and at most this share too large


class Histogram:
    """Counts durations in seconds. An observation costs one binary search."""

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
        """Return the quantile for `share` (0 to 1, p99 is 0.99); 0 without observations."""
        rank, seen = share * self.count, 0
        for bound, count in zip(BOUNDS, self._counts, strict=False):
            seen += count
            if count and seen >= rank:
                return min(bound, self._largest)
        return self._largest

    def cumulative_counts(self, bounds: Sequence[float]) -> list[int]:
        """Return the cumulative count for each of `bounds`, which must ascend and be members of BOUNDS."""
        counts, seen, start = [], 0, 0
        for bound in bounds:
            end = bisect_left(BOUNDS, bound) + 1
            seen += sum(self._counts[start:end])
            counts.append(seen)
            start = end
        return counts
