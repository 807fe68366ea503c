"""Format names, sizes and foreign text for messages."""

import os

MESSAGE_CHARS_MAX = 300
NAME_CHARS_MAX = 120
DISPLAY_PATH_CHARS_MAX = 120


def printable(text: str, chars_max: int = MESSAGE_CHARS_MAX) -> str:
    """Return foreign text fit for a message: shortened, with control characters and lone surrogates escaped."""
    cut = text if len(text) <= chars_max else text[: chars_max - 1] + "…"
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in cut)


def display_path(path: bytes) -> str:
    """Return `path` fit for a message, shortened in the middle: both its beginning and its file name tell it apart."""
    name = os.fsdecode(path)
    if len(name) > DISPLAY_PATH_CHARS_MAX:
        half = DISPLAY_PATH_CHARS_MAX // 2
        name = f"{name[:half]}…{name[1 - half :]}"
    return printable(name)


def display_name(path: bytes) -> str:
    """Return the file name of `path`, fit for a message."""
    return printable(path.rpartition(b"/")[2].decode("utf-8", "backslashreplace"), NAME_CHARS_MAX)


def format_size(size_bytes: int) -> str:
    """Format a size for people, in powers of ten."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if size_bytes >= scale:
            return f"{size_bytes / scale:.1f}".removesuffix(".0") + f" {unit}"
    return "1 byte" if size_bytes == 1 else f"{size_bytes} bytes"
