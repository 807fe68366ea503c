"""Block until an inotify descriptor has events.

watchfiles polls its event queue every few milliseconds, even when idle, and does not expose its descriptor. Linux can
send SIGIO when a descriptor becomes readable (O_ASYNC, see fcntl(2)), so a thread can block until then instead.
"""

import contextlib
import fcntl
import os
import select
import signal
import sys
import threading
from types import FrameType

WAIT_TIMEOUT_MS = 600_000  # the longest delay that a lost signal can cause

_wake_fds: set[int] = set()
"""Event descriptors of blocked waiters. Python hides which descriptor caused SIGIO, so the handler writes to all.

A signal handler interrupts the main thread anywhere, so it must not take a lock that this thread may hold.
"""


class InotifyWaiter:
    """Blocks until the inotify descriptor has events or `wake` is called.

    Call `wake` and `close` in the main thread only, where signal handlers run: `close` then cannot free a descriptor
    number that a handler is about to write to.
    """

    def __init__(self, inotify_fd: int) -> None:
        self._inotify_fd = inotify_fd
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_closed = False
        self._poll = select.poll()
        self._poll.register(self._wake_fd, select.POLLIN)

    def arm(self) -> None:
        """Let every later event end the next `wait`. The caller polls once more for earlier ones before it waits."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake_fd)
        _wake_fds.add(self._wake_fd)
        fcntl.fcntl(self._inotify_fd, fcntl.F_SETOWN, os.getpid())
        self._set_async(os.O_ASYNC)

    def disarm(self) -> None:
        """Stop receiving signals for the descriptor."""
        self._set_async(0)
        _wake_fds.discard(self._wake_fd)

    def wait(self) -> None:
        """Block until an event, `wake` or the timeout."""
        self._poll.poll(WAIT_TIMEOUT_MS)

    def wake(self) -> None:
        """End a running `wait`."""
        if not self._is_closed:
            os.eventfd_write(self._wake_fd, 1)

    def close(self) -> None:
        """Release the event descriptor. No thread may be waiting."""
        self._is_closed = True
        os.close(self._wake_fd)

    def _set_async(self, flag: int) -> None:
        flags = fcntl.fcntl(self._inotify_fd, fcntl.F_GETFL) & ~os.O_ASYNC
        fcntl.fcntl(self._inotify_fd, fcntl.F_SETFL, flags | flag)


def install_sigio_handler() -> bool:
    """Install the SIGIO handler; return whether it is installed.

    It is never removed: the default action of SIGIO terminates the process, and one signal may still be pending.
    """
    if sys.platform != "linux":
        return False
    if signal.getsignal(signal.SIGIO) is _on_sigio:
        return True
    if (
        signal.getsignal(signal.SIGIO) is not signal.SIG_DFL
        or threading.current_thread() is not threading.main_thread()
    ):
        return False
    signal.signal(signal.SIGIO, _on_sigio)
    return True


def _on_sigio(_signal: int, _frame: FrameType | None) -> None:
    for wake_fd in tuple(_wake_fds):
        with contextlib.suppress(OSError):  # EAGAIN: the counter is full, so the waiter wakes up anyway
            os.eventfd_write(wake_fd, 1)
