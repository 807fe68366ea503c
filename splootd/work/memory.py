"""Folders in which nothing was left to do when they were looked through, and what tells that they are as they were.

Only in memory, and only for as long as the store counts no upheaval: who starts anew looks at everything anew.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

FOLDERS_MAX = 20_000  # remembered, of some 200 bytes each; others are compared with the store file by file


@dataclass(frozen=True, slots=True)
class Seen:
    """The files of one folder: what tells them from others, names and versions together, and how many are worth it."""

    mark: int
    files: int


class Memory:
    """What was seen, apart for looks of watched folders, which also see to it that every file belongs to one."""

    def __init__(self) -> None:
        self._upheavals: int | None = None
        self._seen: dict[tuple[bytes, bool], Seen] = {}

    def recall(self, *, upheavals: int, is_watched: bool) -> Callable[[bytes], Seen | None]:
        """What to ask for a folder, from a look at the store that counted so many upheavals."""
        if upheavals != self._upheavals:
            self._seen.clear()
            self._upheavals = upheavals
        seen = self._seen
        return lambda folder: seen.get((folder, is_watched))

    def remember(self, seen: Mapping[bytes, Seen], *, but: Collection[bytes], upheavals: int, is_watched: bool) -> None:
        """All that was seen in one look, `but` folders in which something was new or is still under way."""
        if upheavals != self._upheavals:  # another look has counted since
            return
        for folder, each in seen.items():
            key = (folder, is_watched)
            if folder in but:
                self._seen.pop(key, None)
            elif key in self._seen or len(self._seen) < FOLDERS_MAX:
                self._seen[key] = each
