import itertools

from hypothesis import given
from hypothesis import strategies as st

from splootd.core.awaited import (
    ASK_AGAIN_MAX_S,
    ASK_MAX,
    BARREN_MAX,
    REQUEST_INTERVAL_S,
    Pace,
    Pages,
    ask_again_at,
)

times = st.floats(0, 1e10)


@given(times, st.floats(0, 1e7))
def test_it_is_asked_again_within_bounds(accepted_at: float, waited_s: float) -> None:
    now = accepted_at + waited_s
    assert now + REQUEST_INTERVAL_S <= ask_again_at(accepted_at=accepted_at, now=now) <= now + ASK_AGAIN_MAX_S


@given(times, times)
def test_a_clock_that_was_set_back_makes_no_difference(accepted_at: float, now: float) -> None:
    assert ask_again_at(accepted_at=accepted_at, now=now) >= now


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_what_takes_longer_is_asked_about_less_often(one: float, other: float) -> None:
    shorter, longer = sorted((one, other))
    assert ask_again_at(accepted_at=0, now=shorter) - shorter <= ask_again_at(accepted_at=0, now=longer) - longer + 1e-6


def test_asking_slows_down_from_two_seconds_to_a_minute() -> None:
    assert [ask_again_at(accepted_at=0, now=now) - now for now in (0, 8, 40, 240, 86_400)] == [2, 2, 10, 60, 60]


def test_a_request_asks_about_no_more_than_the_server_allows() -> None:
    assert ASK_MAX == 50


@given(st.lists(st.floats(0, 10), max_size=50))
def test_there_are_two_seconds_between_any_two_requests(pauses: list[float]) -> None:
    pace, now, asked = Pace(), 0.0, []
    for pause in pauses:
        now += pause
        if pace.wait_s(now) == 0:
            pace.asked(now)
            asked.append(now)
    assert all(later - earlier >= REQUEST_INTERVAL_S - 1e-9 for earlier, later in itertools.pairwise(asked))


def test_whoever_waits_as_long_as_told_may_ask() -> None:
    pace = Pace()
    pace.asked(100.0)
    assert pace.wait_s(100.5) == 1.5
    assert pace.wait_s(102.0) == 0


def test_the_pages_of_a_list_are_read_to_its_end_and_then_from_the_start() -> None:
    pages = Pages(200)
    for offset, rows in ((200, 200), (400, 200), (600, 150)):
        assert pages.offset == offset
        pages.read(rows=rows, found=1)
    assert pages.offset is None
    pages.begin()
    assert pages.offset == 200


def test_pages_of_what_others_have_sent_are_passed_over_but_not_for_ever() -> None:
    pages = Pages(200)
    for _ in range(BARREN_MAX - 1):
        pages.read(rows=200, found=0)
    pages.read(rows=200, found=1)
    for _ in range(BARREN_MAX):
        assert pages.offset is not None
        pages.read(rows=200, found=0)
    assert pages.offset is None
