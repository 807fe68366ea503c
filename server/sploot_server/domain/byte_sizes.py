"""Sizes as text for people: decimal units, one kB is 1000 bytes."""

import re

UNITS = ("bytes", "kB", "MB", "GB", "TB")
STEP = 1000
SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,3})?) ?(|[kMGT]?B?)", re.IGNORECASE)


def format_bytes(size_bytes: int) -> str:
    """Return a size with three digits or less, such as `1.5 GB`."""
    if size_bytes == 1:
        return "1 byte"
    size, unit = float(size_bytes), 0
    while unit + 1 < len(UNITS) and round(size) >= STEP:
        size, unit = size / STEP, unit + 1
    return f"{size:.0f} {UNITS[unit]}" if unit == 0 or size >= 100 else f"{size:.1f} {UNITS[unit]}"


def parse_bytes(text: str) -> int:
    """Return the bytes of a size such as `500MB`, `1.5 GB` or `1000`. Raise ValueError."""
    match = SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 500MB or 20GB")
    number, unit = match.groups()
    exponent = "_KMGT".index(unit.upper().removesuffix("B") or "_")
    return round(float(number) * float(STEP**exponent))
