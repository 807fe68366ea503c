"""Sleeping until something happens in watched folders.

watchfiles looks at what the kernel has told it every few milliseconds, however quiet it is. Linux also sends a signal
when an inotify descriptor has something to read: whoever looks after such a descriptor can sleep until then.
"""

import contextlib
import fcntl
import os
import select
import signal
import sys
import threading
from types import FrameType

NAP_MS = 600_000  # looked at all the same after so long: a signal that was lost costs no more than this

_sleepers: set[int] = set()
"""Descriptors that wake somebody. A handler of signals may take no lock, so each is written to."""


class Sleeper:
    """Sleeps until there are news on the inotify descriptor `handle`, or `wake` is called.

    `wake` and `close` belong to the thread that gets signals: so nothing is closed that a signal is about to write to.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_closed = False
        self._ready = select.poll()
        self._ready.register(self._event, select.POLLIN)

    def arm(self) -> None:
        """From now on, whatever comes ends the next `sleep`. What came before has to be looked for once more."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._event)
        _sleepers.add(self._event)
        fcntl.fcntl(self._handle, fcntl.F_SETOWN, os.getpid())
        self._set_async(os.O_ASYNC)

    def disarm(self) -> None:
        self._set_async(0)
        _sleepers.discard(self._event)

    def sleep(self) -> None:
        self._ready.poll(NAP_MS)

    def wake(self) -> None:
        if not self._is_closed:
            os.eventfd_write(self._event, 1)

    def close(self) -> None:
        """Nobody sleeps here any more."""
        self._is_closed = True
        os.close(self._event)

    def _set_async(self, flag: int) -> None:
        flags = fcntl.fcntl(self._handle, fcntl.F_GETFL) & ~os.O_ASYNC
        fcntl.fcntl(self._handle, fcntl.F_SETFL, flags | flag)


def is_listening() -> bool:
    """Whether that signal comes to us. Once it does it does for ever: unexpected, it would end the process."""
    if sys.platform != "linux":
        return False
    if signal.getsignal(signal.SIGIO) is _stirred:
        return True
    if (
        signal.getsignal(signal.SIGIO) is not signal.SIG_DFL
        or threading.current_thread() is not threading.main_thread()
    ):
        return False
    signal.signal(signal.SIGIO, _stirred)
    return True


def _stirred(_signal: int, _frame: FrameType | None) -> None:
    for event in tuple(_sleepers):
        with contextlib.suppress(OSError):  # it wakes up by itself just now
            os.eventfd_write(event, 1)
