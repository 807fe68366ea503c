"""HTTP connections to one server: a bounded pool that can be rotated without breaking requests in progress."""

import asyncio
import contextlib
import functools
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any

import httpx

from splootd.remote.exception_mapping import blame_proxy
from splootd.remote.http11_connection import HTTP11Connection
from splootd.remote.network_environment import (
    Proxy,
    create_proxy_transport,
    create_ssl_context,
    find_proxy,
)
from splootd.remote.silence import RequestContent, Silence
from splootd.weighted_semaphore import WeightedSemaphore

CONNECT_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 30.0  # without one byte being accepted
KEEPALIVE_EXPIRY_S = 4.0
"""Shorter than the keep-alive timeout of common servers (uvicorn and Node: 5 s). A server may close an idle connection
while a request is on its way to it (RFC 9112, 9.5); an upload lost in this way has an unknown outcome."""
HAPPY_EYEBALLS_DELAY_S = 0.25  # then also try the next address of the host (RFC 8305)
URLS_CACHED = 64
DEFAULT_HEADERS = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "splootd"}


class RotatingPool:
    """A connection pool that can be replaced by a fresh one at any time.

    At most `connections_max` connections to the server at `base_url` are open, over TCP or a Unix socket, also during a
    rotation. Requests wait by `rank` (smaller first), then by arrival. Raises the exceptions of httpx, and Unreachable
    if the environment configures a proxy or certificates that cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        socket: Path | None,
        connections_max: int,
        get_ssl_context: Callable[[], ssl.SSLContext] = create_ssl_context,
    ) -> None:
        self.base_url = base_url
        self.proxy = None if socket else find_proxy(base_url)
        self.silence = Silence()
        self._socket = socket
        self._get_ssl_context = get_ssl_context
        self._connections_max = connections_max
        self._slots = WeightedSemaphore(connections_max)
        self._generation: _Generation | None = None

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        content: RequestContent,
        read_s: float,
        deadline_s: float | None = None,
        rank: int = 0,
    ) -> AsyncIterator[httpx.Response]:
        """Send one request and yield the head of the response, whose body is still to be read.

        An iterator as `content` needs the header content-length. It follows no redirects: the token is for this host.
        Raises httpx.PoolTimeout if nothing was sent within `read_s`, and TimeoutError if the block has not ended within
        `deadline_s` from then on.
        """
        await acquire_slot(self._slots, read_s, rank)
        try:
            generation = self._generation = self._generation or self._create_generation()
            generation.active_requests += 1
            try:
                async with asyncio.timeout(deadline_s):
                    with self.silence.exchange(content) as tracked:
                        url = _parse_url(self.base_url.rstrip("/") + path)
                        request = _build_request(method, url, headers, content=tracked, read_s=read_s)
                        response = await generation.send(request)
                    try:
                        yield response
                    finally:
                        await response.aclose()
            finally:
                if not isinstance(content, bytes):
                    await content.aclose()
                generation.active_requests -= 1
                await self._close_if_unused(generation)
        finally:
            self._slots.release(1)

    @contextlib.asynccontextmanager
    async def slot(self, wait_s: float, rank: int = 0) -> AsyncIterator[None]:
        """Hold the place of one request. Raises httpx.PoolTimeout if it is not free within `wait_s`."""
        await acquire_slot(self._slots, wait_s, rank)
        try:
            yield
        finally:
            self._slots.release(1)

    async def close_idle(self) -> None:
        """Close the connections without a request in progress, to make room for one that is opened elsewhere."""
        if self._generation is not None:
            await self._generation.close_idle()

    async def rotate(self) -> None:
        """Use new connections for all further requests; requests in progress finish on the old ones.

        After a sleep or a change of network, a connection can be dead without any packet that says so: the NAT entry
        is gone, and a write succeeds until the retransmissions time out after minutes.
        """
        previous, self._generation = self._generation, None
        if previous is not None:
            await previous.retire()
            await self._close_if_unused(previous)

    async def close(self) -> None:
        """Close all connections. Requests in progress fail."""
        if self._generation is not None:
            await self._generation.client.aclose()
            self._generation = None

    async def _close_if_unused(self, generation: "_Generation") -> None:
        if generation is not self._generation and not generation.active_requests:
            await generation.client.aclose()

    def _create_generation(self) -> "_Generation":
        """Create it with the first request, so that a wrong proxy or certificate file delays uploads and no more."""
        client = create_client(
            self.base_url,
            socket=self._socket,
            proxy=self.proxy,
            get_ssl_context=self._get_ssl_context,
            connections_max=self._connections_max,
        )
        return _Generation(client, self.proxy)


async def acquire_slot(slots: WeightedSemaphore, wait_s: float, rank: int = 0) -> None:
    """Acquire the place of one request. Raises httpx.PoolTimeout after `wait_s`: nothing was sent."""
    try:
        async with asyncio.timeout(wait_s):
            await slots.acquire(1, rank)
    except TimeoutError as error:
        raise httpx.PoolTimeout("all connections are busy") from error


class _Generation:
    """One client, its proxy, and the number of its requests in progress."""

    def __init__(self, client: httpx.AsyncClient, proxy: Proxy | None) -> None:
        self.client = client
        self.active_requests = 0
        self._proxy = proxy

    async def send(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self.client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            if self._proxy is None:
                raise
            raise blame_proxy(self._proxy, error) from error

    async def close_idle(self) -> None:
        if isinstance(self.client, _DirectClient):
            await self.client.connections.close_idle()

    async def retire(self) -> None:
        """Keep no connection beyond its request: the next generation takes the places."""
        if isinstance(self.client, _DirectClient):
            self.client.connections.is_retired = True
        await self.close_idle()


def create_client(
    base_url: str,
    *,
    socket: Path | None,
    proxy: Proxy | None,
    get_ssl_context: Callable[[], ssl.SSLContext],
    connections_max: int,
) -> httpx.AsyncClient:
    """Create a client with a `ConnectionPool`, or with httpx's own for a proxy. Raises Unreachable."""
    url = httpx.URL(base_url)
    kind: type[httpx.AsyncClient] = httpx.AsyncClient
    transport: httpx.AsyncBaseTransport
    if proxy is not None:
        limits = httpx.Limits(max_connections=connections_max, keepalive_expiry=KEEPALIVE_EXPIRY_S)
        transport = create_proxy_transport(proxy, limits, get_ssl_context())
    else:
        kind = _DirectClient
        transport = ConnectionPool(socket=socket, ssl_context=get_ssl_context() if url.scheme == "https" else None)
    return kind(
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # accepts none
        transport=transport,
        trust_env=False,
    )


