"""HTTP/1.1 with bounds: who may speak, how many at once, how much they may say, in how long."""

import asyncio
import contextlib
import json
import os
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from splootd import API, __version__
from splootd.protocol import Problem
from splootd.wire import encode

HEAD_BYTES_MAX = 65_536
ARRIVAL_S = 10.0  # the time a request may take to arrive, head and body
CONNECTIONS_MAX = 64
KEEP_ALIVE_S = 30
CLOSE_S = 2  # the time that answers under way have when the daemon ends
BACKLOG = 128
TCP_TABLE = Path("/proc/net/tcp")
TABLE_BYTES_MAX = 8_000_000  # some 50,000 connections
ESTABLISHED = b"01"
NOBODY = -1


def configured(app: ASGIApp, http: type["BoundedHttp"], *, boot: str) -> uvicorn.Config:
    """How `app` is served. Every answer says which daemon gives it, and `boot` which start of it."""
    return uvicorn.Config(
        app,
        http=http,
        ws="none",
        lifespan="off",
        interface="asgi3",
        headers=[("Sploot-Version", __version__), ("Sploot-Api", API), ("Sploot-Boot-Id", boot)],
        server_header=False,
        date_header=False,
        proxy_headers=False,
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=CLOSE_S,
        backlog=BACKLOG,
    )


class Server(uvicorn.Server):
    """uvicorn without its signal handlers, which are the daemon's own, and without its ten wake-ups a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self._ending.wait()

    def end(self) -> None:
        self.should_exit = True
        self._ending.set()

    def hang_up(self) -> None:
        """Close every connection, whatever is said on it."""
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.close()


def peer_uid(connection: Any) -> int:
    """The user at the other end of a Unix socket, as the kernel knows it."""
    if sys.platform == "darwin":
        # struct xucred of LOCAL_PEERCRED (1) at SOL_LOCAL (0): the version, then the uid.
        credentials = connection.getsockopt(0, 1, 76)
        return int(struct.unpack_from("II", credentials)[1])
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def loopback_peer_uid(there: tuple[str, int], here: tuple[str, int], table: Path = TCP_TABLE) -> int | None:
    """The user at the other end of an IPv4 connection within this machine; None where the system does not tell.

    Linux lists both ends of it (proc(5)). One that is being closed belongs to nobody any more: its row says root.
    """
    ends = [_listed(end) for end in (there, here)]
    try:
        with table.open("rb") as rows:
            for row in rows.read(TABLE_BYTES_MAX).splitlines():
                columns = row.split()
                if columns[1:3] == ends:
                    return int(columns[7]) if columns[3] == ESTABLISHED else NOBODY
    except (OSError, ValueError, IndexError):
        pass
    return None


def _listed(end: tuple[str, int]) -> bytes:
    """As the table writes an address: the number that its bytes are to this processor."""
    return b"%08X:%04X" % (int.from_bytes(socket.inet_aton(end[0]), sys.byteorder), end[1])


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's HTTP; what comes too long or too slowly is refused."""

    _head_bytes = 0
    _head_is_complete = False
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        if not self.may_speak(transport):
            transport.abort()
        elif len(self.connections) > CONNECTIONS_MAX:
            self._refuse(Problem("busy", "too many connections at once", 503))
        else:
            self._expect()

    def too_late(self) -> None:
        """A request has not arrived in time."""
        self.transport.abort()

    def may_speak(self, transport: asyncio.Transport) -> bool:
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._head_bytes = 0 if self._head_is_complete else self._head_bytes + len(data)
        if self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(Problem("head_too_large", f"the head is larger than {HEAD_BYTES_MAX} bytes", 431))

    def on_message_begin(self) -> None:
        self._head_is_complete = False
        self._expect()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_is_complete = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._arrived()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(Problem("not_http", "this is not HTTP/1.1", 400))

    def _expect(self) -> None:
        self._arrived()
        self._deadline = self.loop.call_later(ARRIVAL_S, self.too_late)

    def _arrived(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, problem: Problem) -> None:
        """Answer without the application, and hang up."""
        body = json.dumps(encode(problem)).encode("ascii")
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode("ascii")),
            (b"connection", b"close"),
        ]
        head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(STATUS_LINE[problem.status] + head + b"\r\n" + body)
        self.transport.close()


class OwnersHttp(BoundedHttp):
    """On a Unix socket, for this user and root alone."""

    def too_late(self) -> None:
        """A request has not arrived in time."""
        self.transport.abort()

    def may_speak(self, transport: asyncio.Transport) -> bool:
        return peer_uid(transport.get_extra_info("socket")) in (os.getuid(), 0)
