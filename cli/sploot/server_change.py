"""Says what a changed server means: where files go, and which of SPLOOT_SERVER and the daemon is obeyed."""

from __future__ import annotations

import json
import os
import sys

from sploot.connection import Connection, ConnectionLostError, encode_message
from sploot.daemon_process import connect_to_lock_holder
from sploot.formatting import escape_unprintable, format_count
from sploot.terminal import print_stderr
from splootd.config import LOCAL, Config, Paths, name_token_source
from splootd.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def describe_server_mismatch(paths: Paths) -> str | None:
    """Return a sentence if SPLOOT_SERVER names another server than the running daemon uploads to."""
    wanted = os.environ.get("SPLOOT_SERVER", "").strip()
    status = _get_status(paths) if wanted else None
    if status is None or status["server"]["url"].rstrip("/") == wanted.rstrip("/"):
        return None
    return f"SPLOOT_SERVER is {wanted}, but the running daemon uploads to {status['server']['url']}"


def confirm_server_change(paths: Paths, server: str) -> bool:
    """Say what will be uploaded to `server` instead of the current one; on a terminal, return the user's decision."""
    try:
        config = Config.load(paths.config_file, os.environ)
    except ConfigError:
        return True  # the current setting is invalid, so nothing has been uploaded with it
    if server == config.server or not paths.database.exists():
        return True
    status = _get_status(paths)
    if status is not None and not status["folders"]:
        return True
    print_stderr(escape_unprintable(_describe_change(config, status, server)))
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    print("Continue? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _describe_change(config: Config, status: dict[str, Any] | None, server: str) -> str:
    if status is None:
        watched = "the watched folders, if there are any,"
    else:
        names = ", ".join(folder["path"] for folder in status["folders"])
        watched = f"{format_count(len(status['folders']), 'watched folder')} ({names})"
    token = ""
    if config.configured_token and server != LOCAL:
        source = name_token_source(config.token)
        token = f" {source} is sent only to the server that accepted it first; to sign in elsewhere: sploot login."
    waiting = status["items"]["pending"] if status else 0
    left = f" {format_count(waiting, 'file')} waiting for {config.server} stay in its queue." if waiting else ""
    return f"All files of {watched} will be uploaded to {server}.{token}{left}"


def _get_status(paths: Paths) -> dict[str, Any] | None:
    """Return the status of the daemon, or None if it is not running: this never starts it."""
    connection: Connection | None = connect_to_lock_holder(paths)
    if connection is None:
        return None
    try:
        head = connection.send_message(encode_message("GET", "/v1/status", b"", ""))
        return dict(json.loads(connection.read_body(head))) if head.status == 200 else None
    except ConnectionLostError:
        return None
    finally:
        connection.close()