class _DirectClient(httpx.AsyncClient):
    """Passes requests straight to its transport.

    Sessions, redirects and cookies of httpx, none of which the daemon uses, cost more than the request itself.
    """

    def __init__(self, *, transport: "ConnectionPool", **options: Any) -> None:
        super().__init__(transport=transport, **options)
        self.connections = transport

    async def send(self, request: httpx.Request, **_: Any) -> httpx.Response:
        return await self.connections.handle_async_request(request)


class ConnectionPool(httpx.AsyncBaseTransport):
    """Direct HTTP/1.1 connections to one server. It opens one per concurrent request; its user limits their number."""

    def __init__(self, *, socket: Path | None = None, ssl_context: ssl.SSLContext | None = None) -> None:
        self._socket = socket
        self._ssl_context = ssl_context
        self._idle: list[HTTP11Connection] = []
        self._connections: set[HTTP11Connection] = set()  # all with an open socket
        self._connecting: set[asyncio.Task[HTTP11Connection]] = set()
        self._abandoned: list[asyncio.Task[HTTP11Connection]] = []  # connecting for a request that was cancelled
        self.is_retired = False  # it keeps no connection beyond its request

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        head = _build_head(request)
        size = int(request.headers.get("content-length", "0"))
        stream = request.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        body = b"".join(stream) if isinstance(stream, httpx.ByteStream) else stream  # no copy: it is one piece
        connection = await self._acquire_connection(request)
        try:
            response = await connection.send_request(
                head, body, size, has_body=request.method != "HEAD", timeouts=request.extensions["timeout"]
            )
        except BaseException:
            self._release(connection)
            raise
        received = _Stream(response.aiter_raw(), lambda: self._release(connection))
        return httpx.Response(response.status_code, headers=response.headers, stream=received)

    async def aclose(self) -> None:
        """Close all connections. Requests in progress fail."""
        for connecting in self._connecting:
            connecting.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for connection in self._connections:
            connection.close()
        self._idle.clear()
        await _wait_until_closed(self._connections)

    async def close_idle(self) -> None:
        """Close the connections that no request uses."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        await _wait_until_closed(idle)

    def _release(self, connection: HTTP11Connection) -> None:
        if connection.release(asyncio.get_running_loop().time()):
            if self.is_retired:
                connection.close()
            else:
                self._idle.append(connection)
        elif connection.is_stale:  # the server has probably closed the others, too
            while self._idle:
                self._idle.pop().close()

    async def _acquire_connection(self, request: httpx.Request) -> HTTP11Connection:
        """Return a reusable idle connection, or a new one."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_reusable(now, KEEPALIVE_EXPIRY_S):
                return connection
            connection.close()
        await _wait_until_closed([connection for connection in self._connections if connection.is_closing])
        connecting = self._abandoned.pop() if self._abandoned else self._start_connecting(request)
        try:
            # A cancellation must not reach the task: asyncio's create_connection would leak its socket. The next
            # request takes the connection over, so that no further one is opened; unless it comes too late.
            await asyncio.wait([connecting])
        except asyncio.CancelledError:
            self._abandoned.append(connecting)
            connecting.add_done_callback(self._close_abandoned)
            raise
        if connecting.cancelled():
            raise httpx.ConnectError("the connection pool was closed")
        return connecting.result()

    def _start_connecting(self, request: httpx.Request) -> asyncio.Task[HTTP11Connection]:
        connecting = asyncio.create_task(self._connect(request))
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)
        return connecting

    def _close_abandoned(self, connecting: asyncio.Task[HTTP11Connection]) -> None:
        """Close a connection that no request has taken over."""
        if connecting in self._abandoned:
            self._abandoned.remove(connecting)
            if not connecting.cancelled() and connecting.exception() is None:
                connecting.result().close()

    async def _connect(self, request: httpx.Request) -> HTTP11Connection:
        loop = asyncio.get_running_loop()
        timeout_s = request.extensions["timeout"]["connect"]

        def create_protocol() -> HTTP11Connection:
            return HTTP11Connection(is_tls=self._ssl_context is not None)

        try:
            async with asyncio.timeout(timeout_s):
                if self._socket is not None:
                    _, connection = await loop.create_unix_connection(create_protocol, str(self._socket))
                else:
                    _, connection = await loop.create_connection(
                        create_protocol,
                        request.url.host,
                        request.url.port or (443 if self._ssl_context else 80),
                        ssl=self._ssl_context,
                        happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY_S,
                    )
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"no connection within {timeout_s:.0f} s") from error
        except Exception as error:
            # Whatever went wrong, nothing was sent. asyncio raises more than OSError here: for some addresses its
            # Happy Eyeballs ends with an IndexError.
            raise httpx.ConnectError(str(error) or type(error).__name__) from error
        self._connections.add(connection)
        connection.closed.add_done_callback(lambda _: self._connections.discard(connection))
        return connection


