"""Looking through folders: lazily, one open folder at a time, following no link, stopped by nothing."""

import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Container, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from splootd.core.item import Version
from splootd.core.magic import HEAD_BYTES, sniff
from splootd.remote.answers import printable
from splootd.work.ignore import Rules, is_ignored_name
from splootd.work.memory import Seen

SENTENCES_MAX = 5
PATH_CHARS_MAX = 4_096
NAMES_A_STEP = 64  # between two looks at the clock, where nothing else is done about a name
RACY_NS = 2_000_000_000  # FAT counts modification times in steps of two seconds, the coarsest of all

MEDIA_SUFFIXES = (
    *(b".jpg", b".jpeg", b".jpe", b".jfif", b".png", b".gif", b".webp", b".avif", b".heic", b".heif", b".jxl"),
    *(b".bmp", b".tif", b".tiff", b".mp4", b".m4v", b".mov", b".webm", b".mkv", b".avi"),
)
"""Names that say image or video. Whether it is true, the first bytes decide when the file is read."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file worth queueing."""

    path: bytes
    version: Version


@dataclass(slots=True)
class Tally:
    """What came of the files of a walk, by outcome, and the first few that could not be read, as sentences."""

    counts: Counter[str] = field(default_factory=Counter)
    sentences: list[str] = field(default_factory=list)
    is_done: bool = False


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells whether a folder's list of names has changed. `mtime_ns` 0: it must be looked at again."""

    mtime_ns: int
    inode: int


@dataclass(slots=True)
class Tree:
    """What is known of the inside of a watched folder. `others` in it are watched by themselves."""

    root: bytes
    others: frozenset[bytes]
    folders: dict[bytes, Stamp]
    rules: Rules


def version_of(status: os.stat_result) -> Version:
    return Version(status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino)


def stamp_of(status: os.stat_result, *, now: float) -> Stamp:
    """The stamp of a folder that is read at `now` or later.

    A folder that was just changed could change again without its coarse time showing it, so its time is not trusted.
    """
    is_racy = status.st_mtime_ns + RACY_NS > now * 1_000_000_000
    return Stamp(0 if is_racy else status.st_mtime_ns, status.st_ino)


def is_named_media(name: bytes) -> bool:
    return name.lower().endswith(MEDIA_SUFFIXES)


def is_candidate(path: bytes, version: Version) -> bool:
    """Whether a file is worth queueing: by its name, or else by its first bytes. OSError when it cannot be read."""
    if is_named_media(path):
        return version.size > 0 or not os.path.lexists(path + b".part")  # Firefox holds a name with an empty file
    return version.size > 0 and sniff(read_head(path)) is not None


def read_head(path: bytes) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(handle, HEAD_BYTES)
    finally:
        os.close(handle)


