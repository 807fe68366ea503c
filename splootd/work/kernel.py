"""What the system tells about watching: where it cannot, how much it allows, and what is really watched.

Linux tells by /proc. Elsewhere nothing is known, and nothing is concluded from that.
"""

import contextlib
import re
from pathlib import Path

MOUNTS_BYTES_MAX = 4_000_000
WATCHES_BYTES_MAX = 64_000_000  # about 80 for each watch
LIMITS = Path("/proc/sys/fs/inotify")

# What happens on another machine, or behind a program, the kernel does not report here.
REMOTE = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "davfs", "vboxsf"}
)
_INODE = re.compile(rb"\bino:([0-9a-f]+)")
_FIRST = re.compile(rb"\bwd:1 ino:([0-9a-f]+)")
_ESCAPE = re.compile(rb"\\([0-7]{3})")


def is_remote(folder: bytes) -> bool:
    """Whether changes in `folder` may go unreported because it lies on another machine."""
    try:
        with Path("/proc/self/mountinfo").open("rb") as stream:
            kind = kind_of(folder, stream.read(MOUNTS_BYTES_MAX))
    except OSError:
        return False
    return kind in REMOTE or kind.startswith("fuse.")


def kind_of(folder: bytes, mounts: bytes) -> str:
    """The type of the file system that `folder` lies on, from a table as in proc_pid_mountinfo(5); empty if unknown."""
    best, kind = b"", ""
    for line in mounts.splitlines():
        fields = line.split(b" ")
        if len(fields) < 10 or b"-" not in fields[6:]:
            continue
        point = _ESCAPE.sub(lambda octal: bytes([int(octal[1], 8)]), fields[4])
        below = folder == point or folder.startswith(point.rstrip(b"/") + b"/")
        if below and len(point) >= len(best):  # of mounts on the same point, the last one is in sight
            best, kind = point, fields[fields.index(b"-", 6) + 1].decode("ascii", "replace")
    return kind


def watched_inodes() -> set[int] | None:
    """The inodes that this process watches by inotify, as proc_pid_fdinfo(5) lists them; None where nobody tells.

    Whether a folder is watched need not be guessed from what went wrong: it is in this list or it is not.
    """
    instances = _inotify_instances()
    if instances is None:
        return None
    return {int(inode, 16) for listed in instances.values() for inode in _INODE.findall(listed)}


def inotify_handle(first: int) -> int | None:
    """The descriptor by which this process watches the inode `first` before all others.

    None where nobody tells, or where there are two: one of them may be about to close.
    """
    handles = [
        handle
        for handle, listed in (_inotify_instances() or {}).items()
        if [int(inode, 16) for inode in _FIRST.findall(listed)] == [first]
    ]
    return handles[0] if len(handles) == 1 else None


def _inotify_instances() -> dict[int, bytes] | None:
    """What each descriptor watches that this process watches by; None where nobody tells."""
    instances: dict[int, bytes] = {}
    try:
        every = list(Path("/proc/self/fd").iterdir())
    except OSError:
        return None
    for handle in every:
        with contextlib.suppress(OSError):  # closed since it was listed
            if str(handle.readlink()) == "anon_inode:inotify":
                with Path(f"/proc/self/fdinfo/{handle.name}").open("rb") as stream:
                    instances[int(handle.name)] = stream.read(WATCHES_BYTES_MAX)
    return instances


def allow_more_watches(missing: int) -> str:
    """What to do when that many folders more are to be watched than the system allows."""
    allowed = _limit("max_user_watches")
    return f"to watch them too: sudo sysctl fs.inotify.max_user_watches={max(2 * allowed, allowed + 2 * missing)}"


def allow_more_instances() -> str:
    """What to do when the system opens no more watches for this user."""
    return f"to allow more: sudo sysctl fs.inotify.max_user_instances={2 * _limit('max_user_instances')}"


def _limit(name: str) -> int:
    try:
        return int((LIMITS / name).read_text())
    except (OSError, ValueError):
        return 8192
