"""How fast may be sent, and at which hours: what the user writes, understood.

2M                              two million bytes a second, always
08:00-23:00=500k, else=none     half a million by day, no limit at night
22:00-06:00=none, else=300k     a span may reach over midnight
"""

from collections.abc import Sequence
from dataclasses import dataclass

RATE_MIN = 32_000  # bytes per second. Slower than this, uploads would run into the time limits of servers
SPANS_MAX = 24
DAY_MIN = 24 * 60

_UNITS = {"k": 1_000, "m": 1_000_000, "g": 1_000_000_000}


@dataclass(frozen=True, slots=True)
class Span:
    """From one minute of the day until before another one, over midnight if need be."""

    start: int
    end: int
    rate: int | None

    def holds(self, minute: int) -> bool:
        return (minute - self.start) % DAY_MIN < (self.end - self.start) % DAY_MIN


@dataclass(frozen=True, slots=True)
class Timetable:
    """Rates are bytes per second, None for no limit. The first span that holds counts, `otherwise` when none does."""

    spans: Sequence[Span] = ()
    otherwise: int | None = None

    def at(self, minute: int) -> int | None:
        """The rate at a minute of the day, 0 to 1439."""
        return next((span.rate for span in self.spans if span.holds(minute)), self.otherwise)


def parsed(text: str) -> Timetable:
    """What `text` says; ValueError with a sentence when it says nothing that can be understood."""
    entries = [entry.strip() for entry in text.split(",")]
    if entries == [""]:
        return Timetable()
    if len(entries) == 1 and "=" not in text:
        return Timetable((), _rate(text.strip()))
    if len(entries) > SPANS_MAX:
        raise ValueError(f"it has more than {SPANS_MAX} parts")
    spans = tuple(_span(entry) for entry in entries[:-1])
    key, _, rate = entries[-1].partition("=")
    if key.strip() != "else":
        raise ValueError("its last part must be else=..., for all other hours")
    return Timetable(spans, _rate(rate.strip()))


def _span(entry: str) -> Span:
    hours, _, rate = entry.partition("=")
    start, _, end = hours.partition("-")
    span = Span(_minute(start.strip()), _minute(end.strip()), _rate(rate.strip()))
    if span.start == span.end:
        raise ValueError(f"{entry!r} lasts no time")
    return span


def _minute(text: str) -> int:
    hour, _, minute = text.partition(":")
    if not (hour.isascii() and hour.isdigit() and minute.isascii() and minute.isdigit() and len(minute) == 2):
        raise ValueError(f"{text!r} is no time such as 08:00")
    at = int(hour[:3]) * 60 + int(minute)
    if at > DAY_MIN or int(minute) > 59:
        raise ValueError(f"{text!r} is no time of the day")
    return at % DAY_MIN


def _rate(text: str) -> int | None:
    if text == "none":
        return None
    unit = _UNITS.get(text[-1:].lower(), 1)
    number = text[:-1] if unit > 1 else text
    if not (number.isascii() and number.isdigit()) or len(number) > 12:
        raise ValueError(f"{text!r} is no rate such as 500k, 2M or none")
    rate = int(number) * unit
    if rate < RATE_MIN:
        raise ValueError(f"{text!r} is less than {RATE_MIN // 1000}k, with which no upload would end: to stop, pause")
    return rate
