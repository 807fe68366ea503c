"""One daemon for each state folder: whoever holds the lock knows that no other is at work here."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from splootd.errors import AlreadyRunning


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold `file` for as long as this process lives; AlreadyRunning when somebody else does."""
    with file.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"another splootd already runs on {file.parent}", "use it: sploot status") from None
        _note_owner(stream)
        yield


def _note_owner(stream: IO[str]) -> None:
    """The process id is for people to read; only the lock itself is trusted."""
    stream.truncate(0)
    stream.write(f"{os.getpid()}\n")
    stream.flush()
