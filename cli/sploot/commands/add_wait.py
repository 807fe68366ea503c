"""`sploot add --wait`: show the progress of an import until all of its files are finished."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing

from sploot import exit_codes
from sploot.connection import ConnectionLostError, NoDaemonError
from sploot.daemon_connect import open_client, open_client_of_running
from sploot.daemon_process import wait_for_restart
from sploot.formatting import escape_unprintable, format_duration
from sploot.lock_holder import get_running_pid
from sploot.progress import Meter, ProgressDisplay, render_summary
from sploot.terminal import get_style, print_json, print_stderr
from splootd.codec import decode, encode
from splootd.config import Paths
from splootd.errors import RequestError
from splootd.protocol import GetProgress, GetStatus, Progress, Status

PROGRESS_REDRAW_S = 0.25
STALL_AFTER_S = 3.0  # without progress, before the status is queried for the cause
RECONNECT_DELAY_S = 0.2


def wait_for_import(import_id: int, *, timeout_s: float | None, as_json: bool) -> int:
    """Show the progress of the import until it has ended; return the exit code."""
    deadline = time.monotonic() + timeout_s if timeout_s is not None else float("inf")
    try:
        with ProgressDisplay(get_style(sys.stderr), is_quiet=as_json) as display:
            last = _show_progress(import_id, deadline, display)
    except KeyboardInterrupt:
        print_stderr("Interrupted. Uploading continues in the background; check with: sploot status")
        return exit_codes.INTERRUPTED
    if last is None or not last.ended:
        after = "" if timeout_s is None else f" after {format_duration(timeout_s)}"
        print_stderr(f"Timed out{after}. Uploading continues in the background; check with: sploot status")
        return exit_codes.TIMEOUT
    if as_json:
        print_json(encode(last))
    else:
        print("\n".join(render_summary(last)))
    is_incomplete = last.states.get("failed") or last.states.get("missing") or last.removed
    return exit_codes.NOT_FOUND if is_incomplete else exit_codes.DONE


def _show_progress(import_id: int, deadline: float, display: ProgressDisplay) -> Progress | None:
    """Draw the progress until the import has ended or the deadline is over; return the last snapshot."""
    meter, note, last = Meter(), "", None
    for snapshot in _stream_progress(import_id, deadline):
        if snapshot is not None:
            last = snapshot
            meter.add_sample(last, time.monotonic())
            note = _stall_message(meter)
        if last is not None:
            display.draw(meter, note)
            if last.ended:
                break
    return last


def _stream_progress(import_id: int, deadline: float) -> Iterator[Progress | None]:
    """Yield snapshots of the progress, and None whenever the display is due without a new one.

    The stream survives a crash and a restart of the daemon and ends at `deadline`. NoDaemonError if the user stops the
    daemon: only a crashed one is started again.
    """
    paths, connect = Paths.from_environ(os.environ), open_client_of_running
    while time.monotonic() < deadline:
        pid = get_running_pid(paths) or ""
        try:
            with closing(connect()) as events_client:
                pid = get_running_pid(paths) or ""
                for event in events_client.stream_events(
                    GetProgress(import_id, follow=True), _redraw_timeout(deadline)
                ):
                    yield decode(Progress, event[1]) if event is not None else None
                    if time.monotonic() >= deadline:
                        return
        except ConnectionLostError:
            if get_running_pid(paths) == pid:  # it may be about to stop: only its exit shows
                connect = open_client_of_running
                time.sleep(RECONNECT_DELAY_S)
                continue
        # The end of the stream does not show whether the daemon stops or restarts; only a new owner of the lock does.
        # Reconnecting right away would start a daemon that the user has just stopped.
        if not wait_for_restart(paths, pid):
            message = "the daemon was stopped; queued files wait until it runs again"
            raise NoDaemonError(message, "sploot daemon start")
        connect = open_client


def _redraw_timeout(deadline: float) -> Callable[[], float]:
    return lambda: min(PROGRESS_REDRAW_S, deadline - time.monotonic())


def _stall_message(meter: Meter) -> str:
    """Return why there has been no progress for a while. RequestError if only the user can change that."""
    if meter.stalled_s(time.monotonic()) < STALL_AFTER_S:
        return ""
    try:
        with closing(open_client_of_running()) as client:
            status = client.request(GetStatus(), Status)
    except ConnectionLostError:  # the stream ends too
        return ""
    if status.server.state == "signed_out":
        detail = escape_unprintable(status.server.detail or "you are signed out")
        raise RequestError("signed_out", f"{detail}; queued files wait", "sploot login")
    if status.daemon.state == "paused":
        return "paused; to resume: sploot resume"
    if status.server.state != "ok":
        return escape_unprintable(status.server.detail or f"the server is {status.server.state.replace('_', ' ')}")
    return ""
