"""What a service manager hands to the daemon, and what it hears from it: a socket, readiness, a heartbeat.

systemd: sd_listen_fds(3), sd_notify(3) and sd_watchdog_enabled(3). launchd: launch_activate_socket(3), written from its
documentation and never run. Without a manager nothing is handed over, and nobody is told.
"""

import asyncio
import ctypes
import json
import os
import socket
import stat
import sys
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from pathlib import Path

from splootd import API, __version__
from splootd.errors import ConfigError, SplootError
from splootd.protocol import Problem
from splootd.wire import encode

FIRST_FD = 3
LAUNCHD_NAME = b"control"  # the name of the socket in the agent's property list
BEATS_A_TERM = 3  # one beat may be late, and another lost
EXCUSE_S = 2.0  # the time that one who waits has to say what it wants, and to hear why not
PIECE_BYTES = 65_536


class Supervisor:
    """The service manager that started this process, if one did."""

    def __init__(
        self, *, sockets: tuple[socket.socket, ...] = (), address: str = "", watchdog_s: float | None = None
    ) -> None:
        self._sockets = sockets
        self._address = address
        self.watchdog_s = watchdog_s

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> "Supervisor":
        """Whoever speaks through `environ`. Its variables are taken out: they are not for the programs started here."""
        names = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
        said = {name: environ.pop(name, "") for name in names}
        me = str(os.getpid())
        count = int(said["LISTEN_FDS"] or 0) if said["LISTEN_PID"] == me else 0
        is_watched = bool(said["WATCHDOG_USEC"]) and said["WATCHDOG_PID"] in ("", me)
        return cls(
            sockets=_adopted(range(FIRST_FD, FIRST_FD + count)) or _adopted(_from_launchd()),
            address=said["NOTIFY_SOCKET"],
            watchdog_s=int(said["WATCHDOG_USEC"]) / 1_000_000 if is_watched else None,
        )

    def listener(self, path: Path) -> socket.socket | None:
        """The socket that was handed over for `path`, the caller's to close but nobody's to unlink. None without."""
        for each in self._sockets:
            if os.fsdecode(each.getsockname()) == os.fspath(path):
                return each.dup()
        if self._sockets:
            others = ", ".join(os.fsdecode(each.getsockname()) for each in self._sockets)
            raise ConfigError(
                f"the service manager listens on {others}, but the daemon's socket is {path}", "sploot service install"
            )
        return None

    def say(self, *lines: str) -> None:
        """Tell the manager `lines` as in sd_notify(3). It may have left; that is no reason to stop."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaker:
            speaker.sendto("\n".join(lines).encode(), address)

    def excuse(self, error: SplootError) -> None:
        """Tell whoever waits at a socket that was handed over why no daemon will answer.

        Left waiting, they would have the manager start it for them again and again.
        """
        code = "configuration" if isinstance(error, ConfigError) else "not_started"
        answer = _refusal(Problem(code, error.title, 503, error.hint))
        for listener in self._sockets:
            with suppress(OSError):
                listener.setblocking(False)
                while True:
                    _answer(listener.accept()[0], answer)


class Heartbeat:
    """Tells the manager that the daemon is alive: the event loop runs, and `tick`, through the database, came back."""

    def __init__(self, supervisor: Supervisor, tick: Callable[[], Awaitable[object]]) -> None:
        self._supervisor = supervisor
        self._tick = tick

    async def run(self) -> None:
        """Beat for as long as this runs, if anybody listens. A `tick` that does not return is what ends the beat."""
        while self._supervisor.watchdog_s is not None:
            await self.run_once()
            await asyncio.sleep(self._supervisor.watchdog_s / BEATS_A_TERM)

    async def run_once(self) -> None:
        with suppress(SplootError):  # a full disk is trouble, but a daemon that says so is well
            await self._tick()
        self._supervisor.say("WATCHDOG=1")


def _adopted(descriptors: Iterable[int]) -> tuple[socket.socket, ...]:
    """The Unix sockets among `descriptors`, not to be inherited by anybody else."""
    adopted = []
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            adopted.append(socket.socket(fileno=descriptor))
    for each in adopted:
        each.setblocking(False)
    return tuple(each for each in adopted if each.family == socket.AF_UNIX)


def _from_launchd() -> list[int]:
    """The descriptors that launchd holds for this process; none where there is no launchd, or it holds none."""
    if sys.platform != "darwin":
        return []
    system = ctypes.CDLL(None)
    handed, count = ctypes.POINTER(ctypes.c_int)(), ctypes.c_size_t()
    if system.launch_activate_socket(LAUNCHD_NAME, ctypes.byref(handed), ctypes.byref(count)) != 0:
        return []
    descriptors = [handed[at] for at in range(count.value)]
    system.free(handed)
    return descriptors


def _refusal(problem: Problem) -> bytes:
    body = json.dumps(encode(problem)).encode("ascii")
    head = (
        f"HTTP/1.1 {problem.status} Service Unavailable\r\nSploot-Version: {__version__}\r\nSploot-Api: {API}\r\n"
        f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


def _answer(waiting: socket.socket, answer: bytes) -> None:
    """Say it, then hear the request out: closed before, the other end might find a broken line and no answer."""
    with waiting, suppress(OSError):
        waiting.settimeout(EXCUSE_S)
        waiting.sendall(answer)
        waiting.shutdown(socket.SHUT_WR)
        while waiting.recv(PIECE_BYTES):
            pass
