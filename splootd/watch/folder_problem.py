"""Name why a watched folder cannot be read, in the same words in `status`, `doctor` and `add`."""

import errno
import os
import shlex
from dataclasses import dataclass

from splootd.text import display_path
from splootd.watch.mounts import find_mount_point, parse_mounts, read_mountinfo
from splootd.watch.path_check import MOUNT_GONE, MOUNT_GONE_ERRNOS


@dataclass(frozen=True, slots=True)
class FolderProblem:
    """State and detail of a folder that cannot be read, and the command that helps; `advice` belongs to the command."""

    state: str
    detail: str
    command: str
    advice: str = ""


def find_problem(folder: bytes, error: OSError) -> FolderProblem:
    """Return the problem that `error`, raised by reading `folder`, reveals."""
    name, quoted = display_path(folder), shlex.quote(os.fsdecode(folder))
    # EIO of a file may be a bad sector, EIO of a whole folder is not.
    if error.errno in MOUNT_GONE_ERRNOS or error.errno == errno.EIO:
        mount_point = find_mount_point(folder, parse_mounts(read_mountinfo())) or folder
        command = f"umount {shlex.quote(os.fsdecode(mount_point))}"
        return FolderProblem("missing", f"{name}: {MOUNT_GONE}; its queued files are kept", command)
    if isinstance(error, PermissionError):
        detail = f"no permission to read {name}; grant yourself access"
        return FolderProblem("unreadable", detail, f"chmod u+rx {quoted}")
    return FolderProblem(
        "missing",
        f"{name} is missing (unmounted?); its queued files are kept",
        "sploot folders",
        f"mount its disk again; if it is gone for good, run: sploot folders remove {quoted}",
    )
