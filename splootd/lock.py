"""Single-instance lock: one daemon per state folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from splootd.errors import AlreadyRunning


@contextmanager
def acquire_lock(file: Path) -> Iterator[None]:
    """Hold the lock on `file` inside the block. Raises AlreadyRunning.

    `flock` is released by the kernel when the process dies, so a crash never leaves a stale lock. A lock file that
    only contains a pid would: the pid may belong to another process after a reboot.
    """
    with file.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"another daemon already runs in {file.parent}", "check it: sploot status") from None
        _write_pid(stream)
        yield


def _write_pid(stream: IO[str]) -> None:
    """Write the pid for people. Programs must rely on the lock only."""
    stream.truncate(0)
    stream.write(f"{os.getpid()}\n")
    stream.flush()
