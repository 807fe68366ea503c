"""Reaching the daemon. What is needed to start it is imported when it does not run."""

from __future__ import annotations

import os
import sys

from sploot.client import Client
from sploot.connection import Connection, NoDaemonError, running
from splootd.places import socket_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from splootd.config import Paths

ATTEMPTS_MAX = 3


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


def restart_if_running(paths: Paths) -> bool:
    """Stop the daemon and start it again; False when there was none."""
    from sploot.start import stop  # noqa: PLC0415 - see above

    if not stop(paths):
        return False
    client().answer("GET", "/v1/status")
    return True
