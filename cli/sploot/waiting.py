"""`sploot add --wait`: the progress of what was queued, until all of it has ended."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing

from sploot import exits
from sploot.client import Client
from sploot.connection import LostError, NoDaemonError
from sploot.progress import Meter, Screen, ending
from sploot.reach import client
from sploot.start import comes_back, owner
from sploot.terminal import complain, print_json, style
from sploot.text import safe
from splootd.config import Paths
from splootd.errors import RequestError
from splootd.protocol import GetProgress, GetStatus, Progress, Status
from splootd.wire import decode, encode

REDRAW_S = 0.25
STALLED_S = 3.0  # without any progress, before the daemon is asked what is the matter


def wait(asking: Client, add: int, *, timeout_s: float | None, as_json: bool) -> int:
    """Show the progress of `add` until it has ended; the exit code."""
    ends_at = time.monotonic() + timeout_s if timeout_s is not None else float("inf")
    try:
        with Screen(style(sys.stderr), is_quiet=as_json) as screen:
            last = _watch(asking, add, ends_at, screen)
    except KeyboardInterrupt:
        complain("Interrupted. The daemon goes on with what is queued: sploot status")
        return exits.INTERRUPTED
    if last is None or not last.ended:
        complain("The time is up. The daemon goes on with what is queued: sploot status")
        return exits.TIMEOUT
    if as_json:
        print_json(encode(last))
    else:
        print("\n".join(ending(last)))
    return exits.NOT_FOUND if last.states.get("dead") or last.states.get("gone") else exits.DONE


def _watch(asking: Client, add: int, ends_at: float, screen: Screen) -> Progress | None:
    """Draw how far it has come; the last that was seen of it, when it has ended or the time is up."""
    meter, note, last = Meter(), "", None
    for snapshot in _snapshots(add, ends_at):
        if snapshot is not None:
            last = snapshot
            meter.note(last, time.monotonic())
            note = _stalled(asking, meter)
        if last is not None:
            screen.draw(meter, note)
            if last.ended:
                break
    return last


def _snapshots(add: int, ends_at: float) -> Iterator[Progress | None]:
    """How far it has come, again and again, None whenever it is time to draw without anything new.

    It goes on until `ends_at`, over the death or a restart of the daemon too, but not when the user has stopped it.
    """
    paths = Paths.find(os.environ)
    while time.monotonic() < ends_at:
        try:
            with closing(client()) as following:
                pid = owner(paths) or ""
                for entry in following.follow(GetProgress(add, follow=True), _until(ends_at)):
                    yield decode(Progress, entry[1]) if entry is not None else None
                    if time.monotonic() >= ends_at:
                        return
        except LostError:
            continue
        if not comes_back(paths, pid):
            sentence = "the daemon was stopped; what is queued waits until it runs again"
            raise NoDaemonError(sentence, "sploot daemon start")


def _until(ends_at: float) -> Callable[[], float]:
    return lambda: min(REDRAW_S, ends_at - time.monotonic())


def _stalled(asking: Client, meter: Meter) -> str:
    """Why nothing moves, when nothing has moved for a while. RequestError when only the user can change that."""
    if meter.still_s(time.monotonic()) < STALLED_S:
        return ""
    now = asking.ask(GetStatus(), Status)
    if now.server.state == "signed_out":
        why = safe(now.server.detail or "the server does not know who you are")
        raise RequestError("signed_out", f"{why}; what is queued waits", "sploot login")
    if now.daemon.state == "paused":
        return "sending is paused: sploot resume"
    if now.server.state != "ok":
        return safe(now.server.detail or f"the server is {now.server.state.replace('_', ' ')}")
    return ""
