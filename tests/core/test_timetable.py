"""Parsing of `bandwidth_limit` and the resulting rate at each minute of the day."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.core.timetable import MINUTES_PER_DAY, RATE_MIN, Timetable, parse

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
def test_the_rate_follows_the_timetable(text: str, at_night: int | None, by_day: int | None):
    timetable = parse(text)
    assert (timetable.rate_at(NIGHT), timetable.rate_at(DAY)) == (at_night, by_day)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fast", "'fast' is not a rate"),
        ("-5M", "is not a rate"),
        ("0", "to stop uploads: sploot pause"),
        ("31k", "less than 32k"),
        ("08:00-23:00=500k", "must be else="),
        ("08:00-25:00=500k,else=none", "'25:00' is not a time of day"),
        ("8-23=500k,else=none", "'8' is not a time"),
        ("08:00-08:00=500k,else=none", "is an empty time span"),
        ("08:00-09:60=500k,else=none", "not a time of day"),
        ("08:00-09:00=,else=none", "'' is not a rate"),
        ("08:00-09:00=1M,else=fast", "'fast' is not a rate"),
        (",", "is not a time"),
        ("٢M", "is not a rate"),
        ("9" * 40, "is not a rate"),
    ],
)
def test_an_invalid_value_has_a_message(text: str, message: str):
    with pytest.raises(ValueError, match=message):
        parse(text)


@given(st.integers(0, MINUTES_PER_DAY - 1), st.integers(0, MINUTES_PER_DAY - 1), st.integers(0, MINUTES_PER_DAY - 1))
def test_a_span_and_its_complement_cover_the_day(start: int, end: int, minute: int):
    if start == end:
        return
    clock = [f"{at // 60:02}:{at % 60:02}" for at in (start, end)]
    span, complement = parse(f"{clock[0]}-{clock[1]}=1M,else=none"), parse(f"{clock[1]}-{clock[0]}=1M,else=none")
    assert {span.rate_at(minute), complement.rate_at(minute)} == {1_000_000, None}


@given(st.text(max_size=40))
def test_any_text_parses_or_raises(text: str):
    timetable = Timetable()
    with contextlib.suppress(ValueError):
        timetable = parse(text)
    assert all((timetable.rate_at(minute) or RATE_MIN) >= RATE_MIN for minute in range(0, MINUTES_PER_DAY, 7))
