"""Reaching the daemon. What is needed to start it is imported when it does not run."""

from __future__ import annotations

import os
import sys

from sploot.client import Client, Connection
from splootd.errors import SplootError
from splootd.places import socket_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from splootd.config import Paths

ATTEMPTS_MAX = 3
MAY_LISTEN = frozenset({os.getuid(), 0})


class NoDaemonError(SplootError):
    """The daemon can be neither reached nor started."""


def client() -> Client:
    """A client of the daemon, which is started if need be."""
    return Client(_connected, lambda sentence: print(f"note: {sentence}", file=sys.stderr), _replaced)


def _connected() -> Connection:
    connection = running(socket_of(os.environ))
    if connection is not None:
        return connection
    from splootd.config import Paths  # noqa: PLC0415 - see above

    return connected(Paths.find(os.environ))


def _replaced(version: str) -> bool:
    from sploot.start import replace  # noqa: PLC0415 - see above
    from splootd.config import Paths  # noqa: PLC0415 - as above

    return replace(Paths.find(os.environ), version)


def running(socket: str | os.PathLike[str]) -> Connection | None:
    """A connection to the daemon, or None when there is no daemon."""
    folder = os.path.dirname(socket)  # noqa: PTH120 - pathlib takes time to import
    try:
        if os.stat(folder).st_uid not in MAY_LISTEN:  # noqa: PTH116 - as above
            raise NoDaemonError(f"{folder} belongs to somebody else", "what is said there, they would hear")
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
    from sploot.start import start, wait_until_free  # noqa: PLC0415 - see above

    for _ in range(ATTEMPTS_MAX):
        is_started = start(paths)
        connection = running(paths.socket)
        if connection is not None:
            return connection
        if not is_started:
            # Another daemon has the lock, but it does not listen any more: it is about to end.
            wait_until_free(paths)
    raise NoDaemonError("the daemon starts and ends again and again", f"its log is {paths.log}")
