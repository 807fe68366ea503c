"""The histogram compared with the exact samples."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.metrics.exposition import BUCKET_BOUNDS_S
from splootd.metrics.histogram import BOUNDS, PRECISION, Histogram

durations = st.lists(st.floats(1e-4, 999.0), min_size=1, max_size=200)


def histogram_of(samples: list[float]) -> Histogram:
    histogram = Histogram()
    for sample in samples:
        histogram.observe(sample)
    return histogram


@given(durations, st.floats(0, 1))
def test_a_quantile_is_never_too_small_and_at_most_ten_percent_too_large(samples: list[float], share: float):
    exact = sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]
    assert exact <= histogram_of(samples).quantile(share) <= exact * (1 + PRECISION) * (1 + 1e-9)


@given(durations)
def test_the_prometheus_buckets_are_exact(samples: list[float]):
    assert histogram_of(samples).cumulative_counts(BUCKET_BOUNDS_S) == [
        sum(sample <= bound for sample in samples) for bound in BUCKET_BOUNDS_S
    ]


@given(durations)
def test_count_and_sum_match_the_samples(samples: list[float]):
    histogram = histogram_of(samples)
    assert (histogram.count, histogram.sum) == (len(samples), pytest.approx(math.fsum(samples)))
    assert histogram.quantile(1.0) == max(samples)


def test_values_out_of_bounds_are_counted():
    histogram = histogram_of([0.0, 5_000.0])
    assert (histogram.quantile(0.5), histogram.quantile(1.0)) == (BOUNDS[0], 5_000.0)
    assert histogram.cumulative_counts((10.0,)) == [1]


def test_without_samples_everything_is_zero():
    assert (Histogram().quantile(0.99), Histogram().cumulative_counts(BUCKET_BOUNDS_S)) == (
        0.0,
        [0] * len(BUCKET_BOUNDS_S),
    )


def test_every_bucket_is_at_most_ten_percent_wide_and_contains_the_exported_bounds():
    assert all(upper / lower <= 1 + PRECISION + 1e-9 for lower, upper in itertools.pairwise(BOUNDS))
    assert set(BUCKET_BOUNDS_S) <= set(BOUNDS)
