"""Parser of the bandwidth timetable.

2M                              two million bytes per second, always
08:00-23:00=500k, else=none     half a million by day, no limit at night
22:00-06:00=none, else=300k     a span may cross midnight
"""

from collections.abc import Sequence
from dataclasses import dataclass

RATE_MIN = 32_000  # bytes per second; slower uploads would exceed the request timeouts of servers
SPANS_MAX = 24
MINUTES_PER_DAY = 24 * 60

_UNITS = {"k": 1_000, "m": 1_000_000, "g": 1_000_000_000}


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open range of minutes of the day, which may cross midnight, with its rate."""

    start: int
    end: int
    rate: int | None

    def contains(self, minute: int) -> bool:
        return (minute - self.start) % MINUTES_PER_DAY < (self.end - self.start) % MINUTES_PER_DAY


@dataclass(frozen=True, slots=True)
class Timetable:
    """Rates in bytes per second, None for no limit. The first matching span applies, else `default`."""

    spans: Sequence[Span] = ()
    default: int | None = None

    def rate_at(self, minute: int) -> int | None:
        """Return the rate at a minute of the day, 0 to 1439."""
        return next((span.rate for span in self.spans if span.contains(minute)), self.default)


def parse(text: str) -> Timetable:
    """Parse a rate or a timetable. Raises ValueError with a message for the user."""
    entries = [entry.strip() for entry in text.split(",")]
    if entries == [""]:
        return Timetable()
    if len(entries) == 1 and "=" not in text:
        return Timetable((), _parse_rate(text.strip()))
    if len(entries) > SPANS_MAX:
        raise ValueError(f"more than {SPANS_MAX} entries")
    spans = tuple(_parse_span(entry) for entry in entries[:-1])
    key, _, rate = entries[-1].partition("=")
    if key.strip() != "else":
        raise ValueError("the last entry must be else=RATE, for all other hours")
    return Timetable(spans, _parse_rate(rate.strip()))


def _parse_span(entry: str) -> Span:
    hours, _, rate = entry.partition("=")
    start, _, end = hours.partition("-")
    span = Span(_parse_minute(start.strip()), _parse_minute(end.strip()), _parse_rate(rate.strip()))
    if span.start == span.end:
        raise ValueError(f"{entry!r} is an empty time span")
    return span


def _parse_minute(text: str) -> int:
    hour, _, minute = text.partition(":")
    if not (hour.isascii() and hour.isdigit() and minute.isascii() and minute.isdigit() and len(minute) == 2):
        raise ValueError(f"{text!r} is not a time such as 08:00")
    at = int(hour[:3]) * 60 + int(minute)
    if at > MINUTES_PER_DAY or int(minute) > 59:
        raise ValueError(f"{text!r} is not a time of day")
    return at % MINUTES_PER_DAY


def _parse_rate(text: str) -> int | None:
    if text == "none":
        return None
    unit = _UNITS.get(text[-1:].lower(), 1)
    number = text[:-1] if unit > 1 else text
    if not (number.isascii() and number.isdigit()) or len(number) > 12:
        raise ValueError(f"{text!r} is not a rate such as 500k, 2M or none")
    rate = int(number) * unit
    if rate < RATE_MIN:
        raise ValueError(
            f"{text!r} is less than {RATE_MIN // 1000}k, too slow for uploads to finish; to stop uploads: sploot pause"
        )
    return rate
