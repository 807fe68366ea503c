"""Locate the desktop's trash on the file system of a file.

Linux and BSD: the freedesktop.org Trash Specification, version 1.0. macOS: ~/.Trash. Files are never copied to the home
trash from another disk: the specification's trash in the top directory of each disk needs only a rename.
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

TRASHINFO_SUFFIX = ".trashinfo"
NAME_BYTES_MAX = 255 - len(TRASHINFO_SUFFIX)
NUMBERS_MAX = 10_000
EXTENSION_BYTES_MAX = 16


@dataclass(frozen=True, slots=True)
class MoveTarget:
    """Where to move a file. `info_content` must be written to `info_path` before the move."""

    path: Path
    info_path: Path | None = None
    info_content: bytes = b""


class Trash:
    """Chooses trash locations for the user of an environment."""

    def __init__(self, environ: Mapping[str, str], *, platform: str = sys.platform) -> None:
        self._home = Path(environ.get("HOME") or "~").expanduser()
        self._data = Path(environ.get("XDG_DATA_HOME") or self._home / ".local" / "share")
        self._is_mac = platform == "darwin"

    def choose_target(self, path: Path, *, now: float) -> MoveTarget:
        """Return a free target for the file at `path`, and create its folders.

        Raise OSError if the file's disk has no trash for this user.
        """
        if self._is_mac:
            return MoveTarget(find_free_path(self._home / ".Trash", path.name))
        trash, recorded_path = self._find_trash_folder(path)
        # The specification reserves a name by its .trashinfo file, so a name counts as taken if either file exists.
        files, info = trash / "files", trash / "info"
        for folder in (trash, files, info):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in numbered_names(path.name, bytes_max=NAME_BYTES_MAX):
            info_path = info / f"{name}{TRASHINFO_SUFFIX}"
            if not os.path.lexists(info_path) and not os.path.lexists(files / name):
                return MoveTarget(files / name, info_path, _render_trashinfo(recorded_path, now))
        raise _no_free_name_error(files)

    def _find_trash_folder(self, path: Path) -> tuple[Path, Path]:
        """Return the trash on the disk of `path`, and the path to record in its info file."""
        home_trash = self._data / "Trash"
        if _device(_nearest_existing_folder(home_trash)) == _device(path.parent):
            return home_trash, path
        mount_point = _find_mount_point(path.parent)
        shared, user = mount_point / ".Trash", str(os.getuid())
        # The specification requires these checks: without the sticky bit, or through a symlink, another user could
        # replace the folder and take the files.
        with contextlib.suppress(OSError):
            mode = shared.lstat().st_mode
            if stat.S_ISDIR(mode) and mode & stat.S_ISVTX:
                return shared / user, path.relative_to(mount_point)
        return mount_point / f".Trash-{user}", path.relative_to(mount_point)


def find_free_path(folder: Path, name: str) -> Path:
    """Return a path in `folder` that does not exist: `name`, or `name` with a number."""
    for numbered_name in numbered_names(name):
        if not os.path.lexists(folder / numbered_name):
            return folder / numbered_name
    raise _no_free_name_error(folder)


def numbered_names(name: str, *, bytes_max: int = 255) -> Iterator[str]:
    """Yield `name`, then `name (2)` and so on, with the number before the extension, each at most `bytes_max` long."""
    stem, extension = os.fsencode(Path(name).stem), os.fsencode(Path(name).suffix)
    if len(extension) > EXTENSION_BYTES_MAX:
        stem, extension = os.fsencode(name), b""
    for number in range(1, NUMBERS_MAX + 1):
        end = (b"" if number == 1 else b" (%d)" % number) + extension
        yield os.fsdecode(stem[: bytes_max - len(end)] + end)


def _no_free_name_error(folder: Path) -> OSError:
    return OSError(errno.EEXIST, f"no free name in {folder}")


def _render_trashinfo(recorded_path: Path, now: float) -> bytes:
    deleted = datetime.fromtimestamp(now).astimezone()  # the specification requires local time
    return f"[Trash Info]\nPath={quote(bytes(recorded_path))}\nDeletionDate={deleted:%Y-%m-%dT%H:%M:%S}\n".encode()


def _device(path: Path) -> int:
    return path.lstat().st_dev


def _nearest_existing_folder(path: Path) -> Path:
    """Return `path`, or its nearest existing parent."""
    return next(each for each in (path, *path.parents) if each.is_dir())


def _find_mount_point(folder: Path) -> Path:
    """Return the topmost folder on the same disk."""
    while folder.parent != folder and _device(folder.parent) == _device(folder):
        folder = folder.parent
    return folder
