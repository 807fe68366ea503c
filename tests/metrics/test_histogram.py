"""The histogram against the samples themselves."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.metrics.exposition import SHOWN_S
from splootd.metrics.histogram import BOUNDS, PRECISION, Histogram

durations = st.lists(st.floats(1e-4, 999.0), min_size=1, max_size=200)


def of(samples: list[float]) -> Histogram:
    histogram = Histogram()
    for sample in samples:
        histogram.observe(sample)
    return histogram


@given(durations, st.floats(0, 1))
def test_a_quantile_is_never_too_small_and_at_most_a_tenth_too_large(samples: list[float], share: float):
    true = sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]
    assert true <= of(samples).quantile(share) <= true * (1 + PRECISION) * (1 + 1e-9)


@given(durations)
def test_what_prometheus_is_told_is_exact(samples: list[float]):
    assert of(samples).at_most(SHOWN_S) == [sum(sample <= bound for sample in samples) for bound in SHOWN_S]


@given(durations)
def test_count_and_sum_are_those_of_the_samples(samples: list[float]):
    histogram = of(samples)
    assert (histogram.count, histogram.sum) == (len(samples), pytest.approx(math.fsum(samples)))
    assert histogram.quantile(1.0) == max(samples)


def test_what_is_out_of_all_bounds_is_counted_too():
    histogram = of([0.0, 5_000.0])
    assert (histogram.quantile(0.5), histogram.quantile(1.0)) == (BOUNDS[0], 5_000.0)
    assert histogram.at_most((10.0,)) == [1]


def test_without_samples_everything_is_zero():
    assert (Histogram().quantile(0.99), Histogram().at_most(SHOWN_S)) == (0.0, [0] * len(SHOWN_S))


def test_every_bucket_is_at_most_a_tenth_wide_and_those_that_are_shown_are_borders():
    assert all(upper / lower <= 1 + PRECISION + 1e-9 for lower, upper in itertools.pairwise(BOUNDS))
    assert set(SHOWN_S) <= set(BOUNDS)
