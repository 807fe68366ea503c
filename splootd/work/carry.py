"""Moving one file on its disk: never over another one, and in an order in which no crash can lose it."""

import contextlib
import errno
import hashlib
import os
import stat
from pathlib import Path

from splootd.core.item import Version

_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EACCES})
"""What a file system without hard links answers to one; a rename may do."""

_OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC


def carry(source: Path, target: Path) -> None:
    """Move the file at `source` to `target`. FileExistsError when something is there; OSError EXDEV on another disk.

    In between it has both names, or its name and an empty file in its new place: whoever looks after a crash can tell.
    """
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _rename(source, target)
    else:
        _sync_folder(target)
        source.unlink()
    _sync_folder(target)
    _sync_folder(source)


def write_note(path: Path, words: bytes) -> None:
    """A new file, on the disk when this returns. FileExistsError when there is one."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, words)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _sync_folder(path)


def remove_note(path: Path, target: Path) -> None:
    """Take away a note, unless something lies in the place that it speaks of."""
    if not os.path.lexists(target):
        path.unlink(missing_ok=True)


def is_at(path: Path, version: Version) -> bool:
    """Whether that very version of a file is at `path`."""
    try:
        return _is_still(path.lstat(), version)
    except OSError:
        return False


def has_one_name(path: Path) -> bool:
    return path.lstat().st_nlink == 1


def digest_of(path: Path, version: Version) -> bytes | None:
    """The SHA-256 of the file, or None when it is not that version, before or after. OSError when it is unreadable."""
    descriptor = os.open(path, _OPEN_FLAGS)
    with open(descriptor, "rb", buffering=0) as stream:  # noqa: PTH123 - a descriptor, not a path
        if not _is_still(os.fstat(descriptor), version):
            return None
        digest = hashlib.file_digest(stream, "sha256").digest()
        return digest if _is_still(os.fstat(descriptor), version) else None


def _rename(source: Path, target: Path) -> None:
    """As `carry`, where a file cannot have two names: the new one is taken first."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        source.rename(target)
    except OSError:
        target.unlink()
        raise


def _is_still(found: os.stat_result, version: Version) -> bool:
    here = Version(found.st_size, found.st_mtime_ns, found.st_dev, found.st_ino)
    return stat.S_ISREG(found.st_mode) and here.is_still(version)


def _sync_folder(path: Path) -> None:
    """Bring the names in the folder of `path` to the disk, where the file system can."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
