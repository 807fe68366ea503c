"""`sploot status --follow`: redraw the status on every change."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import closing

from sploot import render
from sploot.client import Client
from sploot.connection import ConnectionLostError, NoDaemonError
from sploot.daemon_connect import open_client
from sploot.daemon_process import wait_for_restart
from sploot.lock_holder import get_running_pid
from sploot.terminal import get_columns, get_style, print_json, supports_ansi
from splootd.codec import encode
from splootd.config import Paths
from splootd.protocol import GetEvents, GetStatus, Status

STATUS_REDRAW_S = 0.1  # fast enough to look immediate, slow enough to stay readable
_CLEAR = "\x1b[H\x1b[J"


def follow_status(*, as_json: bool) -> int:
    """Print the status after every event, at most once in STATUS_REDRAW_S, until interrupted."""
    client, paths = open_client(), Paths.from_environ(os.environ)
    while True:
        try:
            pid = _follow_daemon(client, paths, lambda status: _print_status(status, as_json=as_json))
        except ConnectionLostError:
            continue  # the daemon died; reconnecting starts the next one
        if not wait_for_restart(paths, pid):
            raise NoDaemonError("the daemon was stopped", "sploot daemon start")


def _follow_daemon(client: Client, paths: Paths, draw: Callable[[Status], None]) -> str:
    """Draw until the daemon ends the event stream; return its process id."""
    with closing(open_client()) as events_client:
        pid = get_running_pid(paths) or ""
        # Subscribe before the first read: a change between the two is then at least an event.
        events = events_client.stream_events(GetEvents(), lambda: STATUS_REDRAW_S)
        draw(client.request(GetStatus(), Status))
        drawn_at, is_due = time.monotonic(), False
        for event in events:
            is_due = is_due or event is not None
            if is_due and time.monotonic() - drawn_at >= STATUS_REDRAW_S:
                draw(client.request(GetStatus(), Status))
                drawn_at, is_due = time.monotonic(), False
    return pid


def _print_status(status: Status, *, as_json: bool) -> None:
    if supports_ansi(sys.stdout) and not as_json:
        print(_CLEAR, end="")
    if as_json:
        print_json(encode(status))
    else:
        print("\n".join(render.render_status(status, get_style(), get_columns())))
    sys.stdout.flush()
