import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.core.failure import Trouble
from splootd.core.item import Priority
from splootd.core.retry import DELAY_MAX_S, TRIES_MAX, delay_s, is_spent

attempts = st.integers(0, 10_000)
troubles = st.sampled_from(Trouble)
chances = st.floats(0, 1)


@given(attempts, troubles)
def test_the_longest_delay_grows_with_each_try(attempts: int, trouble: Trouble) -> None:
    now, then = (delay_s(attempts=count, trouble=trouble, chance=1) for count in (attempts, attempts + 1))
    assert now <= then


@given(attempts, troubles, chances)
def test_no_delay_is_longer_than_a_minute(attempts: int, trouble: Trouble, chance: float) -> None:
    assert 0 <= delay_s(attempts=attempts, trouble=trouble, chance=chance) <= DELAY_MAX_S == 60


@given(attempts, troubles, chances, chances)
def test_more_chance_is_never_less_delay(attempts: int, trouble: Trouble, one: float, other: float) -> None:
    low, high = (delay_s(attempts=attempts, trouble=trouble, chance=chance) for chance in sorted((one, other)))
    assert low <= high


@given(attempts, troubles)
def test_the_jitter_is_full(attempts: int, trouble: Trouble) -> None:
    assert delay_s(attempts=attempts, trouble=trouble, chance=0) == 0
    assert delay_s(attempts=attempts, trouble=trouble, chance=0.5) * 2 == delay_s(
        attempts=attempts, trouble=trouble, chance=1
    )


@pytest.mark.parametrize(
    ("trouble", "delays"),
    [
        (Trouble.RATE_LIMIT, [5, 10, 20, 40, 60, 60]),
        (Trouble.NETWORK, [2, 4, 8, 16, 32, 60]),
        (Trouble.SERVER, [3, 6, 12, 24, 48, 60]),
    ],
)
def test_a_delay_is_a_second_times_two_to_the_tries_times_the_factor(trouble: Trouble, delays: list[float]) -> None:
    assert [delay_s(attempts=count, trouble=trouble, chance=1) for count in range(6)] == delays


@pytest.mark.parametrize(("priority", "tries"), [(Priority.URGENT, 10), (Priority.NORMAL, 5), (Priority.BACKGROUND, 3)])
def test_an_item_has_as_many_tries_as_its_priority_gives(priority: Priority, tries: int) -> None:
    assert [is_spent(attempts=count, priority=priority) for count in (0, tries - 1, tries, tries + 1)] == [
        *(False, False, True, True),
    ]


def test_every_priority_has_its_tries() -> None:
    assert set(TRIES_MAX) == set(Priority)
