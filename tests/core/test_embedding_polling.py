"""Polling schedule of pending embeddings."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.core.embedding_polling import (
    EMPTY_PAGES_MAX,
    IDS_PER_POLL_MAX,
    POLL_DELAY_MAX_S,
    POLL_INTERVAL_S,
    PageCursor,
    PollRateLimit,
    next_poll_at,
    page_size_for,
)

times = st.floats(0, 1e10)


@given(times, st.floats(0, 1e7))
def test_the_poll_delay_is_within_bounds(accepted_at: float, waited_s: float) -> None:
    now = accepted_at + waited_s
    assert now + POLL_INTERVAL_S <= next_poll_at(accepted_at=accepted_at, now=now) <= now + POLL_DELAY_MAX_S


@given(times, times)
def test_a_clock_set_back_never_schedules_a_poll_in_the_past(accepted_at: float, now: float) -> None:
    assert next_poll_at(accepted_at=accepted_at, now=now) >= now


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_longer_waits_are_polled_less_often(one: float, other: float) -> None:
    shorter, longer = sorted((one, other))
    assert next_poll_at(accepted_at=0, now=shorter) - shorter <= next_poll_at(accepted_at=0, now=longer) - longer + 1e-6


def test_the_poll_delay_grows_from_two_seconds_to_a_minute() -> None:
    assert [next_poll_at(accepted_at=0, now=now) - now for now in (0, 8, 40, 240, 86_400)] == [2, 2, 10, 60, 60]


def test_the_batch_size_is_the_servers_limit() -> None:
    assert IDS_PER_POLL_MAX == 50


@given(st.lists(st.floats(0, 10), max_size=50))
def test_polls_are_at_least_two_seconds_apart(pauses: list[float]) -> None:
    rate_limit, now, polled_at = PollRateLimit(), 0.0, []
    for pause in pauses:
        now += pause
        if rate_limit.wait_s(now) == 0:
            rate_limit.record_poll(now)
            polled_at.append(now)
    assert all(later - earlier >= POLL_INTERVAL_S - 1e-9 for earlier, later in itertools.pairwise(polled_at))


def test_a_poll_is_allowed_after_the_reported_wait() -> None:
    rate_limit = PollRateLimit()
    rate_limit.record_poll(100.0)
    assert rate_limit.wait_s(100.5) == 1.5
    assert rate_limit.wait_s(102.0) == 0


def test_pages_are_read_to_the_end_and_then_from_the_start() -> None:
    cursor = PageCursor(200)
    assert cursor.offset == 0
    for offset, rows in ((50, 200), (250, 200), (450, 150)):
        cursor.advance(offset, rows=rows, matches=1)
        assert cursor.offset == (offset + 200 if rows == 200 else None)
    cursor.reset()
    assert cursor.offset == 0


def test_pages_without_a_match_are_skipped_up_to_a_limit() -> None:
    cursor = PageCursor(200)
    for _ in range(EMPTY_PAGES_MAX - 1):
        cursor.advance(200, rows=200, matches=0)
    cursor.advance(200, rows=200, matches=1)
    for _ in range(EMPTY_PAGES_MAX):
        assert cursor.offset is not None
        cursor.advance(200, rows=200, matches=0)
    assert cursor.offset is None


@pytest.mark.parametrize(
    ("pending", "size"), [(1, 50), (50, 50), (51, 200), (201, 1_000), (1_000, 1_000), (9_999, 1_000)]
)
def test_one_page_covers_a_thousand_pending_embeddings(pending: int, size: int) -> None:
    assert page_size_for(pending) == size
