"""What a path is that somebody named: a file to queue, a folder to walk, or something that can only be explained."""

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from splootd.core.item import Version
from splootd.core.magic import sniff
from splootd.remote.answers import printable
from splootd.work.walk import Found, read_head, version_of

PATH_CHARS_MAX = 4_096

SENTENCES: Mapping[str, str] = {
    "missing": "{path} does not exist: check the name",
    "loop": "{path} is a link that leads in a circle: name the file itself",
    "not_a_file": "{path} is neither a file nor a folder: only images and videos can be added",
    "unreadable": "{path} may not be read: give yourself the right to, then add it again",
    "empty": "{path} is empty: there is nothing to send",
    "not_an_image": "{path} is no image or video that we know: its first bytes are those of something else",
}

_BY_ERRNO: Mapping[int | None, str] = {
    errno.ENOENT: "missing",
    errno.ENOTDIR: "missing",
    errno.ENAMETOOLONG: "missing",
    errno.ELOOP: "loop",
}


@dataclass(frozen=True, slots=True)
class Named:
    """A path as it was named, and what it is: `file`, `folder`, or one of SENTENCES. `path` has no links in it."""

    name: str
    outcome: str
    path: bytes = b""
    version: Version | None = None

    @property
    def detail(self) -> str | None:
        sentence = SENTENCES.get(self.outcome)
        return sentence and sentence.format(path=printable(self.name, PATH_CHARS_MAX))


def examine(name: str, *, settled_before: float) -> Named:
    """Look at the path `name`; links are followed. Blocks.

    A file that changed after `settled_before` may still be growing: whether it is an image shows when it is read.
    """
    try:
        path = os.path.realpath(os.fsencode(name), strict=True)
        status = os.lstat(path)
        if stat.S_ISDIR(status.st_mode):
            with os.scandir(path):
                return Named(name, "folder", path, version_of(status))
        if not stat.S_ISREG(status.st_mode):
            return Named(name, "not_a_file")
        head = read_head(path)
    except ValueError:
        return Named(name, "missing")  # a NUL in it
    except OSError as error:
        return Named(name, _BY_ERRNO.get(error.errno, "unreadable"))
    if sniff(head) is None and status.st_mtime <= settled_before:
        return Named(name, "not_an_image" if head else "empty")
    return Named(name, "file", path, version_of(status))


def files_of(named: Sequence[Named]) -> list[Found]:
    """The files among what was named, each once."""
    files = {each.path: each.version for each in named if each.outcome == "file"}
    return [Found(path, version) for path, version in files.items() if version]


def folders_of(named: Sequence[Named]) -> list[Named]:
    """The folders among what was named, each once, the outer ones before those inside them."""
    folders = {each.path: each for each in named if each.outcome == "folder"}
    return [folders[path] for path in sorted(folders)]


def is_inside(path: bytes, folder: bytes) -> bool:
    """Whether `path` is `folder` or lies in it."""
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")
