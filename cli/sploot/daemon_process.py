"""Starts and stops the daemon process, and waits for both."""

import fcntl
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from sploot.connection import Connection, ConnectionLostError, NoDaemonError, connect_if_running, encode_message
from sploot.lock_holder import get_running_pid, read_lock_holder
from splootd import __version__
from splootd.config import Paths
from splootd.errors import ConfigError

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 60.0
POLL_INTERVAL_S = 0.02
RESTART_TIMEOUT_S = 10.0  # between the exit of a daemon and the start of the next one
OUTPUT_BYTES_MAX = 65_536
DAEMON_EXIT_CONFIG_ERROR = 78
DAEMON_EXIT_ALREADY_RUNNING = 75


def start(paths: Paths) -> bool:
    """Start the daemon, as a service if one is installed. Return False if another daemon is already running."""
    import subprocess  # noqa: PLC0415 - slow to import, and the daemon is usually running

    from sploot.service import backend  # noqa: PLC0415 - as above

    if backend.ensure_listening(os.environ):
        return True
    try:
        paths.create()
        with _output_file(paths).open("ab") as output:
            ready, child_end = os.pipe()
            try:
                daemon = subprocess.Popen(  # noqa: S603 - our own program
                    [sys.executable, "-P", "-m", "splootd", "--ready-fd", str(child_end)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=(child_end,),
                    start_new_session=True,  # Ctrl+C in the terminal must not reach the daemon
                    cwd="/",
                )
            finally:
                # While this process holds the write end, the read below would not end when the daemon dies.
                os.close(child_end)
    except OSError as error:
        path = error.filename or paths.state
        raise NoDaemonError(f"the daemon could not be started: {path}: {error.strerror}") from error
    report = _read_start_report(ready)
    if report is None or report.startswith("ready"):
        daemon.returncode = 0  # the daemon outlives this process; without it Popen warns that it was not waited for
    if report is None:
        raise NoDaemonError(f"the daemon was not ready within {START_TIMEOUT_S:.0f} s", f"see its log: {paths.log}")
    return report.startswith("ready") or _handle_failed_start(paths, daemon.wait(START_TIMEOUT_S), report)


def _read_start_report(pipe: int) -> str | None:
    """Return the daemon's report: `ready`, an error, an empty text if it exited without one, None after the timeout."""
    with os.fdopen(pipe, "rb", buffering=0) as stream:
        if select.select([stream], [], [], START_TIMEOUT_S)[0]:
            return stream.read(OUTPUT_BYTES_MAX).decode("utf-8", "replace")
    return None


def _handle_failed_start(paths: Paths, code: int, report: str) -> bool:
    """Return False if another daemon is already running; otherwise raise the error in the report or the output."""
    if code == DAEMON_EXIT_ALREADY_RUNNING:
        return False
    message = report.removeprefix("error:").strip() or _last_output_line(paths) or f"it exited with code {code}"
    if code == DAEMON_EXIT_CONFIG_ERROR:
        raise ConfigError(message, "to list all settings: sploot config list")
    raise NoDaemonError(
        f"the daemon could not be started: {message}",
        f"see its log {paths.log} and its output {_output_file(paths)}",
    )


def _output_file(paths: Paths) -> Path:
    """Return the file for what the daemon prints before its log is open."""
    return paths.log.with_suffix(".out")


def _last_output_line(paths: Paths) -> str:
    try:
        output = _output_file(paths).read_bytes()[-OUTPUT_BYTES_MAX:].decode("utf-8", "replace")
    except OSError:
        return ""
    return output.strip().rpartition("\n")[2]


def wait_for_lock_release(paths: Paths, timeout_s: float = STOP_TIMEOUT_S) -> None:
    """Wait until no daemon holds the lock; NoDaemonError after `timeout_s`."""
    try:
        with paths.lock.open("a") as lock, _timeout_after(timeout_s):
            fcntl.flock(lock, fcntl.LOCK_SH)
    except TimeoutError:
        raise NoDaemonError(
            f"a daemon holds {paths.lock} but neither responds nor exits", f"see its log: {paths.log}"
        ) from None


@contextmanager
def _timeout_after(timeout_s: float) -> Iterator[None]:
    """Raise TimeoutError after `timeout_s`. flock() has no timeout of its own, so SIGALRM interrupts it."""

    def raise_timeout(_signal: int, _frame: Any) -> NoReturn:
        raise TimeoutError

    previous_handler = signal.signal(signal.SIGALRM, raise_timeout)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous_handler)


def exec_daemon() -> NoReturn:
    """Replace this process by the daemon, in the foreground."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "splootd"])  # noqa: S606 - our own program


def connect_to_lock_holder(paths: Paths) -> Connection | None:
    """Return a connection to the daemon that holds the lock, or None without one.

    It may listen elsewhere than this environment says: without XDG_RUNTIME_DIR, as in a cron job, the path differs.
    """
    holder = read_lock_holder(paths)
    return connect_if_running(holder[1]) if holder is not None and holder[1] else None


def stop(paths: Paths) -> bool:
    """Shut the daemon down and wait until it has exited. Return False if it was not running."""
    pid = get_running_pid(paths)
    if pid is None:
        return False
    connection = connect_to_lock_holder(paths)
    if connection is not None:
        try:
            connection.read_body(
                connection.send_message(encode_message("POST", "/v1/shutdown", b"{}", os.urandom(16).hex()))
            )
        except ConnectionLostError:
            pass  # the daemon exited before it could reply
        finally:
            connection.close()
    _wait_for_exit(paths, pid)
    return True


def _wait_for_exit(paths: Paths, pid: str) -> None:
    """Wait until the daemon `pid` has exited. A service manager may have started the next one by then."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while get_running_pid(paths) in (pid, ""):
        if time.monotonic() > deadline:
            raise NoDaemonError(f"the daemon (process {pid}) does not exit", f"see its log: {paths.log}")
        time.sleep(POLL_INTERVAL_S)


def wait_for_restart(paths: Paths, pid: str) -> bool:
    """Wait until the daemon has exited. Return False if it was stopped and no other one starts.

    After a crash the caller may start it again.
    """
    _wait_for_exit(paths, pid)
    deadline = time.monotonic() + RESTART_TIMEOUT_S
    while get_running_pid(paths) is None and _was_stopped(paths):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_INTERVAL_S)
    return True


def _was_stopped(paths: Paths) -> bool:
    """Return whether the last daemon ended in order: only then it has emptied the lock file."""
    return not paths.lock.read_bytes()


def replace_older_daemon(paths: Paths, version: str) -> bool:
    """Stop the daemon of an older `version`. Return False if the service would start the older version again."""
    from sploot.service import backend  # noqa: PLC0415 - as above

    if not backend.upgrade_files(os.environ):
        return False
    print(f"note: replacing the daemon of version {version} with version {__version__}", file=sys.stderr)
    stop(paths)
    return True
