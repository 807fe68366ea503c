"""An embedding is stuck when the server does nothing, or has passed it by; not because there is a queue."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.core.awaited import (
    CALM_INTERVAL_S,
    CHECK_AGAIN_MAX_S,
    REQUEST_INTERVAL_S,
    STUCK_MAX,
    TRIES_MAX,
    Pace,
    Patience,
    Step,
    check_again_at,
)

HOUR = 3600.0


def test_a_backlog_that_moves_is_not_stuck_however_long_it_is() -> None:
    patience = Patience(HOUR, now=0.0)
    for minute in range(1, 600):
        now = minute * 60.0
        patience.ended(minute, accepted_at=minute / 1000, now=now)  # they came together, this one last
        assert patience.step(9999, accepted_at=1.0, now=now) is Step.WAIT


def test_when_nothing_ends_any_more_everything_is_stuck() -> None:
    patience = Patience(HOUR, now=0.0)
    assert patience.step(1, accepted_at=0.0, now=HOUR - 1) is Step.WAIT
    assert patience.step(1, accepted_at=0.0, now=HOUR) is Step.TRY
    assert patience.step(2, accepted_at=0.0, now=HOUR) is Step.TRY
    assert patience.step(3, accepted_at=1.0, now=HOUR) is Step.WAIT


def test_what_was_overtaken_by_one_that_came_much_later_is_stuck() -> None:
    patience = Patience(HOUR, now=0.0)
    patience.ended(2, accepted_at=HOUR - 1, now=5000.0)
    assert patience.step(1, accepted_at=0.0, now=5000.0) is Step.WAIT
    patience.ended(3, accepted_at=HOUR, now=5000.0)
    assert patience.step(1, accepted_at=0.0, now=5000.0) is Step.TRY


def test_it_is_tried_three_times_and_then_given_up() -> None:
    patience, steps, now = Patience(HOUR, now=0.0), [], HOUR
    while Step.GIVE_UP not in steps:
        steps.append(patience.step(1, accepted_at=0.0, now=now))
        now += 60.0
    assert [step for step in steps if step is not Step.WAIT] == [Step.TRY] * TRIES_MAX + [Step.GIVE_UP]
    assert now == pytest.approx(HOUR + TRIES_MAX * HOUR / 2, abs=120)


def test_time_before_the_daemon_listened_does_not_count() -> None:
    patience = Patience(HOUR, now=100 * HOUR)
    assert patience.step(1, accepted_at=0.0, now=100 * HOUR) is Step.WAIT


def test_giving_up_one_does_not_count_as_news_of_the_others() -> None:
    patience = Patience(HOUR, now=0.0)
    for tries in range(TRIES_MAX):
        assert patience.step(1, accepted_at=0.0, now=HOUR + tries * HOUR / 2) is Step.TRY
    late = HOUR + TRIES_MAX * HOUR / 2
    assert patience.step(1, accepted_at=0.0, now=late) is Step.GIVE_UP
    assert patience.step(2, accepted_at=0.0, now=late) is Step.TRY


def test_only_so_many_are_tried_at_a_time() -> None:
    patience = Patience(HOUR, now=0.0)
    for item_id in range(STUCK_MAX):
        assert patience.step(item_id, accepted_at=0.0, now=HOUR) is Step.TRY
    assert patience.step(STUCK_MAX, accepted_at=0.0, now=HOUR) is Step.WAIT


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.floats(0, 2 * HOUR)), max_size=60))
def test_no_embedding_is_tried_more_often_than_allowed(story: list[tuple[int, bool, float]]) -> None:
    patience, now, tries = Patience(HOUR, now=0.0), 0.0, dict.fromkeys(range(4), 0)
    for item_id, has_ended, pause_s in story:
        now += pause_s
        if has_ended:
            patience.ended(item_id, accepted_at=0.0, now=now)
            tries[item_id] = 0
            continue
        match patience.step(item_id, accepted_at=0.0, now=now):
            case Step.TRY:
                tries[item_id] += 1
            case Step.GIVE_UP:
                assert tries[item_id] == TRIES_MAX
                tries[item_id] = 0
        assert tries[item_id] <= TRIES_MAX


@given(st.floats(0, 1e10), st.floats(0, 1))
def test_what_is_pushed_is_checked_rarely(now: float, chance: float) -> None:
    assert CHECK_AGAIN_MAX_S / 2 - 1 <= check_again_at(now=now, chance=chance) - now <= CHECK_AGAIN_MAX_S + 1


def test_while_the_server_pushes_there_is_more_time_between_questions() -> None:
    pace = Pace()
    pace.asked(0.0, calm=True)
    assert pace.wait_s(0.0) == CALM_INTERVAL_S > REQUEST_INTERVAL_S
