"""Metrics on a loopback TCP port, for a Prometheus that cannot scrape a Unix socket. Serves nothing else."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from splootd.logs import get_logger
from splootd.metrics.exposition import CONTENT_TYPE
from splootd.protocol import ActionRequired

HOST = "127.0.0.1"
PATHS = frozenset({"/metrics", "/v1/metrics"})
HEAD_BYTES_MAX = 16_384
REQUEST_TIMEOUT_S = 10.0
CONNECTIONS_MAX = 16


class PrometheusServer:
    """Serves GET /metrics and closes the connection. Any local program may read it: it contains no path or name."""

    def __init__(self, port: int, metrics: Callable[[], Awaitable[str]]) -> None:
        self.port = port
        self._metrics = metrics
        self._connections = 0
        self._error_message: str | None = None
        self._log = get_logger("prometheus")
        self.bound = asyncio.Event()  # set after the bind succeeded or failed

    def actions_required(self) -> Sequence[ActionRequired]:
        """Return the problems that only the user can fix."""
        return (
            (ActionRequired(self._error_message, 1, "sploot config set metrics_port"),) if self._error_message else ()
        )

    async def run(self) -> None:
        try:
            server = await asyncio.start_server(self._handle_connection, HOST, self.port, limit=HEAD_BYTES_MAX)
            self.port = server.sockets[0].getsockname()[1]
        except OSError as error:  # uploads must continue without metrics
            self._error_message = f"the metrics port {self.port} cannot be opened: {error.strerror}"
            self._log.error("opening the metrics port failed", port=self.port, error=error.strerror)
            return
        finally:
            self.bound.set()
        async with server:
            await server.serve_forever()

    async def _handle_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                async with asyncio.timeout(REQUEST_TIMEOUT_S):
                    if self._connections <= CONNECTIONS_MAX:
                        writer.write(await self._respond(await reader.readuntil(b"\r\n\r\n")))
                        await writer.drain()
        finally:
            self._connections -= 1
            writer.close()

    async def _respond(self, head: bytes) -> bytes:
        first, *header_lines = head.decode("latin-1").split("\r\n")
        method, _, rest = first.partition(" ")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in header_lines)
        }
        # DNS rebinding: a web page can point its own host name at 127.0.0.1. The Host header then has that name.
        if "origin" in headers or headers.get("host", "").rpartition(":")[0] not in (HOST, "localhost"):
            return _format_response("403 Forbidden", "requests from web pages are not allowed\n")
        if rest.partition(" ")[0].partition("?")[0] not in PATHS:
            return _format_response("404 Not Found", "GET /metrics\n")
        if method != "GET":
            return _format_response("405 Method Not Allowed", "GET /metrics\n", "Allow: GET\r\n")
        return _format_response("200 OK", await self._metrics())


def _format_response(status: str, body: str, extra_headers: str = "") -> bytes:
    raw = body.encode()
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(raw)}\r\n{extra_headers}"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    ).encode() + raw