class _Stream(httpx.AsyncByteStream):
    """The body of a request or response, in pieces. Closing it calls `release`, once."""

    def __init__(self, pieces: AsyncIterator[bytes], release: Callable[[], None] = lambda: None) -> None:
        self._pieces = pieces
        self._release = release
        self._is_closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def aclose(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._release()


@functools.lru_cache(URLS_CACHED)
def _parse_url(url: str) -> httpx.URL:
    return httpx.URL(url)


def _build_request(
    method: str,
    url: httpx.URL,
    headers: Mapping[str, str],
    *,
    content: RequestContent,
    read_s: float,
) -> httpx.Request:
    """Build a request without the client, and with its length and stream: httpx takes much longer to derive these."""
    timeout = {"connect": CONNECT_TIMEOUT_S, "read": read_s, "write": WRITE_TIMEOUT_S, "pool": read_s}
    all_headers = {"host": url.netloc.decode("ascii"), **DEFAULT_HEADERS, **headers}
    if isinstance(content, bytes) and (content or method in ("POST", "PUT", "PATCH")):
        all_headers["content-length"] = str(len(content))
    stream = httpx.ByteStream(content) if isinstance(content, bytes) else _Stream(content)
    try:
        return httpx.Request(method, url, headers=all_headers, stream=stream, extensions={"timeout": timeout})
    except UnicodeEncodeError as error:
        raise httpx.LocalProtocolError("a request header contains an invalid character") from error


def _build_head(request: httpx.Request) -> bytes:
    """Return the request line and the headers."""
    lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    lines += [b"%b: %b" % field for field in request.headers.raw]
    head = b"\r\n".join(lines)
    text = head.decode("latin-1")
    # CR or LF inside a line would start another header (RFC 9110, 5.5).
    if not text.isascii() or not text.replace("\r\n", "").isprintable() or text.count("\r\n") != len(lines) - 1:
        raise httpx.LocalProtocolError("a request header contains an invalid character")
    return head + b"\r\n\r\n"


async def _wait_until_closed(connections: Iterable[HTTP11Connection]) -> None:
    """Wait until the sockets of `connections` are closed."""
    if waiting := [connection.closed for connection in connections]:
        await asyncio.wait(waiting)
