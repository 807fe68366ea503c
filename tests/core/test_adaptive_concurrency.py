"""Upload concurrency decreases while a large backlog grows, and never reaches zero."""

from hypothesis import given
from hypothesis import strategies as st

from splootd.core.adaptive_concurrency import BACKLOG_THRESHOLD, AdaptiveConcurrency

backlogs = st.lists(st.integers(0, 5 * BACKLOG_THRESHOLD), max_size=50)


@given(backlogs, st.integers(1, 3))
def test_concurrency_stays_between_one_and_the_maximum(updates: list[int], concurrency_max: int):
    concurrency = AdaptiveConcurrency(concurrency_max)
    assert all(1 <= concurrency.update(outstanding) <= concurrency_max for outstanding in updates)


@given(backlogs)
def test_a_small_backlog_does_not_reduce_concurrency(updates: list[int]):
    concurrency = AdaptiveConcurrency(3)
    assert all(concurrency.update(min(outstanding, BACKLOG_THRESHOLD)) == 3 for outstanding in updates)


@given(backlogs)
def test_two_updates_after_the_backlog_stops_growing_restore_the_maximum(updates: list[int]):
    concurrency = AdaptiveConcurrency(3)
    for outstanding in updates:
        concurrency.update(outstanding)
    last = updates[-1] if updates else 0
    assert [concurrency.update(last), concurrency.update(last)][-1] == 3


def test_a_growing_large_backlog_reduces_concurrency_to_one():
    concurrency = AdaptiveConcurrency(3)
    assert [concurrency.update(BACKLOG_THRESHOLD + each) for each in (1, 2, 3, 3, 2)] == [2, 1, 1, 2, 3]


def test_reduced_concurrency_never_starves_the_server():
    """A server that embeds two files per second has the same throughput with and without adaptation."""

    def searchable(*, is_adaptive: bool) -> int:
        adaptive, left, outstanding, done = AdaptiveConcurrency(3), 5_000, 0, 0
        for second in range(2_000):
            sent = min(left, 5 * (adaptive.concurrency if is_adaptive else 3))
            left, outstanding = left - sent, outstanding + sent
            served = min(2, outstanding)
            outstanding, done = outstanding - served, done + served
            if second % 10 == 0:
                adaptive.update(outstanding)
        return done

    assert searchable(is_adaptive=True) == searchable(is_adaptive=False) == 4_000
