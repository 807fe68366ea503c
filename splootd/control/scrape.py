"""The metrics on a port of this machine, for a Prometheus that cannot read a Unix socket. Nothing else is behind it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from splootd.logs import logger
from splootd.metrics.exposition import CONTENT_TYPE
from splootd.protocol import Need

HOST = "127.0.0.1"
PATHS = frozenset({"/metrics", "/v1/metrics"})
HEAD_BYTES_MAX = 16_384
ANSWER_S = 10.0
CONNECTIONS_MAX = 16


class Scrape:
    """Answers GET /metrics and hangs up. Any program on this machine may ask: the answer holds no path and no name."""

    def __init__(self, port: int, metrics: Callable[[], Awaitable[str]]) -> None:
        self.port = port
        self._metrics = metrics
        self._connections = 0
        self._trouble: str | None = None
        self._log = logger("scrape")
        self.bound = asyncio.Event()  # whether well or not

    def needs(self) -> Sequence[Need]:
        """What only the user can mend."""
        return (Need(self._trouble, 1, "sploot config set metrics_port"),) if self._trouble else ()

    async def run(self) -> None:
        try:
            server = await asyncio.start_server(self._serve, HOST, self.port, limit=HEAD_BYTES_MAX)
            self.port = server.sockets[0].getsockname()[1]
        except OSError as error:  # memes matter more than metrics
            self._trouble = f"the port {self.port} for metrics cannot be used: {error.strerror}"
            self._log.error("no metrics on a port", port=self.port, error=error.strerror)
            return
        finally:
            self.bound.set()
        async with server:
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                async with asyncio.timeout(ANSWER_S):
                    if self._connections <= CONNECTIONS_MAX:
                        writer.write(await self._answer(await reader.readuntil(b"\r\n\r\n")))
                        await writer.drain()
        finally:
            self._connections -= 1
            writer.close()

    async def _answer(self, head: bytes) -> bytes:
        first, *lines = head.decode("latin-1").split("\r\n")
        method, _, rest = first.partition(" ")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        # A page in a browser could point a name of its own at this machine: then Host is that name.
        if "origin" in headers or headers.get("host", "").rpartition(":")[0] not in (HOST, "localhost"):
            return _http("403 Forbidden", "not for web pages\n")
        if rest.partition(" ")[0].partition("?")[0] not in PATHS:
            return _http("404 Not Found", "GET /metrics\n")
        if method != "GET":
            return _http("405 Method Not Allowed", "GET /metrics\n", "Allow: GET\r\n")
        return _http("200 OK", await self._metrics())


def _http(status: str, body: str, more: str = "") -> bytes:
    raw = body.encode()
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(raw)}\r\n{more}"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    ).encode() + raw
