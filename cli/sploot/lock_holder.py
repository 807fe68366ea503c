"""The daemon that holds the lock: its process and its socket.

The lock decides, not the socket: a service manager listens on the socket even when no daemon is running.
"""

import fcntl
import os

from splootd.config import Paths

HOLDER_BYTES_MAX = 4_096


def get_running_pid(paths: Paths) -> str | None:
    """Return the process id of the daemon, an empty text while it starts, or None if no daemon is running."""
    holder = read_lock_holder(paths)
    return None if holder is None else holder[0]


def read_lock_holder(paths: Paths) -> tuple[str, str] | None:
    """Return process id and socket of the daemon that holds the lock, both empty while it starts."""
    try:
        with paths.lock.open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                pid, _, socket = os.fsdecode(lock.read(HOLDER_BYTES_MAX)).partition("\n")
                return pid, socket.removesuffix("\n")
    except OSError:
        pass
    return None
