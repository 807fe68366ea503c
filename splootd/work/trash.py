"""Where a file goes when it is thrown away: the trash that the desktop shows, on the file's own disk.

Linux and the like: the Trash Specification of freedesktop.org, version 1.0. macOS: ~/.Trash.
"""

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

NOTE_SUFFIX = ".trashinfo"
NAME_BYTES_MAX = 255 - len(NOTE_SUFFIX)
NUMBERS_MAX = 10_000
EXTENSION_BYTES_MAX = 16


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file is to go. `words` are to be written to the file `note` before it goes there."""

    target: Path
    note: Path | None = None
    words: bytes = b""


class Trash:
    """The trash of the user whose environment it is."""

    def __init__(self, environ: Mapping[str, str], *, platform: str = sys.platform) -> None:
        self._home = Path(environ.get("HOME") or "~").expanduser()
        self._data = Path(environ.get("XDG_DATA_HOME") or self._home / ".local" / "share")
        self._is_mac = platform == "darwin"

    def place(self, path: Path, *, now: float) -> Place:
        """A free place for the file at `path`; makes the folders. OSError when its disk has no trash for this user."""
        if self._is_mac:
            return Place(free_name(self._home / ".Trash", path.name))
        trash, recorded = self._trash_for(path)
        files, info = trash / "files", trash / "info"
        for folder in (trash, files, info):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in numbered(path.name, bytes_max=NAME_BYTES_MAX):
            note = info / f"{name}{NOTE_SUFFIX}"
            if not os.path.lexists(note) and not os.path.lexists(files / name):
                return Place(files / name, note, _words(recorded, now))
        raise _no_name(files)

    def _trash_for(self, path: Path) -> tuple[Path, Path]:
        """The trash on the disk of `path`, and the path as it is written down there."""
        home_trash = self._data / "Trash"
        if _device(_nearest(home_trash)) == _device(path.parent):
            return home_trash, path
        top = _top(path.parent)
        shared, user = top / ".Trash", str(os.getuid())
        with contextlib.suppress(OSError):
            mode = shared.lstat().st_mode
            if stat.S_ISDIR(mode) and mode & stat.S_ISVTX:
                return shared / user, path.relative_to(top)
        return top / f".Trash-{user}", path.relative_to(top)


def free_name(folder: Path, name: str) -> Path:
    """A path in `folder` at which nothing is: `name`, or `name` with a number."""
    for candidate in numbered(name):
        if not os.path.lexists(folder / candidate):
            return folder / candidate
    raise _no_name(folder)


def numbered(name: str, *, bytes_max: int = 255) -> Iterator[str]:
    """`name`, then `name (2)` and so on, with the number before the extension, each at most `bytes_max` long."""
    stem, extension = os.fsencode(Path(name).stem), os.fsencode(Path(name).suffix)
    if len(extension) > EXTENSION_BYTES_MAX:
        stem, extension = os.fsencode(name), b""
    for number in range(1, NUMBERS_MAX + 1):
        end = (b"" if number == 1 else b" (%d)" % number) + extension
        yield os.fsdecode(stem[: bytes_max - len(end)] + end)


def _no_name(folder: Path) -> OSError:
    return OSError(errno.EEXIST, f"there is no free name for it in {folder}")


def _words(recorded: Path, now: float) -> bytes:
    deleted = datetime.fromtimestamp(now).astimezone()  # local time, says the standard
    return f"[Trash Info]\nPath={quote(bytes(recorded))}\nDeletionDate={deleted:%Y-%m-%dT%H:%M:%S}\n".encode()


def _device(path: Path) -> int:
    return path.lstat().st_dev


def _nearest(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    return next(each for each in (path, *path.parents) if each.is_dir())


def _top(folder: Path) -> Path:
    """The highest folder on the same disk."""
    while folder.parent != folder and _device(folder.parent) == _device(folder):
        folder = folder.parent
    return folder
