"""Walk folder trees lazily: one open folder at a time, without following symlinks, continuing after errors."""

import errno
import itertools
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Container, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from splootd.core.item import FoundFile, Version
from splootd.core.mime_sniff import HEAD_BYTES, sniff
from splootd.text import printable
from splootd.watch.ignore import IgnoreRules, is_ignored_name
from splootd.watch.scan_cache import FolderFingerprint

ERROR_MESSAGES_MAX = 5
PATH_CHARS_MAX = 4_096
ENTRIES_PER_STEP = 64  # unchanged entries between two checks of the time limit
RACY_WINDOW_NS = 2_000_000_000  # FAT's modification times have a resolution of two seconds, the coarsest in use

MEDIA_SUFFIXES = (
    *(b".jpg", b".jpeg", b".jpe", b".jfif", b".png", b".gif", b".webp", b".avif", b".heic", b".heif", b".jxl"),
    *(b".bmp", b".tif", b".tiff", b".mp4", b".m4v", b".mov", b".webm", b".mkv", b".avi"),
)
"""Suffixes of images and videos. The type is verified by the first bytes when the file is uploaded."""


@dataclass(slots=True)
class ScanCounts:
    """Files of a scan by outcome, and error messages for the first few unreadable ones."""

    by_outcome: Counter[str] = field(default_factory=Counter)
    error_messages: list[str] = field(default_factory=list)
    is_done: bool = False


@dataclass(frozen=True, slots=True)
class FolderStamp:
    """Modification time and identity of a folder; they change when a name is added or removed, or a disk is mounted.

    `mtime_ns` 0 matches no folder, so the folder is scanned again.
    """

    mtime_ns: int
    device: int
    inode: int

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode: the roots of many file systems have the same inode."""
        return self.device, self.inode


@dataclass(slots=True)
class Tree:
    """The known state of a watched folder's tree. `nested_folders` in it have monitors of their own."""

    root: bytes
    nested_folders: frozenset[bytes]
    folders: dict[bytes, FolderStamp]
    rules: IgnoreRules


class ReadError(NamedTuple):
    """A file or folder that cannot be read, and the system's reason."""

    path: bytes
    reason: str


def version_from_stat(status: os.stat_result) -> Version:
    return Version(status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino)


def stat_folder(folder: bytes, root: bytes) -> os.stat_result:
    """Return the status of `folder` in the tree of `root`. Raise OSError if it is no folder.

    Only the root may be a symlink: a watched folder that was moved elsewhere often leaves a link behind.
    """
    status = os.stat(folder) if folder == root else os.lstat(folder)  # noqa: PTH116 - pathlib takes no bytes
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    return status


def stamp_from_stat(status: os.stat_result, *, now: float) -> FolderStamp:
    """Return the stamp of a folder that is read at `now` or later.

    A folder that changed within RACY_WINDOW_NS may change again within the same tick of the file system's clock, and
    keep its time. Its stamp gets the time 0. (git calls such index entries "racily clean".)
    """
    is_racy = status.st_mtime_ns + RACY_WINDOW_NS > now * 1_000_000_000
    return FolderStamp(0 if is_racy else status.st_mtime_ns, status.st_dev, status.st_ino)


def has_media_suffix(name: bytes) -> bool:
    return name.lower().endswith(MEDIA_SUFFIXES)


def is_probably_media(path: bytes, version: Version) -> bool:
    """Return whether a file is an image or video by its suffix, or else by its first bytes.

    Raise OSError if it cannot be read.
    """
    if has_media_suffix(path):
        return version.size > 0 or not os.path.lexists(path + b".part")  # Firefox reserves the name with an empty file
    return version.size > 0 and sniff(read_head(path)) is not None


def read_head(path: bytes) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(handle, HEAD_BYTES)
    finally:
        os.close(handle)


