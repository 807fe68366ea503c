"""The token bucket: never more than the burst and what the rate has brought, in any stretch of time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.core.bucket import Bucket

RATE, BURST = 1_000.0, 500.0


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(1, BURST)), min_size=1, max_size=60))
def test_no_stretch_of_time_carries_more_than_the_burst_and_the_rate(steps: list[tuple[float, float]]):
    bucket, now, went = Bucket(RATE, BURST, 0.0), 0.0, []
    for pause_s, amount in steps:
        now += pause_s
        went.append((now + bucket.take(amount, now), amount))
    for first in range(len(went)):
        for last in range(first, len(went)):
            carried = sum(amount for _, amount in went[first : last + 1])
            assert carried <= BURST + RATE * (went[last][0] - went[first][0]) + 1e-6


@given(st.lists(st.floats(1, BURST), min_size=1, max_size=60))
def test_a_queue_of_callers_gets_the_whole_rate_and_its_order(amounts: list[float]):
    bucket = Bucket(RATE, BURST, 0.0)
    waits = [bucket.take(amount, 0.0) for amount in amounts]
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(max(0.0, (sum(amounts) - BURST) / RATE), abs=1e-6)


def test_rest_fills_it_to_the_brim_and_no_further():
    bucket = Bucket(RATE, BURST, 0.0)
    assert bucket.take(BURST, 1_000.0) == 0
    assert bucket.take(100, 1_000.0) == pytest.approx(0.1)


def test_more_than_a_burst_at_once_is_a_mistake():
    with pytest.raises(ValueError, match="501"):
        Bucket(RATE, BURST, 0.0).take(501, 0.0)
