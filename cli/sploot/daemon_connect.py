"""Connects to the daemon. The code that starts it is only imported if it is not running."""

from __future__ import annotations

import os
import sys

from sploot.client import Client
from sploot.connection import Connection, NoDaemonError, connect_if_running
from splootd.app_dirs import find_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from splootd.config import Paths

ATTEMPTS_MAX = 3


def open_client() -> Client:
    """Return a client of the daemon, starting the daemon if necessary."""
    return Client(_connect, lambda sentence: print(f"note: {sentence}", file=sys.stderr), _replace_older_daemon)


def _connect() -> Connection:
    return connect_if_running(find_socket(os.environ)) or connect_or_start(_get_paths())


def _replace_older_daemon(version: str) -> bool:
    from sploot.daemon_process import replace_older_daemon  # noqa: PLC0415 - see above

    return replace_older_daemon(_get_paths(), version)


def _get_paths() -> Paths:
    from splootd.config import Paths  # noqa: PLC0415 - see above

    return Paths.from_environ(os.environ)


def connect_or_start(paths: Paths) -> Connection:
    """Return a connection to the daemon, starting it if necessary; NoDaemonError or ConfigError if it cannot start."""
    connection = connect_if_running(paths.socket)
    if connection is not None:
        return connection
    from sploot.daemon_process import start, wait_for_lock_release  # noqa: PLC0415 - see above

    for _ in range(ATTEMPTS_MAX):
        is_started = start(paths)
        connection = connect_if_running(paths.socket)
        if connection is not None:
            return connection
        if not is_started:
            # Another daemon holds the lock but no longer listens: it is shutting down. Its lock is released last.
            wait_for_lock_release(paths)
    raise NoDaemonError("the daemon starts and exits repeatedly", f"see its log: {paths.log}")


def restart_if_running(paths: Paths) -> bool:
    """Restart the daemon. Return False if it was not running."""
    from sploot.daemon_process import stop  # noqa: PLC0415 - see above

    if not stop(paths):
        return False
    open_client().request_json("GET", "/v1/status")
    return True
