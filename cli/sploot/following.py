"""`sploot status --follow`: the status again and again."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import closing

from sploot import render
from sploot.client import Client
from sploot.connection import LostError, NoDaemonError
from sploot.reach import client
from sploot.start import comes_back, owner
from sploot.terminal import obeys, print_json, style
from splootd.config import Paths
from splootd.protocol import GetEvents, GetStatus, Status
from splootd.wire import encode

REDRAW_S = 0.1  # soon enough to seem at once, seldom enough to be read
_CLEAR = "\x1b[H\x1b[J"


def follow(*, as_json: bool) -> int:
    """Show the status again whenever there is news, at most once in REDRAW_S, until interrupted."""
    asking, paths = client(), Paths.find(os.environ)
    while True:
        try:
            pid = _follow(asking, paths, lambda now: _redraw(now, as_json=as_json))
        except LostError:
            continue  # it died; the next daemon has news too
        if not comes_back(paths, pid):
            raise NoDaemonError("the daemon was stopped", "sploot daemon start")


def _follow(asking: Client, paths: Paths, draw: Callable[[Status], None]) -> str:
    """Draw until the daemon says that it ends; the process that it is."""
    with closing(client()) as following:
        pid = owner(paths) or ""
        news = following.follow(GetEvents(), lambda: REDRAW_S)
        draw(asking.ask(GetStatus(), Status))
        drawn_at, is_due = time.monotonic(), False
        for entry in news:
            is_due = is_due or entry is not None
            if is_due and time.monotonic() - drawn_at >= REDRAW_S:
                draw(asking.ask(GetStatus(), Status))
                drawn_at, is_due = time.monotonic(), False
    return pid


def _redraw(now: Status, *, as_json: bool) -> None:
    if obeys(sys.stdout) and not as_json:
        print(_CLEAR, end="")
    if as_json:
        print_json(encode(now))
    else:
        print("\n".join(render.status(now, style())))
    sys.stdout.flush()
