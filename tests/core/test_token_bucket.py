"""The token bucket never exceeds burst plus rate in any time span."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.core.token_bucket import TokenBucket

RATE, BURST = 1_000.0, 500.0


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(1, BURST)), min_size=1, max_size=60))
def test_no_time_span_exceeds_burst_plus_rate(steps: list[tuple[float, float]]):
    bucket, now, sent = TokenBucket(RATE, BURST, 0.0), 0.0, []
    for pause_s, amount in steps:
        now += pause_s
        sent.append((now + bucket.take(amount, now), amount))
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            sent_bytes = sum(amount for _, amount in sent[first : last + 1])
            assert sent_bytes <= BURST + RATE * (sent[last][0] - sent[first][0]) + 1e-6


@given(st.lists(st.floats(1, BURST), min_size=1, max_size=60))
def test_waiting_callers_get_the_full_rate_in_order(amounts: list[float]):
    bucket = TokenBucket(RATE, BURST, 0.0)
    waits = [bucket.take(amount, 0.0) for amount in amounts]
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(max(0.0, (sum(amounts) - BURST) / RATE), abs=1e-6)


def test_an_idle_bucket_fills_up_to_the_burst():
    bucket = TokenBucket(RATE, BURST, 0.0)
    assert bucket.take(BURST, 1_000.0) == 0
    assert bucket.take(100, 1_000.0) == pytest.approx(0.1)


def test_more_than_a_burst_raises():
    with pytest.raises(ValueError, match="501"):
        TokenBucket(RATE, BURST, 0.0).take(501, 0.0)
