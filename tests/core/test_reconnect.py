"""A lost push channel is retried quickly five times, then rarely."""

from hypothesis import given
from hypothesis import strategies as st

from splootd.core.reconnect import (
    DELAYS_S,
    FAILURES_MAX,
    SLOW_RETRY_S,
    STABLE_AFTER_S,
    delay_s,
    has_exhausted_retries,
    next_failure_count,
)

chances = st.floats(0, 1)


def test_the_delay_doubles_five_times_and_then_stays_at_minutes() -> None:
    failures, delays = 0, []
    for _ in range(8):
        failures = next_failure_count(failures, connected_s=0.0)
        delays.append(delay_s(failures, chance=0.5))
    assert delays == [1, 2, 4, 8, 16, SLOW_RETRY_S, SLOW_RETRY_S, SLOW_RETRY_S]
    assert SLOW_RETRY_S >= 120


@given(st.integers(1, FAILURES_MAX), chances)
def test_the_jitter_is_at_most_a_quarter(failures: int, chance: float) -> None:
    middle = delay_s(failures, chance=0.5)
    assert 0.75 * middle <= delay_s(failures, chance=chance) <= 1.25 * middle


@given(st.integers(1, FAILURES_MAX - 1), chances, chances)
def test_a_later_delay_is_always_longer(failures: int, one: float, other: float) -> None:
    assert delay_s(failures + 1, chance=one) > delay_s(failures, chance=other)


@given(st.lists(st.floats(0, 3 * STABLE_AFTER_S), max_size=50))
def test_polling_takes_over_after_consecutive_short_connections(durations_s: list[float]) -> None:
    failures = consecutive = 0
    for connected_s in durations_s:
        failures = next_failure_count(failures, connected_s=connected_s)
        consecutive = 1 if connected_s >= STABLE_AFTER_S else consecutive + 1
        assert 1 <= failures <= FAILURES_MAX
        assert has_exhausted_retries(failures) == (consecutive > len(DELAYS_S))
