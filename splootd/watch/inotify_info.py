"""Read what inotify allows and watches: its limits and the watched inodes in /proc.

Other systems have no /proc; the functions then return a default.
"""

import contextlib
import ctypes
import errno
import os
import re
from collections import Counter
from pathlib import Path

FDINFO_BYTES_MAX = 64_000_000  # about 80 for each watch
INOTIFY_LIMITS_DIR = Path("/proc/sys/fs/inotify")

_INODE = re.compile(rb"\bino:([0-9a-f]+)")
_IN_DELETE_SELF = 0x400
_LIBC = ctypes.CDLL(None, use_errno=True)


def inotify_fds() -> set[int]:
    """Return the inotify descriptors of this process; empty without /proc."""
    fds = set()
    with contextlib.suppress(OSError):
        for entry in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):  # closed since the listing
                if str(entry.readlink()) == "anon_inode:inotify":
                    fds.add(int(entry.name))
    return fds


def watched_inodes(inotify_fd: int) -> Counter[int]:
    """Return the inode numbers that an inotify descriptor watches, as proc_pid_fdinfo(5) lists them.

    A number that is watched on several devices is counted once for each: the list has device numbers of the kernel,
    which stat does not return on every file system (btrfs has one of its own for each subvolume).

    watchfiles ignores most errors of inotify_add_watch, such as ENOSPC at `max_user_watches`. This list is the only
    reliable answer to whether a folder is watched.
    """
    with contextlib.suppress(OSError), Path(f"/proc/self/fdinfo/{inotify_fd}").open("rb") as stream:
        return Counter(int(inode, 16) for inode in _INODE.findall(stream.read(FDINFO_BYTES_MAX)))
    return Counter()


def is_watch_limit_reached(folder: bytes) -> bool:
    """Return whether the kernel refuses to watch `folder` because this user may have no more watches.

    Other programs share `max_user_watches`, so the number of our own watches does not answer that: try one more.
    """
    if not hasattr(_LIBC, "inotify_init1"):
        return False
    fd = _LIBC.inotify_init1(os.O_CLOEXEC)
    if fd < 0:
        return False
    try:
        return _LIBC.inotify_add_watch(fd, folder, _IN_DELETE_SELF) < 0 and ctypes.get_errno() == errno.ENOSPC
    finally:
        os.close(fd)


def watch_limit_hint(missing: int) -> str:
    """Return the command that allows `missing` more watches."""
    allowed = _read_limit("max_user_watches")
    return f"to watch them too, run: sudo sysctl fs.inotify.max_user_watches={max(2 * allowed, allowed + 2 * missing)}"


def instance_limit_hint() -> str:
    """Return the command that allows this user more inotify instances."""
    return f"to allow more, run: sudo sysctl fs.inotify.max_user_instances={2 * _read_limit('max_user_instances')}"


def _read_limit(name: str) -> int:
    try:
        return int((INOTIFY_LIMITS_DIR / name).read_text())
    except (OSError, ValueError):
        return 8192
