"""Cache fingerprints of folders whose files are all in a final state, so that a rescan can skip them.

The cache is in memory only, so the first scan after a start reads everything. It is valid for one cache epoch: the
store increments the epoch whenever a row in a final state changes, because then an unchanged file may need work again.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

FOLDERS_MAX = 20_000  # about 200 bytes each; files in further folders are compared with the store one by one


@dataclass(frozen=True, slots=True)
class FolderFingerprint:
    """A hash over the names and versions of a folder's files, and the number of images and videos among them."""

    hash_value: int
    file_count: int


class ScanCache:
    """Maps folders to fingerprints.

    Scans of watched folders have entries of their own, because they also assign each file to its watched folder.
    """

    def __init__(self) -> None:
        self._cache_epoch: int | None = None
        self._fingerprints: dict[tuple[bytes, bool], FolderFingerprint] = {}

    def lookup(self, *, cache_epoch: int, is_watched: bool) -> Callable[[bytes], FolderFingerprint | None]:
        """Return a function that looks up the fingerprint of a folder; clear the cache if the epoch has changed."""
        if cache_epoch != self._cache_epoch:
            self._fingerprints.clear()
            self._cache_epoch = cache_epoch
        fingerprints = self._fingerprints
        return lambda folder: fingerprints.get((folder, is_watched))

    def update(
        self,
        fingerprints: Mapping[bytes, FolderFingerprint],
        *,
        dirty_folders: Collection[bytes],
        cache_epoch: int,
        is_watched: bool,
    ) -> None:
        """Store the fingerprints of one scan, except those of `dirty_folders`, which have unfinished files."""
        if cache_epoch != self._cache_epoch:  # a scan that started later has cleared the cache
            return
        for folder, fingerprint in fingerprints.items():
            key = (folder, is_watched)
            if folder in dirty_folders:
                self._fingerprints.pop(key, None)
            elif key in self._fingerprints or len(self._fingerprints) < FOLDERS_MAX:
                self._fingerprints[key] = fingerprint
