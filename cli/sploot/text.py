"""Numbers, times and file names as people read them. Pure."""

import os

_UNITS = ("B", "kB", "MB", "GB", "TB")
_KEPT = "\u200d\u202f"  # joins emoji; stands in the names of macOS screenshots


def safe(text: str) -> str:
    r"""`text` as it can be printed: control characters and escape sequences are shown, not obeyed.

    A byte that is not UTF-8 is shown as `\xNN`.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in _KEPT else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    if "\udc80" <= char <= "\udcff":
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def place(path: str) -> str:
    """A path as it is shown: below the home folder with `~`."""
    home = os.environ.get("HOME", "").rstrip("/")
    if home and (path == home or path.startswith(f"{home}/")):
        path = f"~{path[len(home) :]}"
    return safe(path)


def size(of_bytes: float) -> str:
    """Bytes in decimal units: 14.2 MB."""
    number, unit = float(of_bytes), 0
    while number >= 999.5 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.0f} {_UNITS[unit]}" if unit == 0 or number >= 99.95 else f"{number:.1f} {_UNITS[unit]}"


def span(seconds: float) -> str:
    """A duration in its two largest units: 3 d 4 h."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if left >= length_s or (parts and left):
            number, left = divmod(left, length_s)
            parts.append(f"{number} {unit}")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if not part.startswith("0 ")) or "0 s"


def count(number: int, one: str, many: str | None = None) -> str:
    """1 file, 2,000 files."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def moment(iso: str) -> str:
    """An ISO-8601 time in UTC as local date and time."""
    from datetime import datetime  # noqa: PLC0415 - most commands show no time

    return f"{datetime.fromisoformat(iso).astimezone():%Y-%m-%d %H:%M:%S}"


def seconds_since(iso: str) -> float:
    from datetime import UTC, datetime  # noqa: PLC0415 - as above

    return (datetime.now(UTC) - datetime.fromisoformat(iso)).total_seconds()