class Walk:
    """One pass through the folders `starts` and all below them, except what is in any of `skip`. Every method blocks.

    `folders` fills with what was entered, `rules` with the rules that hold there. What cannot be read is counted, and
    the first few are told in `sentences`. With `folders_only` nothing is found but folders. A folder that is as
    `recall` remembers it is passed over, and its files are counted as `known`; `seen` fills with the others.
    """

    def __init__(
        self,
        starts: Sequence[bytes],
        *,
        rules: Rules,
        now: float,
        skip: Sequence[Container[bytes]] = (),
        folders_only: bool = False,
    ) -> None:
        self.folders: dict[bytes, Stamp] = {}
        self.has_folder_links = False
        self.unreadable = 0
        self.sentences: list[str] = []
        self.is_done = False
        self.rules = rules
        self.recall: Callable[[bytes], Seen | None] = lambda _: None
        self.known = 0
        self.seen: dict[bytes, Seen] = {}
        self._now = now
        self._skip = skip
        self._folders_only = folders_only
        self._waiting = list(reversed(starts))  # folders still to be entered: deepest first, so that few wait
        self._found = self._search()

    def take(self, count_max: int, time_max_s: float) -> list[Found]:
        """The next files, as many as are found in the time; nothing more comes once `is_done`."""
        taken: list[Found] = []
        end = time.monotonic() + time_max_s
        while len(taken) < count_max and time.monotonic() < end:
            step = next(self._found, None)
            if step is None:
                self.is_done = True
                break
            taken.extend(step)
        return taken

    def _search(self) -> Iterator[tuple[Found, ...]]:
        """One step for each name, found worth it or not, so that `take` can keep its time."""
        while self._waiting:
            folder = self._waiting.pop()
            try:
                yield from self._read(folder)
            except OSError as error:
                self.folders.pop(folder, None)
                self._note(folder, error)

    def _read(self, folder: bytes) -> Iterator[tuple[Found, ...]]:
        self.folders[folder] = stamp_of(os.lstat(folder), now=self._now)
        self.rules.enter(folder)
        remembered = None if self._folders_only else self.recall(folder)
        if remembered and (yield from self._is_as_remembered(folder, remembered)):
            return
        mark, files, is_clear = 0, 0, not self._folders_only
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    version, found = self._weigh(entry)
                except FileNotFoundError:
                    version = found = None  # gone since it was listed
                except OSError as error:
                    version, found, is_clear = None, None, False
                    self._note(entry.path, error)
                if version:
                    facts = (entry.name, version.size, version.mtime_ns, version.device, version.inode)
                    mark = hash((mark, facts))
                    files += found is not None
                    is_clear = is_clear and version.size > 0  # whether an empty file counts, its neighbours say
                yield (found,) if found else ()
        if is_clear:
            self.seen[folder] = Seen(mark, files)

    def _is_as_remembered(self, folder: bytes, remembered: Seen) -> Generator[tuple[()], None, bool]:
        """Look at every file as `_read` does, but make nothing of it: that takes half as long."""
        mark, below = 0, []
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if number % NAMES_A_STEP == 0:
                    yield ()
                if is_ignored_name(entry.name):
                    continue
                if not entry.is_file(follow_symlinks=False):
                    below.append(entry)
                elif not (self.rules and self.rules.ignores(entry.path)):
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except OSError:
                        return False
                    facts = (entry.name, status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino)
                    mark = hash((mark, facts))
        if mark != remembered.mark:
            return False
        for entry in below:
            self._weigh_other(entry)
        self.known += remembered.files
        return True

    def _weigh(self, entry: os.DirEntry[bytes]) -> tuple[Version | None, Found | None]:
        """The version of a file that counts, and the file if it is worth queueing."""
        if is_ignored_name(entry.name):
            return None, None
        if entry.is_file(follow_symlinks=False):  # as nearly all are: asked first
            if self._folders_only or self.rules.ignores(entry.path):
                return None, None
            version = version_of(entry.stat(follow_symlinks=False))
            return version, Found(entry.path, version) if is_candidate(entry.path, version) else None
        self._weigh_other(entry)
        return None, None

    def _weigh_other(self, entry: os.DirEntry[bytes]) -> None:
        """What is no file: a FIFO, a socket, a device are nothing to send."""
        if entry.is_symlink():
            self.has_folder_links = self.has_folder_links or Path(os.fsdecode(entry.path)).is_dir()
        elif entry.is_dir(follow_symlinks=False) and not self._leaves_out(entry.path):
            self._waiting.append(entry.path)

    def _leaves_out(self, folder: bytes) -> bool:
        return self.rules.ignores(folder, is_folder=True) or any(folder in skipped for skipped in self._skip)

    def _note(self, path: bytes, error: OSError) -> None:
        if isinstance(error, FileNotFoundError):
            return
        self.unreadable += 1
        if len(self.sentences) < SENTENCES_MAX:
            self.sentences.append(f"{printable(os.fsdecode(path), PATH_CHARS_MAX)} cannot be read: {error.strerror}")


def changed(folders: dict[bytes, Stamp]) -> tuple[list[bytes], list[bytes]]:
    """Which of the folders have other names in them than when they were stamped, and which are no longer there."""
    altered, vanished = [], []
    for folder, stamp in folders.items():
        try:
            status = os.lstat(folder)
        except OSError:
            vanished.append(folder)
            continue
        if not stat.S_ISDIR(status.st_mode):
            vanished.append(folder)
        elif stamp != Stamp(status.st_mtime_ns, status.st_ino):
            altered.append(folder)
    return altered, vanished


def is_still_there(path: bytes, version: Version) -> bool:
    """Whether that very version of a file is still at `path`."""
    try:
        return version_of(os.lstat(path)) == version
    except OSError:
        return False
