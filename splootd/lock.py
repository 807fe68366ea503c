"""Single-instance lock: one daemon per state folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from splootd.errors import AlreadyRunning


@contextmanager
def acquire_lock(file: Path, socket: Path) -> Iterator[None]:
    """Hold the lock on `file` inside the block, for a daemon that listens on `socket`. Raises AlreadyRunning.

    The file contains the pid, and is empty after an orderly end: a client that waits for the daemon then knows that
    it was stopped and did not crash.

    `flock` is released by the kernel when the process dies, so a crash never leaves a stale lock. A lock file that
    only contains a pid would: the pid may belong to another process after a reboot.
    """
    with file.open("a+", encoding="utf-8", errors="surrogateescape") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"another daemon already runs in {file.parent}", "check it: sploot status") from None
        _write_holder(stream, socket)
        yield
        clear_holder(file)


def clear_holder(file: Path) -> None:
    """Empty the lock file at the end of its holder: clients then do not start the daemon again."""
    os.truncate(file, 0)


def _write_holder(stream: IO[str], socket: Path) -> None:
    """Write the pid, and the socket for commands that would look elsewhere: cron jobs have no XDG_RUNTIME_DIR.

    Only the lock proves that this daemon runs.
    """
    stream.truncate(0)
    stream.write(f"{os.getpid()}\n{socket}\n")
    stream.flush()