class Walker:
    """Walks the folders `roots` and everything below them, except folders in any of `skip`. Its methods block.

    `folders` collects the folders read, `rules` the ignore rules in them. `unreadable` counts read errors; `errors` has
    the first one of each folder that has to be read again. With `folders_only` no files are returned. A folder that
    matches its fingerprint from `lookup_fingerprint` is skipped, and its files are counted in `unchanged_files`;
    `fingerprints` collects those of the other folders.
    """

    def __init__(
        self,
        roots: Sequence[bytes],
        *,
        rules: IgnoreRules,
        now: float,
        skip: Sequence[Container[bytes]] = (),
        folders_only: bool = False,
    ) -> None:
        self.folders: dict[bytes, FolderStamp] = {}
        self.has_folder_symlinks = False
        self.unreadable = 0
        self.errors: dict[bytes, ReadError] = {}
        self.is_done = False
        self.rules = rules
        self.lookup_fingerprint: Callable[[bytes], FolderFingerprint | None] = lambda _: None
        self.unchanged_files = 0
        self.fingerprints: dict[bytes, FolderFingerprint] = {}
        self._now = now
        self._skip = skip
        self._folders_only = folders_only
        self._pending_folders = list(reversed(roots))  # a stack: depth-first keeps it short
        self._steps = self._iter_steps()

    def next_files(self, count_max: int, time_max_s: float) -> list[FoundFile]:
        """Return the next files found within the time limit; set `is_done` after the last one."""
        files: list[FoundFile] = []
        end = time.monotonic() + time_max_s
        while len(files) < count_max and time.monotonic() < end:
            step = next(self._steps, None)
            if step is None:
                self.is_done = True
                break
            files.extend(step)
        return files

    def _iter_steps(self) -> Iterator[tuple[FoundFile, ...]]:
        """Yield once per entry, even without a file, so that `next_files` can check its time limit."""
        while self._pending_folders:
            folder = self._pending_folders.pop()
            try:
                yield from self._read_folder(folder)
            except OSError as error:
                self.folders.pop(folder, None)
                self._record_error(folder, folder, error)

    def _read_folder(self, folder: bytes) -> Iterator[tuple[FoundFile, ...]]:
        # Stat before reading: a name added during the read then makes the stamp differ, and the folder is read again.
        self.folders[folder] = stamp_from_stat(stat_folder(folder, self.rules.root), now=self._now)
        self.rules.load_folder(folder)
        fingerprint = None if self._folders_only else self.lookup_fingerprint(folder)
        if fingerprint and (yield from self._is_unchanged(folder, fingerprint)):
            return
        hash_value, file_count, is_clear = 0, 0, not self._folders_only
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    version, file = self._classify_entry(entry)
                except FileNotFoundError:
                    version = file = None  # deleted since the listing
                except OSError as error:
                    version, file, is_clear = None, None, False
                    self._record_error(folder, entry.path, error)
                if version:
                    entry_key = (entry.name, version.size, version.mtime_ns, version.device, version.inode)
                    hash_value = hash((hash_value, entry_key))
                    file_count += file is not None
                    is_clear = is_clear and version.size > 0  # depends on a `.part` file beside it: do not cache
                yield (file,) if file else ()
        if is_clear:
            self.fingerprints[folder] = FolderFingerprint(hash_value, file_count)

    def _is_unchanged(self, folder: bytes, fingerprint: FolderFingerprint) -> Generator[tuple[()], None, bool]:
        """Return whether the folder matches the fingerprint; takes half as long as `_read_folder`."""
        hash_value, other_entries = 0, []
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if number % ENTRIES_PER_STEP == 0:
                    yield ()
                if is_ignored_name(entry.name):
                    continue
                if not entry.is_file(follow_symlinks=False):
                    other_entries.append(entry)
                elif not (self.rules and self.rules.ignores(entry.path)):
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except OSError:
                        return False
                    entry_key = (entry.name, status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino)
                    hash_value = hash((hash_value, entry_key))
        if hash_value != fingerprint.hash_value:
            return False
        for entry in other_entries:
            self._classify_non_file(entry)
        self.unchanged_files += fingerprint.file_count
        return True

    def _classify_entry(self, entry: os.DirEntry[bytes]) -> tuple[Version | None, FoundFile | None]:
        """Return the version of a file that is not ignored, and the file if it is an image or video."""
        if is_ignored_name(entry.name):
            return None, None
        if entry.is_file(follow_symlinks=False):  # the most frequent type first
            if self._folders_only or self.rules.ignores(entry.path):
                return None, None
            version = version_from_stat(entry.stat(follow_symlinks=False))
            return version, FoundFile(entry.path, version) if is_probably_media(entry.path, version) else None
        self._classify_non_file(entry)
        return None, None

    def _classify_non_file(self, entry: os.DirEntry[bytes]) -> None:
        """Schedule a folder, note a symlink to a folder; skip FIFOs, sockets and devices."""
        if entry.is_symlink():
            self.has_folder_symlinks = self.has_folder_symlinks or Path(os.fsdecode(entry.path)).is_dir()
        elif entry.is_dir(follow_symlinks=False) and not self._is_excluded(entry.path):
            self._pending_folders.append(entry.path)

    def _is_excluded(self, folder: bytes) -> bool:
        return self.rules.ignores(folder, is_folder=True) or any(folder in skipped for skipped in self._skip)

    @property
    def error_messages(self) -> list[str]:
        """The messages of the first few errors."""
        return [
            f"cannot read {printable(os.fsdecode(error.path), PATH_CHARS_MAX)}: {error.reason}"
            for error in itertools.islice(self.errors.values(), ERROR_MESSAGES_MAX)
        ]

    def _record_error(self, folder: bytes, path: bytes, error: OSError) -> None:
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            return  # deleted or replaced since the listing
        self.unreadable += 1
        self.errors.setdefault(folder, ReadError(path, error.strerror or str(error)))


def find_changed_folders(folders: dict[bytes, FolderStamp], root: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return the folders in which names were added or removed since their stamps, and the missing ones."""
    changed_folders, missing_folders = [], []
    for folder, stamp in folders.items():
        try:
            status = stat_folder(folder, root)
        except OSError:
            missing_folders.append(folder)
            continue
        if stamp != FolderStamp(status.st_mtime_ns, status.st_dev, status.st_ino):
            changed_folders.append(folder)
    return changed_folders, missing_folders


def is_still_there(path: bytes, version: Version) -> bool:
    """Return whether `path` still has this version of the file."""
    try:
        return version_from_stat(os.lstat(path)) == version
    except OSError:
        return False
