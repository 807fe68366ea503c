"""Formats numbers, times and file names for people. Pure."""

import os

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
