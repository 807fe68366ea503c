"""Search for files by name."""

import os
import unicodedata
from collections.abc import Callable


def name_matcher(text: str) -> Callable[[bytes], bool]:
    """Return a function that matches paths whose file name contains every word of `text`, in any case and order.

    macOS stores an accent as a separate character, other systems do not: NFC makes both the same.
    """
    words = [_normalize(word) for word in text.split()]

    def matches_name(path: bytes) -> bool:
        name = _normalize(os.fsdecode(path.rpartition(b"/")[2]))
        return all(word in name for word in words)

    return matches_name


def _normalize(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text).casefold()
