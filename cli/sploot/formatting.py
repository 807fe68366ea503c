"""Formats numbers, times and file names for people. Pure."""

import os
import re

_COLOR = re.compile("\x1b\\[[0-9;]*m")
_UNITS = ("B", "kB", "MB", "GB", "TB")
_ALLOWED_CHARS = "\u200d\u202f"  # the joiner of emoji; a space in the names of macOS screenshots


def escape_unprintable(text: str) -> str:
    r"""Escape control characters, so that a file name cannot send escape sequences to the terminal.

    A byte that is not UTF-8 becomes `\xNN`.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in _ALLOWED_CHARS else _escape_char(char) for char in text)


def _escape_char(char: str) -> str:
    if "\udc80" <= char <= "\udcff":
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def format_path(path: str) -> str:
    """Return a path for display, with `~` for the home folder."""
    home = os.environ.get("HOME", "").rstrip("/")
    if home and (path == home or path.startswith(f"{home}/")):
        path = f"~{path[len(home) :]}"
    return escape_unprintable(path)


def shorten_middle(text: str, chars_max: int | None) -> str:
    """Return `text` with its middle left out if it is longer than `chars_max`."""
    if chars_max is None or len(text) <= chars_max:
        return text
    half = chars_max // 2
    return f"{text[:half]}…{text[1 - half :]}"


def count_cells(text: str) -> int:
    """Return the width of `text` in a terminal: letters of East Asia and emoji take two cells, combining marks none."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width  # noqa: PLC0415 - most texts are ASCII

    return sum(0 if combining(char) else 1 + (east_asian_width(char) in "WF") for char in text)


def shorten(text: str, cells_max: int | None) -> str:
    """Return `text` with its end left out if it is wider than `cells_max`."""
    if cells_max is None or count_cells(text) <= cells_max:
        return text
    while text and count_cells(text) >= cells_max:
        text = text[:-1]
    return f"{text}…"


def fold(line: str, columns: int | None, *, indent: int) -> list[str]:
    """Break a line that is wider than `columns` between words; the rows after the first are indented."""
    rows: list[str] = []
    row = line[: len(line) - len(line.lstrip(" ")) - 1] if line.startswith(" ") else ""
    width = len(row)
    for word in line.lstrip(" ").split(" "):
        word_width = count_cells(_COLOR.sub("", word))
        if columns is not None and row.strip() and width + 1 + word_width > columns:
            rows.append(row.rstrip())
            row, width = " " * (indent - 1), indent - 1
        if width < indent and rows and not word:
            continue  # a gap between two parts is not needed at the start of a row
        row, width = (f"{row} {word}", width + 1 + word_width) if row or rows else (word, word_width)
    return [*rows, row]


def format_size(size_bytes: float) -> str:
    """Format bytes in decimal units: 14.2 MB."""
    number, unit = float(size_bytes), 0
    while number >= 999.5 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.0f} {_UNITS[unit]}" if unit == 0 or number >= 99.95 else f"{number:.1f} {_UNITS[unit]}"


def format_duration(seconds: float) -> str:
    """Format a duration in its two largest units: 3 d 4 h."""
    remaining = max(0, round(seconds))
    parts: list[str] = []
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if remaining >= length_s or (parts and remaining):
            number, remaining = divmod(remaining, length_s)
            parts.append(f"{number} {unit}")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if not part.startswith("0 ")) or "0 s"


def format_count(number: int, one: str, many: str | None = None) -> str:
    """Format a number with its noun: 1 file, 2,000 files."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def format_time(iso: str) -> str:
    """Format an ISO-8601 time in UTC as local date and time."""
    from datetime import datetime  # noqa: PLC0415 - most commands print no time

    return f"{datetime.fromisoformat(iso).astimezone():%Y-%m-%d %H:%M:%S}"


def seconds_since(iso: str) -> float:
    from datetime import UTC, datetime  # noqa: PLC0415 - as above

    return (datetime.now(UTC) - datetime.fromisoformat(iso)).total_seconds()
