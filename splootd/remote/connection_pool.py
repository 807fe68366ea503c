"""HTTP connections to one server: a bounded pool that can be rotated without breaking requests in progress."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol
from urllib.request import getproxies

import httpx

from splootd.remote import http11_connection

CONNECT_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 30.0  # without one byte being accepted
KEEPALIVE_EXPIRY_S = 4.0
"""Shorter than the keep-alive timeout of common servers (uvicorn and Node: 5 s). A server may close an idle connection
while a request is on its way to it (RFC 9112, 9.5); an upload lost in this way has an unknown outcome."""
HAPPY_EYEBALLS_DELAY_S = 0.25  # then also try the next address of the host (RFC 8305)
DEFAULT_HEADERS = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "splootd"}


class Response(Protocol):
    """The head of a response, header names in lower case, and its body as it arrives."""

    @property
    def status_code(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def aiter_raw(self) -> AsyncIterator[bytes]: ...


class HTTPTransport(Protocol):
    """Sends requests to one server. It follows no redirects: the token is for this host only."""

    def stream(
        self, method: str, path: str, /, *, headers: Mapping[str, str], content: Any
    ) -> AbstractAsyncContextManager[Response]: ...

    async def aclose(self) -> None: ...


class RotatingPool:
    """A connection pool that can be replaced by a fresh one at any time.

    It holds at most `connections_max` connections to the server at `base_url`, over TCP or a Unix socket. Raises the
    exceptions of httpx.
    """

    def __init__(
        self, base_url: str, *, socket: Path | None, ssl_context: ssl.SSLContext, connections_max: int, read_s: float
    ) -> None:
        self.base_url = base_url
        self.read_s = read_s
        self._socket = socket
        self._ssl_context = ssl_context
        self._connections_max = connections_max
        self._generation = self._create_generation()

    @contextlib.asynccontextmanager
    async def stream(
        self, method: str, path: str, *, headers: Mapping[str, str], content: Any
    ) -> AsyncIterator[Response]:
        """Send one request and yield the head of the response, whose body is still to be read.

        `content` is bytes, or an iterator of bytes with the total size given by the header content-length.
        """
        generation = self._generation
        generation.active_requests += 1
        try:
            async with generation.transport.stream(method, path, headers=headers, content=content) as response:
                yield response
        finally:
            generation.active_requests -= 1
            await self._close_if_unused(generation)

    async def rotate(self) -> None:
        """Use new connections for all further requests; requests in progress finish on the old ones.

        After a sleep or a change of network, a connection can be dead without any packet that says so: the NAT entry
        is gone, and a write succeeds until the retransmissions time out after minutes.
        """
        previous, self._generation = self._generation, self._create_generation()
        await self._close_if_unused(previous)

    async def close(self) -> None:
        await self._generation.transport.aclose()

    async def _close_if_unused(self, generation: "_Generation") -> None:
        if generation is not self._generation and not generation.active_requests:
            await generation.transport.aclose()

    def _create_generation(self) -> "_Generation":
        return _Generation(
            create_transport(
                self.base_url,
                socket=self._socket,
                ssl_context=self._ssl_context,
                connections_max=self._connections_max,
                read_s=self.read_s,
            )
        )


class _Generation:
    """One transport and the number of its requests in progress."""

    def __init__(self, transport: HTTPTransport) -> None:
        self.transport = transport
        self.active_requests = 0


def create_transport(
    base_url: str, *, socket: Path | None, ssl_context: ssl.SSLContext, connections_max: int, read_s: float
) -> HTTPTransport:
    """Create a `ConnectionPool`, or an httpx client if the environment configures a proxy."""
    if socket is None and getproxies().keys() & {httpx.URL(base_url).scheme, "all"}:
        return httpx.AsyncClient(
            base_url=base_url,
            verify=ssl_context,
            limits=httpx.Limits(
                max_connections=connections_max,
                max_keepalive_connections=connections_max,
                keepalive_expiry=KEEPALIVE_EXPIRY_S,
            ),
            timeout=httpx.Timeout(connect=CONNECT_TIMEOUT_S, read=read_s, write=WRITE_TIMEOUT_S, pool=read_s),
            headers=DEFAULT_HEADERS,
            follow_redirects=False,
        )
    return ConnectionPool(
        base_url, socket=socket, ssl_context=ssl_context, connections_max=connections_max, read_s=read_s
    )


class ConnectionPool:
    """A pool of direct HTTP/1.1 connections. Requests wait in order of arrival while all connections are busy."""

    def __init__(
        self, base_url: str, *, socket: Path | None, ssl_context: ssl.SSLContext, connections_max: int, read_s: float
    ) -> None:
        self._url = httpx.URL(base_url)
        self._prefix = self._url.raw_path.decode("ascii").rstrip("/")
        self._headers = {"host": self._url.netloc.decode("ascii"), **DEFAULT_HEADERS}
        if self._url.userinfo:
            userinfo = f"{self._url.username}:{self._url.password}"
            self._headers["authorization"] = f"Basic {base64.b64encode(userinfo.encode()).decode()}"
        self._socket = socket
        self._ssl_context = ssl_context if self._url.scheme == "https" else None
        self._read_s = read_s
        self._slots = asyncio.Semaphore(connections_max)
        self._idle: list[http11_connection.HTTP11Connection] = []
        self._connections: set[http11_connection.HTTP11Connection] = set()  # all with an open socket
        self._connecting: set[asyncio.Task[http11_connection.HTTP11Connection]] = set()

    @contextlib.asynccontextmanager
    async def stream(
        self, method: str, path: str, *, headers: Mapping[str, str], content: Any
    ) -> AsyncIterator[Response]:
        head, size = self._build_head(method, path, headers, content)
        await self._acquire_slot()
        try:
            connection = await self._acquire_connection()
            try:
                yield await connection.send_request(head, content, size, has_body=method != "HEAD")
            finally:
                if connection.release(asyncio.get_running_loop().time()):
                    self._idle.append(connection)
        finally:
            self._slots.release()

    async def aclose(self) -> None:
        """Close all connections. Requests in progress fail."""
        for connecting in self._connecting:
            connecting.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for connection in self._connections:
            connection.close()
        self._idle.clear()
        await _wait_until_closed(self._connections)

    def _build_head(self, method: str, path: str, headers: Mapping[str, str], content: Any) -> tuple[bytes, int]:
        """Return the request line and headers as bytes, and the size of the body."""
        fields = {**self._headers, **headers}
        # A POST without a body still needs `content-length: 0`; a GET must not announce one (RFC 9110, 8.6).
        if isinstance(content, bytes) and (content or method not in ("GET", "DELETE")):
            fields["content-length"] = str(len(content))
        lines = [f"{method} {self._prefix}{path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        if any(not line.isprintable() for line in lines):  # CR or LF would start another header (RFC 9110, 5.5)
            raise httpx.LocalProtocolError("a request header contains an invalid character")
        try:
            return "\r\n".join([*lines, "", ""]).encode("ascii"), int(fields.get("content-length", "0"))
        except UnicodeEncodeError as error:
            raise httpx.LocalProtocolError("a request header contains an invalid character") from error

    async def _acquire_slot(self) -> None:
        if not self._slots.locked():
            await self._slots.acquire()  # returns without waiting, so no timer is needed
            return
        try:
            async with asyncio.timeout(self._read_s):
                await self._slots.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("all connections are busy") from error

    async def _acquire_connection(self) -> http11_connection.HTTP11Connection:
        """Return a reusable idle connection, or a new one. Never exceeds the limit of open sockets."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_reusable(now, KEEPALIVE_EXPIRY_S):
                return connection
            connection.close()
        await _wait_until_closed([connection for connection in self._connections if connection.is_closing])
        connecting = asyncio.create_task(self._connect())
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)
        try:
            # A cancellation must not reach the task: asyncio's create_connection would leak its socket. The finished
            # connection is closed by the callback instead.
            await asyncio.wait([connecting])
        except asyncio.CancelledError:
            connecting.add_done_callback(_close_abandoned)
            raise
        if connecting.cancelled():
            raise httpx.ConnectError("the connection pool was closed")
        return connecting.result()

    async def _connect(self) -> http11_connection.HTTP11Connection:
        loop = asyncio.get_running_loop()

        def create_protocol() -> http11_connection.HTTP11Connection:
            return http11_connection.HTTP11Connection(
                is_tls=self._ssl_context is not None, read_s=self._read_s, write_s=WRITE_TIMEOUT_S
            )

        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                if self._socket is not None:
                    _, connection = await loop.create_unix_connection(create_protocol, str(self._socket))
                else:
                    _, connection = await loop.create_connection(
                        create_protocol,
                        self._url.host,
                        self._url.port or (443 if self._ssl_context else 80),
                        ssl=self._ssl_context,
                        happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY_S,
                    )
        except TimeoutError as error:
            raise httpx.ConnectTimeout("no connection within 10 s") from error
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        self._connections.add(connection)
        connection.closed.add_done_callback(lambda _: self._connections.discard(connection))
        return connection


def _close_abandoned(connecting: asyncio.Task[http11_connection.HTTP11Connection]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().close()


async def _wait_until_closed(connections: Iterable[http11_connection.HTTP11Connection]) -> None:
    """Wait until the sockets of `connections` are closed."""
    if waiting := [connection.closed for connection in connections]:
        await asyncio.wait(waiting)


def ssl_context_for(base_url: str) -> ssl.SSLContext:
    """Create the TLS context for all pools of a server. Plain HTTP skips loading the certificates, which is slow."""
    return httpx.create_ssl_context() if base_url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
