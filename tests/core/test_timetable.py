"""What a user may write for `limit`, and what it means at each minute of the day."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.core.timetable import DAY_MIN, RATE_MIN, Timetable, parsed

NIGHT, DAY = 3 * 60, 12 * 60


@pytest.mark.parametrize(
    ("text", "at_night", "by_day"),
    [
        ("", None, None),
        ("none", None, None),
        ("2M", 2_000_000, 2_000_000),
        ("500k", 500_000, 500_000),
        ("64000", 64_000, 64_000),
        ("08:00-23:00=500k,else=none", None, 500_000),
        ("22:00-06:00=none, else=300k", None, 300_000),
        ("0:00-12:00=1m,12:00-24:00=2m,else=none", 1_000_000, 2_000_000),
        ("08:00-18:00=1M,00:00-23:59=100k,else=none", 100_000, 1_000_000),
    ],
)
def test_a_limit_means_what_it_says(text: str, at_night: int | None, by_day: int | None):
    timetable = parsed(text)
    assert (timetable.at(NIGHT), timetable.at(DAY)) == (at_night, by_day)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fast", "'fast' is no rate"),
        ("-5M", "is no rate"),
        ("0", "to stop, pause"),
        ("31k", "less than 32k"),
        ("08:00-23:00=500k", "must be else="),
        ("08:00-25:00=500k,else=none", "'25:00' is no time of the day"),
        ("8-23=500k,else=none", "'8' is no time"),
        ("08:00-08:00=500k,else=none", "lasts no time"),
        ("08:00-09:60=500k,else=none", "no time of the day"),
        ("08:00-09:00=,else=none", "'' is no rate"),
        ("08:00-09:00=1M,else=fast", "'fast' is no rate"),
        (",", "is no time"),
        ("٢M", "is no rate"),
        ("9" * 40, "is no rate"),
    ],
)
def test_a_mistake_is_named(text: str, said: str):
    with pytest.raises(ValueError, match=said):
        parsed(text)


@given(st.integers(0, DAY_MIN - 1), st.integers(0, DAY_MIN - 1), st.integers(0, DAY_MIN - 1))
def test_a_span_and_its_rest_share_the_day_without_gap_or_overlap(start: int, end: int, minute: int):
    if start == end:
        return
    clock = [f"{at // 60:02}:{at % 60:02}" for at in (start, end)]
    there, back = parsed(f"{clock[0]}-{clock[1]}=1M,else=none"), parsed(f"{clock[1]}-{clock[0]}=1M,else=none")
    assert {there.at(minute), back.at(minute)} == {1_000_000, None}


@given(st.text(max_size=40))
def test_any_text_is_a_timetable_or_a_sentence(text: str):
    timetable = Timetable()
    with contextlib.suppress(ValueError):
        timetable = parsed(text)
    assert all((timetable.at(minute) or RATE_MIN) >= RATE_MIN for minute in range(0, DAY_MIN, 7))
