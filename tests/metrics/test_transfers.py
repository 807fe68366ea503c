"""Throughput and transfers in flight."""

from splootd.clock import Clock
from splootd.metrics import WINDOW_S, MetricsCollector


class FixedClock(Clock):
    at = 1000.0

    def monotonic(self) -> float:
        return self.at


def test_rates_cover_the_window() -> None:
    clock = FixedClock()
    metrics = MetricsCollector(clock)
    for _ in range(2 * WINDOW_S):
        clock.at += 1
        for _ in range(3):
            metrics.record_item(100)
    assert (metrics.items_per_s, metrics.bytes_per_s) == (3, 300)
    clock.at += WINDOW_S
    assert (metrics.items_per_s, metrics.bytes_per_s) == (0, 0)


def test_the_rate_is_not_diluted_after_the_start() -> None:
    clock = FixedClock()
    metrics = MetricsCollector(clock)
    clock.at += 1000
    metrics.record_item(50)
    assert (metrics.items_per_s, metrics.bytes_per_s) == (1, 50)


def test_transfers_are_listed_while_in_flight() -> None:
    metrics = MetricsCollector(FixedClock())
    with metrics.transfer(b"/a", 10) as one, metrics.transfer(b"/a", 10) as other:
        other.record_progress(7)
        assert metrics.transfers == (one, other)
        assert [each.offset for each in metrics.transfers] == [0, 7]
    assert metrics.transfers == ()
