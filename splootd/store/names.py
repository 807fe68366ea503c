"""Finding files by what they are called."""

import os
import unicodedata
from collections.abc import Callable


def matcher(text: str) -> Callable[[bytes], bool]:
    """Whether a path ends in a name that holds every word of `text`, in whatever case and order.

    macOS writes an accent as a character of its own, other systems do not: both are found.
    """
    words = [_plain(word) for word in text.split()]

    def is_named(path: bytes) -> bool:
        name = _plain(os.fsdecode(path.rpartition(b"/")[2]))
        return all(word in name for word in words)

    return is_named


def _plain(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text).casefold()
