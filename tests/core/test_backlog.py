"""Fewer uploads at once while a large backlog grows, and never none."""

from hypothesis import given
from hypothesis import strategies as st

from splootd.core.backlog import BACKLOG_LARGE, Backlog

backlogs = st.lists(st.integers(0, 5 * BACKLOG_LARGE), max_size=50)


@given(backlogs, st.integers(1, 3))
def test_there_is_always_one_lane_and_never_more_than_there_are(looks: list[int], lanes_max: int):
    backlog = Backlog(lanes_max)
    assert all(1 <= backlog.seen(outstanding) <= lanes_max for outstanding in looks)


@given(backlogs)
def test_a_small_backlog_slows_nothing(looks: list[int]):
    backlog = Backlog(3)
    assert all(backlog.seen(min(outstanding, BACKLOG_LARGE)) == 3 for outstanding in looks)


@given(backlogs)
def test_two_looks_after_it_has_stopped_growing_all_lanes_are_open(looks: list[int]):
    backlog = Backlog(3)
    for outstanding in looks:
        backlog.seen(outstanding)
    last = looks[-1] if looks else 0
    assert [backlog.seen(last), backlog.seen(last)][-1] == 3


def test_while_a_large_one_grows_one_lane_is_left():
    backlog = Backlog(3)
    assert [backlog.seen(BACKLOG_LARGE + each) for each in (1, 2, 3, 3, 2)] == [2, 1, 1, 2, 3]


def test_a_server_is_never_starved_by_it():
    """A server that makes two files a second searchable is as busy with courtesy as without."""

    def searchable(*, is_polite: bool) -> int:
        backlog, left, outstanding, done = Backlog(3), 5_000, 0, 0
        for second in range(2_000):
            sent = min(left, 5 * (backlog.lanes if is_polite else 3))
            left, outstanding = left - sent, outstanding + sent
            served = min(2, outstanding)
            outstanding, done = outstanding - served, done + served
            if second % 10 == 0:
                backlog.seen(outstanding)
        return done

    assert searchable(is_polite=True) == searchable(is_polite=False) == 4_000
