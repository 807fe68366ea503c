"""HTTP/1.1 server protocol with limits on peers, connections, sizes and times."""

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
from splootd.codec import encode
from splootd.protocol import Problem

HEAD_BYTES_MAX = 65_536
REQUEST_TIMEOUT_S = 10.0  # for a request to arrive, head and body
CONNECTIONS_MAX = 64
KEEP_ALIVE_S = 30
SHUTDOWN_TIMEOUT_S = 2  # for replies in flight when the daemon stops
BACKLOG = 128
TCP_TABLE = Path("/proc/net/tcp")
TABLE_BYTES_MAX = 8_000_000  # some 50,000 connections
ESTABLISHED = b"01"
UNKNOWN_UID = -1


def build_uvicorn_config(app: ASGIApp, http: type["BoundedHttp"], *, instance_id: str) -> uvicorn.Config:
    """Return the uvicorn configuration. Each response has the version, the API version and the instance id."""
    return uvicorn.Config(
        app,
        http=http,
        ws="none",
        lifespan="off",
        interface="asgi3",
        headers=[("Sploot-Version", __version__), ("Sploot-Api", API), ("Sploot-Instance-Id", instance_id)],
        server_header=False,
        date_header=False,
        proxy_headers=False,
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
        backlog=BACKLOG,
    )


class UvicornServer(uvicorn.Server):
    """uvicorn without its signal handlers, because the daemon has its own, and without its ten wake-ups per second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stop_requested = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self._stop_requested.wait()

    def stop(self) -> None:
        self.should_exit = True
        self._stop_requested.set()

    def close_connections(self) -> None:
        """Close all connections, including those with a request in flight."""
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.close()


def get_peer_uid(connection: Any) -> int:
    """Return the peer's uid of a Unix socket, as reported by the kernel."""
    if sys.platform == "darwin":
        # LOCAL_PEERCRED (1) at SOL_LOCAL (0) returns struct xucred: the version, then the uid.
        credentials = connection.getsockopt(0, 1, 76)
        return int(struct.unpack_from("II", credentials)[1])
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def get_loopback_peer_uid(remote: tuple[str, int], local: tuple[str, int], table: Path = TCP_TABLE) -> int | None:
    """Return the peer's uid of a loopback IPv4 connection, or None on systems without /proc/net/tcp.

    TCP has no peer credentials, but Linux lists both ends of a loopback connection (proc(5)). Only the row of an
    established connection has a valid uid: a closing one reports uid 0, which must not pass as root.
    """
    ends = [_format_table_address(end) for end in (remote, local)]
    try:
        with table.open("rb") as rows:
            for row in rows.read(TABLE_BYTES_MAX).splitlines():
                columns = row.split()
                if columns[1:3] == ends:
                    return int(columns[7]) if columns[3] == ESTABLISHED else UNKNOWN_UID
    except (OSError, ValueError, IndexError):
        pass
    return None


def _format_table_address(end: tuple[str, int]) -> bytes:
    """Format an address like /proc/net/tcp: the IPv4 bytes as an integer in host byte order, and the port."""
    return b"%08X:%04X" % (int.from_bytes(socket.inet_aton(end[0]), sys.byteorder), end[1])


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits on the head size, the arrival time and the number of connections."""

    _head_bytes = 0
    _head_is_complete = False
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        if not self.is_peer_allowed(transport):
            transport.abort()
        elif len(self.connections) > CONNECTIONS_MAX:
            self._reject(Problem("busy", "too many open connections", 503))
        else:
            self._start_deadline()

    def on_timeout(self) -> None:
        """Abort the connection: the request did not arrive in time."""
        self.transport.abort()

    def is_peer_allowed(self, transport: asyncio.Transport) -> bool:
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._head_bytes = 0 if self._head_is_complete else self._head_bytes + len(data)
        if self._head_bytes > HEAD_BYTES_MAX:
            self._reject(Problem("head_too_large", f"the request head is larger than {HEAD_BYTES_MAX} bytes", 431))

    def on_message_begin(self) -> None:
        self._head_is_complete = False
        self._start_deadline()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_is_complete = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._cancel_deadline()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._reject(Problem("not_http", "the request is not HTTP/1.1", 400))

    def _start_deadline(self) -> None:
        self._cancel_deadline()
        self._deadline = self.loop.call_later(REQUEST_TIMEOUT_S, self.on_timeout)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _reject(self, problem: Problem) -> None:
        """Send a problem without calling the application, and close the connection."""
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


class SameUserHttp(BoundedHttp):
    """BoundedHttp on a Unix socket that accepts only this user and root."""

    def is_peer_allowed(self, transport: asyncio.Transport) -> bool:
        return get_peer_uid(transport.get_extra_info("socket")) in (os.getuid(), 0)
