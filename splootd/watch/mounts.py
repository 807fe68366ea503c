"""Read the mounted file systems from /proc, and notice when one is mounted or unmounted.

Other systems have no /proc; no mounts are known there.
"""

import asyncio
import re
import select
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import BinaryIO

from splootd.watch.path_check import is_inside

MOUNTINFO = Path("/proc/self/mountinfo")
MOUNTINFO_BYTES_MAX = 4_000_000

# inotify_add_watch succeeds on these, but changes by other machines produce no events (inotify(7), "Limitations").
NETWORK_FILESYSTEMS = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "beegfs", "gpfs"),
        *("davfs", "fuse", "virtiofs", "vboxsf", "prl_fs"),  # the host of a virtual machine is another machine, too
    }
)
_ESCAPE = re.compile(rb"\\([0-7]{3})")

Mounts = Mapping[bytes, tuple[bytes, str]]
"""Maps each mount point to its device number, such as `8:1`, and the type of its file system."""


def read_mountinfo() -> bytes:
    try:
        with MOUNTINFO.open("rb") as stream:
            return stream.read(MOUNTINFO_BYTES_MAX)
    except OSError:
        return b""


def parse_mounts(mountinfo: bytes) -> Mounts:
    """Parse the format of proc_pid_mountinfo(5). A later mount hides an earlier one on the same mount point."""
    mounts = {}
    for line in mountinfo.splitlines():
        fields = line.split(b" ")  # fields[6:] hold any number of optional fields, ended by "-"
        if len(fields) >= 10 and b"-" in fields[6:]:
            mount_point = _ESCAPE.sub(lambda octal: bytes([int(octal[1], 8)]), fields[4])
            mounts[mount_point] = fields[2], fields[fields.index(b"-", 6) + 1].decode("ascii", "replace")
    return mounts


def find_mount_point(folder: bytes, mounts: Mounts) -> bytes:
    """Return the innermost mount point that contains `folder`; empty if unknown."""
    return max((each for each in mounts if is_inside(folder, each)), key=len, default=b"")


def filesystem_type(folder: bytes, mounts: Mounts) -> str:
    """Return the type of the file system of `folder`; empty if unknown."""
    mount_point = find_mount_point(folder, mounts)
    return mounts[mount_point][1] if mount_point else ""


def is_network_filesystem(folder: bytes) -> bool:
    """Return whether `folder` is on a network or FUSE file system, whose changes may not be reported."""
    return _is_network_type(filesystem_type(folder, parse_mounts(read_mountinfo())))


def find_network_folders(folders: Collection[bytes], root: bytes, mounts: Mounts) -> set[bytes]:
    """Return those of the folders below `root` that are on network or FUSE file systems mounted there."""
    inner_mounts = [each for each in mounts if is_inside(each, root) and each != root]
    if not any(_is_network_type(mounts[each][1]) for each in inner_mounts):
        return set()
    return {folder for folder in folders if _is_network_type(filesystem_type(folder, mounts))}


def _is_network_type(kind: str) -> bool:
    return kind in NETWORK_FILESYSTEMS or kind.startswith("fuse.")


def _open_mountinfo() -> BinaryIO | None:
    try:
        return MOUNTINFO.open("rb")
    except OSError:
        return None


class MountMonitor:
    """Calls `on_change` with the mount points at which something was mounted or unmounted.

    The kernel reports each change as a priority event of /proc/self/mountinfo, which costs nothing while idle. No event
    of inotify tells of a new mount.
    """

    def __init__(self, on_change: Callable[[set[bytes]], None]) -> None:
        self._on_change = on_change
        self._mounts: Mounts = {}

    async def run(self) -> None:
        """Report changes until cancelled."""
        loop, mountinfo = asyncio.get_running_loop(), _open_mountinfo()
        if mountinfo is None:
            return
        # asyncio waits for data, and mountinfo always has data. An epoll object with the priority event alone becomes
        # readable only at a change.
        with mountinfo, select.epoll() as changes:
            changes.register(mountinfo.fileno(), select.EPOLLPRI)
            self._mounts = parse_mounts(read_mountinfo())
            loop.add_reader(changes.fileno(), self._report, changes)
            try:
                await loop.create_future()
            finally:
                loop.remove_reader(changes.fileno())

    def _report(self, changes: select.epoll) -> None:
        changes.poll(0)
        earlier, self._mounts = self._mounts, parse_mounts(read_mountinfo())
        changed = {mount_point for mount_point, _ in earlier.items() ^ self._mounts.items()}
        if changed:
            self._on_change(changed)
