"""Move one file within its file system: never overwrite another file, and never lose it in a crash.

`os.rename` is atomic but replaces an existing target silently, so `link` then `unlink` is used where possible: `link`
fails with EEXIST, also in a race. Neither works across file systems (EXDEV). A copy there is not atomic, loses extended
attributes, and needs space on the target disk, so the move is refused and the file kept.
"""

import contextlib
import errno
import hashlib
import os
import stat
from pathlib import Path

from splootd.core.item import Version

_LINK_UNSUPPORTED_ERRNOS = frozenset(
    {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EACCES}
)
"""Errors of `link` on a file system without hard links (FAT, exFAT, some network and FUSE ones)."""

_OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC


def to_path(path: bytes) -> Path:
    """Return the path of a file name from the store."""
    return Path(os.fsdecode(path))


def move_file(source: Path, target: Path) -> None:
    """Move the file at `source` to `target`.

    Raise FileExistsError if `target` exists, OSError with EXDEV if it is on another file system. In between the file
    has both names, or (without hard links) its old name and an empty file at `target`: recovery recognises either.
    """
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _LINK_UNSUPPORTED_ERRNOS:
            raise
        _move_by_rename(source, target)
    else:
        # The new name must be on disk before the old one is removed: directory updates may be written in any order, and
        # a power failure could otherwise keep the unlink and lose the link.
        _fsync_parent(target)
        source.unlink()
    _fsync_parent(target)
    _fsync_parent(source)


def write_info_file(path: Path, content: bytes) -> None:
    """Create a file and sync it to disk. Raise FileExistsError if it exists."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    _fsync_parent(path)


def remove_info_file(path: Path, target: Path) -> None:
    """Remove the trash's info file, unless a file exists at the `target` that it describes."""
    if not os.path.lexists(target):
        path.unlink(missing_ok=True)


def is_version_at(path: Path, version: Version) -> bool:
    """Return whether `path` has this version of the file."""
    try:
        return _is_version(path.lstat(), version)
    except OSError:
        return False


def has_single_link(path: Path) -> bool:
    """Return whether the file at `path` has no other hard link."""
    return path.lstat().st_nlink == 1


def hash_file(path: Path, version: Version) -> bytes | None:
    """Return the SHA-256 of the file, or None if it is another version before or after reading.

    Raise OSError if it cannot be read.
    """
    descriptor = os.open(path, _OPEN_FLAGS)
    with open(descriptor, "rb", buffering=0) as stream:  # noqa: PTH123 - a descriptor, not a path
        if not _is_version(os.fstat(descriptor), version):
            return None
        digest = hashlib.file_digest(stream, "sha256").digest()
        return digest if _is_version(os.fstat(descriptor), version) else None


def _move_by_rename(source: Path, target: Path) -> None:
    """Move the file where hard links are not supported: reserve the target name, then rename over it."""
    # O_EXCL makes the check for an existing target atomic. Linux's renameat2(RENAME_NOREPLACE) would do both in one
    # step, but Python does not expose it, and FAT did not support it before Linux 6.0.
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        source.rename(target)
    except OSError:
        target.unlink()
        raise


def _is_version(status: os.stat_result, version: Version) -> bool:
    current = Version(status.st_size, status.st_mtime_ns, status.st_dev, status.st_ino)
    return stat.S_ISREG(status.st_mode) and current.is_same_as(version)


def _fsync_parent(path: Path) -> None:
    """Sync the folder of `path` to disk, if its file system supports that."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
