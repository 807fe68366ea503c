"""An embedding is stuck when the server makes no progress or overtakes it, not because of a long queue."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.core.embedding_polling import (
    EMBEDDING_RETRIES_MAX,
    FALLBACK_POLL_DELAY_MAX_S,
    POLL_INTERVAL_S,
    POLL_INTERVAL_WITH_PUSH_S,
    STUCK_MAX,
    PollRateLimit,
    StuckAction,
    StuckDetector,
    next_fallback_poll_at,
)

HOUR = 3600.0


def test_a_moving_backlog_of_any_length_is_not_stuck() -> None:
    detector = StuckDetector(HOUR, now=0.0)
    for minute in range(1, 600):
        now = minute * 60.0
        detector.record_completion(minute, accepted_at=minute / 1000, now=now)  # accepted together, this one last
        assert detector.next_action(9999, accepted_at=1.0, now=now) is StuckAction.WAIT


def test_without_any_completion_everything_is_stuck() -> None:
    detector = StuckDetector(HOUR, now=0.0)
    assert detector.next_action(1, accepted_at=0.0, now=HOUR - 1) is StuckAction.WAIT
    assert detector.next_action(1, accepted_at=0.0, now=HOUR) is StuckAction.RETRY
    assert detector.next_action(2, accepted_at=0.0, now=HOUR) is StuckAction.RETRY
    assert detector.next_action(3, accepted_at=1.0, now=HOUR) is StuckAction.WAIT


def test_an_overtaken_embedding_is_stuck() -> None:
    detector = StuckDetector(HOUR, now=0.0)
    detector.record_completion(2, accepted_at=59.0, now=60.0)
    assert detector.next_action(1, accepted_at=0.0, now=60.0) is StuckAction.WAIT
    detector.record_completion(3, accepted_at=60.0, now=61.0)
    assert detector.next_action(1, accepted_at=0.0, now=61.0) is StuckAction.RETRY


@pytest.mark.parametrize(("takes_s", "patience_s"), [(1.0, 60.0), (10.0, 200.0), (1_000.0, HOUR)])
def test_patience_is_twenty_times_what_the_others_take(takes_s: float, patience_s: float) -> None:
    detector = StuckDetector(HOUR, now=0.0)
    assert detector.patience_s == HOUR, "nothing was measured"
    for number in range(100):
        detector.record_completion(number, accepted_at=0.0, now=takes_s if number < 96 else HOUR)
    assert detector.patience_s == patience_s


def test_an_embedding_that_was_never_requested_is_requested_after_ten_seconds() -> None:
    detector = StuckDetector(HOUR, now=0.0)
    assert detector.next_action(1, accepted_at=0.0, now=9.0, is_requested=False) is StuckAction.WAIT
    assert detector.next_action(1, accepted_at=0.0, now=10.0, is_requested=False) is StuckAction.RETRY
    assert detector.next_action(1, accepted_at=0.0, now=20.0, is_requested=False) is StuckAction.WAIT


def test_requested_embeddings_that_complete_keep_nothing_else_waiting() -> None:
    detector = StuckDetector(HOUR, now=0.0)
    for number in range(10):
        detector.record_completion(number, accepted_at=0.0, now=1.0)
    for number in range(10, 20):
        assert detector.next_action(number, accepted_at=0.0, now=61.0 + number) is StuckAction.RETRY
        detector.record_completion(number, accepted_at=0.0, now=62.0 + number)


def test_retries_become_rarer_and_end_after_the_timeout() -> None:
    detector, retried_at, now = StuckDetector(1_800.0, now=0.0), [], 60.0
    detector.record_completion(2, accepted_at=0.0, now=1.0)
    while (action := detector.next_action(1, accepted_at=1.0, now=now)) is not StuckAction.GIVE_UP:
        if action is StuckAction.RETRY:
            retried_at.append(now)
        now += 1.0
    assert retried_at == [61.0, 91.0, 151.0, 271.0, 511.0, 991.0]
    assert now == 1_891.0


def test_three_retries_precede_giving_up() -> None:
    detector, steps, now = StuckDetector(HOUR, now=0.0), [], HOUR
    while StuckAction.GIVE_UP not in steps:
        steps.append(detector.next_action(1, accepted_at=0.0, now=now))
        now += 60.0
    assert [step for step in steps if step is not StuckAction.WAIT] == [StuckAction.RETRY] * EMBEDDING_RETRIES_MAX + [
        StuckAction.GIVE_UP
    ]
    assert now == pytest.approx(HOUR + EMBEDDING_RETRIES_MAX * HOUR / 2, abs=120)


def test_the_time_before_the_start_counts() -> None:
    detector = StuckDetector(HOUR, now=100 * HOUR)
    assert detector.next_action(1, accepted_at=0.0, now=100 * HOUR) is StuckAction.RETRY
    assert detector.next_action(1, accepted_at=99.5 * HOUR, now=100 * HOUR) is StuckAction.WAIT


def test_giving_up_does_not_count_as_a_completion() -> None:
    detector = StuckDetector(HOUR, now=0.0)
    for retries in range(EMBEDDING_RETRIES_MAX):
        assert detector.next_action(1, accepted_at=0.0, now=HOUR + retries * HOUR / 2) is StuckAction.RETRY
    late = HOUR + EMBEDDING_RETRIES_MAX * HOUR / 2
    assert detector.next_action(1, accepted_at=0.0, now=late) is StuckAction.GIVE_UP
    assert detector.next_action(2, accepted_at=0.0, now=late) is StuckAction.RETRY


def test_the_number_of_stuck_items_is_bounded() -> None:
    detector = StuckDetector(HOUR, now=0.0)
    for item_id in range(STUCK_MAX):
        assert detector.next_action(item_id, accepted_at=0.0, now=HOUR) is StuckAction.RETRY
    assert detector.next_action(STUCK_MAX, accepted_at=0.0, now=HOUR) is StuckAction.WAIT


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.floats(0, 2 * HOUR)), max_size=60))
def test_no_embedding_is_given_up_before_its_requests_and_the_timeout(events: list[tuple[int, bool, float]]) -> None:
    detector, now, retries = StuckDetector(HOUR, now=0.0), 0.0, dict.fromkeys(range(4), 0)
    for item_id, has_completed, pause_s in events:
        now += pause_s
        if has_completed:
            detector.record_completion(item_id, accepted_at=0.0, now=now)
            retries[item_id] = 0
            continue
        match detector.next_action(item_id, accepted_at=0.0, now=now):
            case StuckAction.RETRY:
                retries[item_id] += 1
            case StuckAction.GIVE_UP:
                assert retries[item_id] >= EMBEDDING_RETRIES_MAX
                assert now >= HOUR
                retries[item_id] = 0


@given(st.floats(0, 1e10), st.floats(0, 1))
def test_the_fallback_poll_is_rare(now: float, chance: float) -> None:
    assert (
        FALLBACK_POLL_DELAY_MAX_S / 2 - 1
        <= next_fallback_poll_at(now=now, chance=chance) - now
        <= FALLBACK_POLL_DELAY_MAX_S + 1
    )


def test_polls_are_further_apart_with_a_push_channel() -> None:
    rate_limit = PollRateLimit()
    rate_limit.record_poll(0.0, has_push=True)
    assert rate_limit.wait_s(0.0) == POLL_INTERVAL_WITH_PUSH_S > POLL_INTERVAL_S
