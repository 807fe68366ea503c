"""Interface to the service manager: inherited sockets, readiness notification, watchdog heartbeat.

systemd: sd_listen_fds(3), sd_notify(3) and sd_watchdog_enabled(3). launchd: launch_activate_socket(3), written from its
documentation and never run. Without a service manager there are no sockets, and notifications do nothing.
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
from splootd.codec import encode
from splootd.errors import ConfigError, SplootError
from splootd.protocol import Problem

FIRST_FD = 3
LAUNCHD_NAME = b"control"  # the socket's name in the property list
HEARTBEATS_PER_TIMEOUT = 3  # one may be late and another one lost
REPLY_TIMEOUT_S = 2.0  # for a waiting client to send its request and to read the error
READ_BYTES = 65_536


class ServiceManager:
    """The service manager that started this process, if one did."""

    def __init__(
        self, *, sockets: tuple[socket.socket, ...] = (), address: str = "", watchdog_s: float | None = None
    ) -> None:
        self._sockets = sockets
        self._address = address
        self.watchdog_s = watchdog_s

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str]) -> "ServiceManager":
        """Read the service manager's variables and remove them from `environ`.

        Child processes must not inherit them: a child could use NOTIFY_SOCKET to report its own state as the daemon's.
        LISTEN_PID and WATCHDOG_PID name the intended process; variables for another process are ignored.
        """
        names = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
        variables = {name: environ.pop(name, "") for name in names}
        me = str(os.getpid())
        count = int(variables["LISTEN_FDS"] or 0) if variables["LISTEN_PID"] == me else 0
        is_watched = bool(variables["WATCHDOG_USEC"]) and variables["WATCHDOG_PID"] in ("", me)
        return cls(
            sockets=_adopt_sockets(range(FIRST_FD, FIRST_FD + count)) or _adopt_sockets(_launchd_descriptors()),
            address=variables["NOTIFY_SOCKET"],
            watchdog_s=int(variables["WATCHDOG_USEC"]) / 1_000_000 if is_watched else None,
        )

    def listening_socket(self, path: Path) -> socket.socket | None:
        """Return a duplicate of the inherited socket bound to `path`, or None if there is no service manager.

        The caller closes it but must not unlink `path`: the manager keeps listening there. Raise ConfigError if the
        inherited sockets are bound to other paths.
        """
        for each in self._sockets:
            if os.fsdecode(each.getsockname()) == os.fspath(path):
                return each.dup()
        if self._sockets:
            others = ", ".join(os.fsdecode(each.getsockname()) for each in self._sockets)
            raise ConfigError(
                f"the service manager listens on {others}, but the daemon's socket is {path}", "sploot service install"
            )
        return None

    def notify(self, *lines: str) -> None:
        """Send `lines` to the service manager, as in sd_notify(3). Ignore errors: it may have exited."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto("\n".join(lines).encode(), address)

    def reply_error(self, error: SplootError) -> None:
        """Send the error to all clients that wait on the inherited sockets.

        The sockets belong to the service manager and survive this process. A connection left in their backlog would
        make the manager start the daemon again, which fails again, until its start limit is reached.
        """
        code = "configuration" if isinstance(error, ConfigError) else "not_started"
        response = _error_response(Problem(code, error.title, 503, error.hint))
        for listener in self._sockets:
            with suppress(OSError):
                listener.setblocking(False)
                while True:
                    _send_response(listener.accept()[0], response)


class Heartbeat:
    """Sends watchdog heartbeats while the event loop runs and `health_check`, a database query, returns."""

    def __init__(self, service_manager: ServiceManager, health_check: Callable[[], Awaitable[object]]) -> None:
        self._service_manager = service_manager
        self._health_check = health_check

    async def run(self) -> None:
        """Send heartbeats until cancelled, if the watchdog is enabled.

        `health_check` has no timeout: if it hangs, the heartbeats stop and the watchdog restarts the daemon.
        """
        while self._service_manager.watchdog_s is not None:
            await self.run_once()
            await asyncio.sleep(self._service_manager.watchdog_s / HEARTBEATS_PER_TIMEOUT)

    async def run_once(self) -> None:
        """Run the health check and send one heartbeat."""
        with suppress(SplootError):  # an error such as a full disk still shows that the database responds
            await self._health_check()
        self._service_manager.notify("WATCHDOG=1")


def _adopt_sockets(descriptors: Iterable[int]) -> tuple[socket.socket, ...]:
    """Return the Unix sockets among `descriptors`, made non-inheritable and non-blocking."""
    adopted = []
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            adopted.append(socket.socket(fileno=descriptor))
    for each in adopted:
        each.setblocking(False)
    return tuple(each for each in adopted if each.family == socket.AF_UNIX)


def _launchd_descriptors() -> list[int]:
    """Return the descriptors from launchd; empty on other systems and if launchd has none."""
    if sys.platform != "darwin":
        return []
    system = ctypes.CDLL(None)
    inherited, count = ctypes.POINTER(ctypes.c_int)(), ctypes.c_size_t()
    if system.launch_activate_socket(LAUNCHD_NAME, ctypes.byref(inherited), ctypes.byref(count)) != 0:
        return []
    descriptors = [inherited[at] for at in range(count.value)]
    system.free(inherited)
    return descriptors


def _error_response(problem: Problem) -> bytes:
    body = json.dumps(encode(problem)).encode("ascii")
    head = (
        f"HTTP/1.1 {problem.status} Service Unavailable\r\nSploot-Version: {__version__}\r\nSploot-Api: {API}\r\n"
        f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


def _send_response(connection: socket.socket, response: bytes) -> None:
    """Send the response, then read the rest of the request.

    Closing a socket with unread input resets the connection, and the client may lose the response (RFC 9112, 9.6).
    """
    with connection, suppress(OSError):
        connection.settimeout(REPLY_TIMEOUT_S)
        connection.sendall(response)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(READ_BYTES):
            pass
