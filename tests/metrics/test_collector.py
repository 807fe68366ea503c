"""Metric values: utilization, API calls, queue latency, rss and transfers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.clock import Clock
from splootd.core.item import Item, Priority, State, Version
from splootd.metrics import MetricsCollector
from splootd.metrics.api_calls import RECENT_CALLS, ApiCalls
from splootd.metrics.queue_latency import TRACKED_ITEMS_MAX, UrgentQueueLatency
from splootd.metrics.rss import RSS_WINDOW_S, RssSamples
from splootd.metrics.utilization import UTILIZATION_WINDOW_S, Utilization


class FixedClock(Clock):
    at = 1000.0

    def monotonic(self) -> float:
        return self.at

    def now(self) -> float:
        return self.at


def item(
    number: int, *, priority: Priority = Priority.URGENT, added_at: float = 0.0, error_code: str | None = None
) -> Item:
    version = Version(1, 1, 1, 1)
    return Item(
        number, b"/a", version, State.UPLOADING, priority, 0, added_at, 0.0, None, 0, None, None, False, error_code,
        None, None, (), False,
    )  # fmt: skip


def test_utilization_is_the_average_number_of_workers():
    clock = FixedClock()
    utilization = Utilization(clock)
    with utilization.track("sending"):
        clock.at += 5
        with utilization.track("sending"):
            clock.at += 5
    assert utilization.average("sending") == pytest.approx(1.5)
    assert utilization.average("reading") == 0


@given(st.lists(st.tuples(st.floats(0, 30), st.floats(0.01, 30)), min_size=1, max_size=30))
def test_one_worker_is_never_counted_as_more_than_one(spans: list[tuple[float, float]]):
    clock = FixedClock()
    utilization = Utilization(clock)
    for pause_s, work_s in spans:
        clock.at += pause_s
        with utilization.track("sending"):
            clock.at += work_s
        assert 0 <= utilization.average("sending") <= 1 + 1e-6


def test_utilization_includes_unfinished_work():
    clock = FixedClock()
    utilization = Utilization(clock)
    with utilization.track("sending"):
        clock.at += 3 * UTILIZATION_WINDOW_S
        assert utilization.average("sending") == pytest.approx(1)


def test_utilization_is_zero_after_the_window():
    clock = FixedClock()
    utilization = Utilization(clock)
    with utilization.track("sending"):
        clock.at += 5
    clock.at += UTILIZATION_WINDOW_S + 1
    assert utilization.average("sending") == 0


def test_an_exception_ends_the_tracking():
    clock = FixedClock()
    utilization = Utilization(clock)
    with pytest.raises(KeyError), utilization.track("sending"):
        raise KeyError
    clock.at += 5
    assert utilization.average("sending") == 0


def test_calls_are_counted_by_endpoint_and_outcome():
    calls = ApiCalls()
    for outcome in ("ok", "ok", "unreachable"):
        calls.observe("check", outcome, 0.2)
    call = calls["check"]
    assert (call.seconds.count, call.errors, dict(call.outcomes)) == (3, 1, {"ok": 2, "unreachable": 1})
    assert list(calls.by_endpoint) == ["check"]


def test_the_median_covers_the_recent_calls():
    calls = ApiCalls()
    for _ in range(1000):
        calls.observe("check", "ok", 9.0)
    for _ in range(RECENT_CALLS):
        calls.observe("check", "ok", 0.1)
    assert calls["check"].recent_median_s == 0.1
    assert calls.recent_median_s("check") == 0.1
    assert calls.recent_median_s("upload") == 0
    assert set(calls.by_endpoint) == {"check"}, "reading a median adds no series"


def test_the_latency_of_an_urgent_item_starts_at_its_add():
    latency = UrgentQueueLatency(started_at=100.0)
    latency.record_claim(item(1, added_at=100.0), now=100.5)
    assert (latency.seconds.count, latency.seconds.sum) == (1, 0.5)


def test_the_latency_of_a_bumped_item_starts_at_the_bump_and_is_measured_once():
    latency = UrgentQueueLatency(started_at=100.0)
    latency.record_requests([1], now=200.0)
    latency.record_claim(item(1, error_code="unreachable"), now=201.0)
    latency.record_claim(item(1, error_code="unreachable"), now=300.0)
    assert (latency.seconds.count, latency.seconds.sum) == (1, 1.0)


@pytest.mark.parametrize(
    "other",
    [
        item(1, added_at=150.0, priority=Priority.NORMAL),
        item(1, added_at=150.0, error_code="unreachable"),
        item(1, added_at=50.0),
    ],
    ids=["normal", "second attempt", "added before the start"],
)
def test_other_items_are_not_measured(other: Item):
    latency = UrgentQueueLatency(started_at=100.0)
    latency.record_claim(other, now=200.0)
    assert latency.seconds.count == 0


def test_the_number_of_tracked_requests_is_bounded():
    latency = UrgentQueueLatency(started_at=0.0)
    latency.record_requests(range(TRACKED_ITEMS_MAX + 10), now=1.0)
    latency.record_claim(item(0, added_at=-1.0), now=2.0)
    latency.record_claim(item(TRACKED_ITEMS_MAX + 9, added_at=-1.0), now=2.0)
    assert latency.seconds.count == 1


def test_memory_samples_cover_five_minutes():
    rss = RssSamples()
    for at, rss_bytes in ((0.0, 900), (200.0, 100), (250.0, 300)):
        rss.observe(rss_bytes, at)
    assert (rss.peak_bytes(250.0), rss.average_bytes(250.0)) == (900, 433)
    assert (rss.peak_bytes(RSS_WINDOW_S + 1), rss.average_bytes(RSS_WINDOW_S + 1)) == (300, 200)
    assert RssSamples().average_bytes(0.0) == 0


def test_a_completed_upload_is_kept_for_the_report():
    clock = FixedClock()
    metrics = MetricsCollector(clock)
    with metrics.transfer(b"/a", 10, retries=2) as transfer:
        for sent in (4, 10, 10):
            transfer.record_progress(sent)
        clock.at += 2
    (completed,) = metrics.completed
    assert (completed.chunks, completed.retries, completed.took_s, completed.bytes_per_s) == (2, 2, 2.0, 5.0)
    assert (metrics.bytes, metrics.chunks, metrics.retries, metrics.upload_s.count) == (10, 2, 1, 1)


def test_a_transfer_without_bytes_is_not_an_upload():
    metrics = MetricsCollector(FixedClock())
    with metrics.transfer(b"/a", 10):
        pass
    assert (len(metrics.completed), metrics.upload_s.count) == (0, 0)
