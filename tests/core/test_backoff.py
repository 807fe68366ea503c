"""Retry delays and attempt limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.core.backoff import ATTEMPTS_MAX, DELAY_MAX_S, delay_s, doubled_s, has_exhausted_attempts
from splootd.core.item import Priority
from splootd.core.retry_policy import BackoffClass

attempts = st.integers(0, 10_000)
backoff_classes = st.sampled_from(BackoffClass)
chances = st.floats(0, 1)


@given(attempts, backoff_classes)
def test_the_maximum_delay_grows_with_each_attempt(attempts: int, backoff_class: BackoffClass) -> None:
    now, then = (delay_s(attempts=count, backoff_class=backoff_class, chance=1) for count in (attempts, attempts + 1))
    assert now <= then


@given(attempts, backoff_classes, chances)
def test_no_delay_is_longer_than_a_minute(attempts: int, backoff_class: BackoffClass, chance: float) -> None:
    assert 0 <= delay_s(attempts=attempts, backoff_class=backoff_class, chance=chance) <= DELAY_MAX_S == 60


@given(attempts, backoff_classes, chances, chances)
def test_the_delay_grows_with_the_random_value(
    attempts: int, backoff_class: BackoffClass, one: float, other: float
) -> None:
    low, high = (
        delay_s(attempts=attempts, backoff_class=backoff_class, chance=chance) for chance in sorted((one, other))
    )
    assert low <= high


@given(attempts, backoff_classes)
def test_the_jitter_is_full(attempts: int, backoff_class: BackoffClass) -> None:
    assert delay_s(attempts=attempts, backoff_class=backoff_class, chance=0) == 0
    assert delay_s(attempts=attempts, backoff_class=backoff_class, chance=0.5) * 2 == delay_s(
        attempts=attempts, backoff_class=backoff_class, chance=1
    )


@pytest.mark.parametrize(
    ("backoff_class", "delays"),
    [
        (BackoffClass.RATE_LIMIT, [5, 10, 20, 40, 60, 60]),
        (BackoffClass.NETWORK, [2, 4, 8, 16, 32, 60]),
        (BackoffClass.SERVER, [3, 6, 12, 24, 48, 60]),
    ],
)
def test_the_maximum_delay_is_one_second_times_two_to_the_attempts_times_the_factor(
    backoff_class: BackoffClass, delays: list[float]
) -> None:
    assert [delay_s(attempts=count, backoff_class=backoff_class, chance=1) for count in range(6)] == delays


@pytest.mark.parametrize(("priority", "limit"), [(Priority.URGENT, 10), (Priority.NORMAL, 5), (Priority.BACKGROUND, 3)])
def test_the_priority_determines_the_attempt_limit(priority: Priority, limit: int) -> None:
    assert [
        has_exhausted_attempts(attempts=count, priority=priority) for count in (0, limit - 1, limit, limit + 1)
    ] == [
        *(False, False, True, True),
    ]


def test_every_priority_has_an_attempt_limit() -> None:
    assert set(ATTEMPTS_MAX) == set(Priority)


@given(st.integers(0, 1_000_000))
def test_a_doubled_delay_never_exceeds_its_maximum(doublings: int):
    assert 1 <= doubled_s(1.0, doublings, 60.0) <= 60
    assert doubled_s(1.0, 3, 60.0) == 8
