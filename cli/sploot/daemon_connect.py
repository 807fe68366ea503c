"""Connects to the daemon. The code that starts it is only imported if it is not running."""

from __future__ import annotations

import os
import sys

from sploot.client import Client
from sploot.connection import Connection, ConnectionLostError, NoDaemonError, connect_if_running
from splootd.app_dirs import find_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from splootd.config import Paths

ATTEMPTS_MAX = 3


def open_client() -> Client:
    """Return a client of the daemon, starting the daemon if necessary."""
    return Client(_connect, _print_note, _replace_older_daemon)


def open_client_of_running() -> Client:
    """Return a client that never starts the daemon: ConnectionLostError if none is running."""
    return Client(_connect_to_running, _print_note)


def _print_note(sentence: str) -> None:
    print(f"note: {sentence}", file=sys.stderr)


def _connect() -> Connection:
    return connect_if_running(find_socket(os.environ)) or connect_or_start(_get_paths())


def _connect_to_running() -> Connection:
    from sploot.daemon_process import connect_to_lock_holder  # noqa: PLC0415 - see above

    # A service manager that listens on the socket would start the daemon for a connection.
    connection = connect_to_lock_holder(_get_paths())
    if connection is None:
        raise ConnectionLostError
    return connection


def _replace_older_daemon(version: str) -> bool:
    from sploot.daemon_process import replace_older_daemon  # noqa: PLC0415 - see above

    return replace_older_daemon(_get_paths(), version)


def _get_paths() -> Paths:
    from splootd.config import Paths  # noqa: PLC0415 - see above

    return Paths.from_environ(os.environ)


def connect_if_any(paths: Paths) -> Connection | None:
    """Return a connection to the running daemon, wherever it listens, or None."""
    connection = connect_if_running(paths.socket)
    if connection is not None:
        return connection
    from sploot.daemon_process import connect_to_lock_holder  # noqa: PLC0415 - see above

    return connect_to_lock_holder(paths)


def connect_or_start(paths: Paths) -> Connection:
    """Return a connection to the daemon, starting it if necessary; NoDaemonError or ConfigError if it cannot start."""
    connection = connect_if_any(paths)
    if connection is not None:
        return connection
    from sploot.daemon_process import start, wait_for_lock_release  # noqa: PLC0415 - see above

    for _ in range(ATTEMPTS_MAX):
        is_started = start(paths)
        connection = connect_if_any(paths)
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
