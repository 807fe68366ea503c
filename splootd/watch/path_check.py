"""Classify a path given by the user: a file to queue, a folder to scan, or an error to report."""

import errno
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from splootd.core.item import FoundFile, Version
from splootd.core.mime_sniff import sniff
from splootd.text import printable
from splootd.watch.walker import read_head, version_from_stat

PATH_CHARS_MAX = 4_096

# A FUSE daemon that ended, an NFS export that is gone.
MOUNT_GONE_ERRNOS = frozenset({errno.ENOTCONN, errno.ESTALE})
MOUNT_GONE = "what is mounted there has gone: unmount and mount it again"

ERROR_MESSAGES: Mapping[str, str] = {
    "missing": "{path} does not exist. Check the name.",
    "loop": "{path} is a symlink loop. Add the file itself.",
    "not_a_file": "{path} is neither a file nor a folder.",
    "unreadable": "No permission to read {path}. Grant yourself access, then add it again.",
    "mount_gone": f"{{path}}: {MOUNT_GONE}, then add it again.",
    "empty": "{path} is empty.",
    "not_an_image": "{path} is not an image or video.",
}

_OUTCOME_BY_ERRNO: Mapping[int | None, str] = {
    errno.ENOENT: "missing",
    errno.ENOTDIR: "missing",
    errno.ENAMETOOLONG: "missing",
    errno.ELOOP: "loop",
    **dict.fromkeys(MOUNT_GONE_ERRNOS, "mount_gone"),
}


@dataclass(frozen=True, slots=True)
class PathArgument:
    """A path as given, and its outcome: `file`, `folder` or a key of ERROR_MESSAGES.

    `path` has no symlinks, except a watched folder that was replaced by one.
    """

    name: str
    outcome: str
    path: bytes = b""
    version: Version | None = None

    @property
    def detail(self) -> str | None:
        """The error message; None for a file or folder."""
        message = ERROR_MESSAGES.get(self.outcome)
        return message and message.format(path=printable(self.name, PATH_CHARS_MAX))


def check_path(name: str, *, settled_before: float) -> PathArgument:
    """Classify the path `name`; follow symlinks. Blocks.

    A file that changed after `settled_before` may still be incomplete: its type is checked when it is uploaded.
    """
    try:
        path = os.path.realpath(os.fsencode(name), strict=True)
        status = os.lstat(path)
        if stat.S_ISDIR(status.st_mode):
            with os.scandir(path):
                return PathArgument(name, "folder", path, version_from_stat(status))
        if not stat.S_ISREG(status.st_mode):
            return PathArgument(name, "not_a_file")
        head = read_head(path)
    except ValueError:  # embedded NUL
        return PathArgument(name, "missing")
    except OSError as error:
        return PathArgument(name, _OUTCOME_BY_ERRNO.get(error.errno, "unreadable"))
    if sniff(head) is None and status.st_mtime <= settled_before:
        return PathArgument(name, "not_an_image" if head else "empty")
    return PathArgument(name, "file", path, version_from_stat(status))


def find_moved_roots(roots: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return those watched folders that are symlinks now, by the folder that they lead to. Blocks.

    The path of a folder had no symlink when it was added. Its items keep that path when the folder is moved.
    """
    return {path: root for root in roots if (path := os.path.realpath(root)) != root}


def map_to_roots(argument: PathArgument, moved_roots: Mapping[bytes, bytes]) -> PathArgument:
    """Return an argument in a moved watched folder under the path by which that folder is watched."""
    for path, root in moved_roots.items():
        if argument.path and is_inside(argument.path, path):
            return replace(argument, path=root + argument.path[len(path) :])
    return argument


def get_files(arguments: Sequence[PathArgument]) -> list[FoundFile]:
    """Return the files among the arguments, without duplicates."""
    files = {each.path: each.version for each in arguments if each.outcome == "file"}
    return [FoundFile(path, version) for path, version in files.items() if version]


def get_folders(arguments: Sequence[PathArgument]) -> list[PathArgument]:
    """Return the folders among the arguments, without duplicates, outer ones before the ones inside them."""
    folders = {each.path: each for each in arguments if each.outcome == "folder"}
    return [folders[path] for path in sorted(folders)]


def is_inside(path: bytes, folder: bytes) -> bool:
    """Return whether `path` is `folder` or inside it."""
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")
