"""Read from /proc what inotify supports, allows and watches: file systems, limits, watched inodes.

inotify itself has no call for any of this. Other systems have no /proc; the functions then return a default.
"""

import contextlib
import re
from pathlib import Path

MOUNTS_BYTES_MAX = 4_000_000
FDINFO_BYTES_MAX = 64_000_000  # about 80 for each watch
INOTIFY_LIMITS_DIR = Path("/proc/sys/fs/inotify")

# inotify_add_watch succeeds on these, but changes by other machines produce no events (inotify(7), "Limitations").
NETWORK_FILESYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "davfs", "vboxsf"}
)
_INODE = re.compile(rb"\bino:([0-9a-f]+)")
_ESCAPE = re.compile(rb"\\([0-7]{3})")


def is_network_filesystem(folder: bytes) -> bool:
    """Return whether `folder` is on a network or FUSE file system, whose changes may not be reported."""
    try:
        with Path("/proc/self/mountinfo").open("rb") as stream:
            kind = filesystem_type(folder, stream.read(MOUNTS_BYTES_MAX))
    except OSError:
        return False
    return kind in NETWORK_FILESYSTEMS or kind.startswith("fuse.")


def filesystem_type(folder: bytes, mountinfo: bytes) -> str:
    """Return the type of the file system of `folder`, from proc_pid_mountinfo(5); empty if unknown."""
    best_mount, kind = b"", ""
    for line in mountinfo.splitlines():
        fields = line.split(b" ")  # fields[6:] hold any number of optional fields, ended by "-"
        if len(fields) < 10 or b"-" not in fields[6:]:
            continue
        mount_point = _ESCAPE.sub(lambda octal: bytes([int(octal[1], 8)]), fields[4])
        is_inside = folder == mount_point or folder.startswith(mount_point.rstrip(b"/") + b"/")
        if is_inside and len(mount_point) >= len(best_mount):  # a later mount hides an earlier one on the same point
            best_mount, kind = mount_point, fields[fields.index(b"-", 6) + 1].decode("ascii", "replace")
    return kind


def inotify_fds() -> set[int]:
    """Return the inotify descriptors of this process; empty without /proc."""
    fds = set()
    with contextlib.suppress(OSError):
        for entry in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):  # closed since the listing
                if str(entry.readlink()) == "anon_inode:inotify":
                    fds.add(int(entry.name))
    return fds


def watched_inodes(inotify_fd: int) -> set[int]:
    """Return the inodes that an inotify descriptor watches, as proc_pid_fdinfo(5) lists them.

    watchfiles ignores most errors of inotify_add_watch, such as ENOSPC at `max_user_watches`. This list is the only
    reliable answer to whether a folder is watched.
    """
    with contextlib.suppress(OSError), Path(f"/proc/self/fdinfo/{inotify_fd}").open("rb") as stream:
        return {int(inode, 16) for inode in _INODE.findall(stream.read(FDINFO_BYTES_MAX))}
    return set()


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
