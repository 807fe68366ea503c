"""A lost push channel is tried again at once five times, and then rarely."""

from hypothesis import given
from hypothesis import strategies as st

from splootd.core.reconnect import DELAYS_S, RARELY_S, SPENT, STEADY_S, delay_s, failures_after, is_spent

chances = st.floats(0, 1)


def test_the_delays_double_five_times_and_then_it_is_tried_every_few_minutes() -> None:
    failures, delays = 0, []
    for _ in range(8):
        failures = failures_after(failures, lived_s=0.0)
        delays.append(delay_s(failures, chance=0.5))
    assert delays == [1, 2, 4, 8, 16, RARELY_S, RARELY_S, RARELY_S]
    assert RARELY_S >= 120


@given(st.integers(1, SPENT), chances)
def test_a_delay_varies_by_a_quarter_and_no_more(failures: int, chance: float) -> None:
    middle = delay_s(failures, chance=0.5)
    assert 0.75 * middle <= delay_s(failures, chance=chance) <= 1.25 * middle


@given(st.integers(1, SPENT - 1), chances, chances)
def test_a_later_try_never_comes_sooner_than_an_earlier_one(failures: int, one: float, other: float) -> None:
    assert delay_s(failures + 1, chance=one) > delay_s(failures, chance=other)


@given(st.lists(st.floats(0, 3 * STEADY_S), max_size=50))
def test_five_short_lives_in_a_row_are_needed_to_fall_back_on_polling(lives_s: list[float]) -> None:
    failures = in_a_row = 0
    for lived_s in lives_s:
        failures = failures_after(failures, lived_s=lived_s)
        in_a_row = 1 if lived_s >= STEADY_S else in_a_row + 1
        assert 1 <= failures <= SPENT
        assert is_spent(failures) == (in_a_row > len(DELAYS_S))
