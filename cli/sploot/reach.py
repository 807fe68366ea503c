"""Reaching the daemon."""

import os
import sys
from pathlib import Path

from sploot.client import Client, Connection
from splootd.config import Paths
from splootd.errors import SplootError

ATTEMPTS_MAX = 3
MAY_LISTEN = frozenset({os.getuid(), 0})


class NoDaemonError(SplootError):
    """The daemon can be neither reached nor started."""


def client() -> Client:
    """A client of the daemon, which is started if need be."""
    paths = Paths.find(os.environ)
    return Client(
        lambda: connected(paths),
        lambda sentence: print(f"note: {sentence}", file=sys.stderr),
        lambda version: _replaced(paths, version),
    )


def _replaced(paths: Paths, version: str) -> bool:
    from sploot.start import replace  # noqa: PLC0415 - rarely needed, and it takes time to import

    return replace(paths, version)


def running(socket: Path) -> Connection | None:
    """A connection to the daemon, or None when there is no daemon."""
    try:
        if socket.parent.stat().st_uid not in MAY_LISTEN:
            raise NoDaemonError(f"{socket.parent} belongs to somebody else", "what is said there, they would hear")
        return Connection(socket)
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except OSError as error:
        raise NoDaemonError(
            f"the daemon's socket {socket} cannot be used: {error.strerror}", "check who owns that folder"
        ) from error


def connected(paths: Paths) -> Connection:
    """A connection to the daemon, which is started if need be; NoDaemonError or ConfigError when it cannot be."""
    connection = running(paths.socket)
    if connection is not None:
        return connection
    from sploot.start import start, wait_until_free  # noqa: PLC0415 - rarely needed, and it takes time to import

    for _ in range(ATTEMPTS_MAX):
        is_started = start(paths)
        connection = running(paths.socket)
        if connection is not None:
            return connection
        if not is_started:
            # Another daemon has the lock, but it does not listen any more: it is about to end.
            wait_until_free(paths)
    raise NoDaemonError("the daemon starts and ends again and again", f"its log is {paths.log}")
