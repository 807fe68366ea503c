"""Starting the daemon, and waiting for its start and its end."""

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

from sploot.connection import LostError, NoDaemonError, message, running
from splootd import __version__
from splootd.config import Paths
from splootd.errors import ConfigError

READY_S = 15.0
STOP_S = 60.0
LOOK_S = 0.02  # between looks at whether it has ended
BACK_S = 10.0  # between the end of a daemon that is restarted and the start of the next one
PID_CHARS_MAX = 20
WORDS_BYTES_MAX = 65_536
DAEMON_IS_CONFIGURED_WRONGLY = 78
DAEMON_RUNS_ALREADY = 75


def start(paths: Paths) -> bool:
    """Have the installed service listen, or start the daemon and wait for it. False when another one runs already."""
    import subprocess  # noqa: PLC0415 - most commands that import this find the daemon running

    from sploot import login  # noqa: PLC0415 - as above

    if login.listens(os.environ):
        return True
    try:
        paths.make()
        with _words_file(paths).open("ab") as words:
            ready, child_end = os.pipe()
            try:
                daemon = subprocess.Popen(  # noqa: S603 - our own program
                    [sys.executable, "-P", "-m", "splootd", "--ready-fd", str(child_end)],
                    stdin=subprocess.DEVNULL,
                    stdout=words,
                    stderr=words,
                    pass_fds=(child_end,),
                    start_new_session=True,
                    cwd="/",
                )
            finally:
                os.close(child_end)
    except OSError as error:
        where = error.filename or paths.state
        raise NoDaemonError(f"the daemon cannot be started: {where}: {error.strerror}") from error
    said = _first_words(ready)
    if said is None or said.startswith("ready"):
        daemon.returncode = 0  # it lives on by itself: nobody here waits for its end
    if said is None:
        raise NoDaemonError(f"the daemon was not ready within {READY_S:.0f} s", f"its log is {paths.log}")
    return said.startswith("ready") or _failed(paths, daemon.wait(READY_S), said)


def _first_words(pipe: int) -> str | None:
    """What the daemon says about its start: `ready`, an error, nothing when it just ended, None when time ran out."""
    with os.fdopen(pipe, "rb", buffering=0) as stream:
        if select.select([stream], [], [], READY_S)[0]:
            return stream.read(WORDS_BYTES_MAX).decode("utf-8", "replace")
    return None


def _failed(paths: Paths, code: int, said: str) -> bool:
    """False when another daemon runs already; else the error that `said` or the last words of the output tell."""
    if code == DAEMON_RUNS_ALREADY:
        return False
    sentence = said.removeprefix("error:").strip() or _last_words(paths) or f"it ended with exit code {code}"
    if code == DAEMON_IS_CONFIGURED_WRONGLY:
        raise ConfigError(sentence, "to see all of it: sploot config list")
    raise NoDaemonError(
        f"the daemon could not be started: {sentence}",
        f"its log is {paths.log}, its last words are in {_words_file(paths)}",
    )


def _words_file(paths: Paths) -> Path:
    """Where the daemon's own output goes before its log is open."""
    return paths.log.with_suffix(".out")


def _last_words(paths: Paths) -> str:
    try:
        said = _words_file(paths).read_bytes()[-WORDS_BYTES_MAX:].decode("utf-8", "replace")
    except OSError:
        return ""
    return said.strip().rpartition("\n")[2]


def wait_until_free(paths: Paths, limit_s: float = STOP_S) -> None:
    """Wait until no daemon holds the lock; NoDaemonError when `limit_s` runs out first."""
    try:
        with paths.lock.open("a") as lock, _alarm(limit_s):
            fcntl.flock(lock, fcntl.LOCK_SH)
    except TimeoutError:
        raise NoDaemonError(
            f"a daemon holds {paths.lock}, but it neither answers nor ends", f"its log is {paths.log}"
        ) from None


@contextmanager
def _alarm(limit_s: float) -> Iterator[None]:
    """TimeoutError after `limit_s`: waiting for a lock knows no limit of its own."""

    def ring(_signal: int, _frame: Any) -> NoReturn:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def become_daemon() -> NoReturn:
    """Go on as the daemon, in the foreground."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "splootd"])  # noqa: S606 - our own program


def owner(paths: Paths) -> str | None:
    """The process id of the daemon that runs, empty for a moment while it starts; None when there is none.

    Only the lock tells: a service manager may listen on the socket for a daemon that is not there.
    """
    try:
        with paths.lock.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return lock.read(PID_CHARS_MAX).strip()
    except OSError:
        pass
    return None


def stop(paths: Paths) -> bool:
    """Tell the daemon to finish and end, and wait until it has. False when there is none."""
    pid = owner(paths)
    if pid is None:
        return False
    connection = running(paths.socket)
    if connection is not None:
        try:
            connection.body(connection.exchange(message("POST", "/v1/shutdown", b"{}", os.urandom(16).hex())))
        except LostError:
            pass  # it ended before it could answer
        finally:
            connection.close()
    _wait_for_end(paths, pid)
    return True


def _wait_for_end(paths: Paths, pid: str) -> None:
    """Wait until the daemon `pid` is gone, whether or not a service manager has started the next one meanwhile."""
    ends_at = time.monotonic() + STOP_S
    while owner(paths) in (pid, ""):
        if time.monotonic() > ends_at:
            raise NoDaemonError(f"the daemon, process {pid}, does not end", f"its log is {paths.log}")
        time.sleep(LOOK_S)


def comes_back(paths: Paths, pid: str) -> bool:
    """Whether another daemon takes over from `pid`, which says that it ends: it was restarted, not stopped."""
    _wait_for_end(paths, pid)
    ends_at = time.monotonic() + BACK_S
    while owner(paths) is None:
        if time.monotonic() > ends_at:
            return False
        time.sleep(LOOK_S)
    return True


def replace(paths: Paths, version: str) -> bool:
    """Have the daemon of an older `version` end, so that this one's begins. False when that one would come again."""
    from sploot import login  # noqa: PLC0415 - as above

    if not login.refreshed(os.environ):
        return False
    print(f"note: the daemon is version {version}; it ends, and {__version__} takes over", file=sys.stderr)
    stop(paths)
    return True
