"""Tells a daemon whose process does not run from one that is busy. Linux only: other systems have no /proc."""

import os
from pathlib import Path

from sploot.lock_holder import get_running_pid
from splootd.config import Paths

STOPPED_STATES = frozenset("Tt")  # by a signal, by a debugger: proc_pid_stat(5)
CGROUP_MOUNTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))  # the second beside cgroups of version 1
SERVICE = "splootd.service"


def explain_frozen_daemon() -> tuple[str, str] | None:
    """Return what stops or freezes the process of the daemon, and the remedy; None if it runs."""
    pid = get_running_pid(Paths.from_environ(os.environ))
    if not pid:
        return None
    state = _read_state(pid)
    title = f"the daemon does not respond: its process {pid} is"
    if state in STOPPED_STATES:
        return f"{title} stopped (state {state})", f"to continue it: kill -CONT {pid}"
    if group := _find_frozen_cgroup(pid):
        is_service = group.name == SERVICE
        remedy = f"systemctl --user thaw {SERVICE}" if is_service else f"echo 0 | sudo tee {group / 'cgroup.freeze'}"
        return f"{title} frozen with its cgroup {group} (state {state})", f"to continue it: {remedy}"
    return None


def _read_state(pid: str) -> str:
    """Return the state letter of a process, or an empty text if it is unknown."""
    try:
        # The name of the program, in parentheses, may contain spaces and parentheses itself.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def _find_frozen_cgroup(pid: str) -> Path | None:
    """Return the cgroup that is frozen: that of the process or one above it. None if it runs."""
    try:
        _, _, group = Path(f"/proc/{pid}/cgroup").read_text().strip().rpartition("::")
    except OSError:
        return None
    for mount in CGROUP_MOUNTS:
        path = mount / group.lstrip("/")
        for each in (path, *path.parents):
            if _read_text(each / "cgroup.freeze") == "1":
                return each
    return None


def _read_text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
