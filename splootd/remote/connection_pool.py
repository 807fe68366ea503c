"""HTTP connections to one server: a bounded pool that can be rotated without breaking requests in progress."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any
from urllib.request import getproxies

import httpx

from splootd.remote.http11_connection import HTTP11Connection

CONNECT_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 30.0  # without one byte being accepted
KEEPALIVE_EXPIRY_S = 4.0
"""Shorter than the keep-alive timeout of common servers (uvicorn and Node: 5 s). A server may close an idle connection
while a request is on its way to it (RFC 9112, 9.5); an upload lost in this way has an unknown outcome."""
HAPPY_EYEBALLS_DELAY_S = 0.25  # then also try the next address of the host (RFC 8305)
DEFAULT_HEADERS = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "splootd"}

create_ssl_context = httpx.create_ssl_context


class RotatingPool:
    """A connection pool that can be replaced by a fresh one at any time.

    At most `connections_max` requests to the server at `base_url` are in progress, over TCP or a Unix socket, also
    during a rotation; further ones wait in order of arrival. Raises the exceptions of httpx.
    """

    def __init__(
        self,
        base_url: str,
        *,
        socket: Path | None,
        connections_max: int,
        read_s: float,
        get_ssl_context: Callable[[], ssl.SSLContext] = create_ssl_context,
    ) -> None:
        self.base_url = base_url
        self.read_s = read_s
        self._socket = socket
        self._get_ssl_context = get_ssl_context
        self._connections_max = connections_max
        self._slots = asyncio.Semaphore(connections_max)
        self._generation: _Generation | None = None

    @contextlib.asynccontextmanager
    async def stream(
        self, method: str, path: str, *, headers: Mapping[str, str], content: bytes | AsyncGenerator[bytes, None]
    ) -> AsyncIterator[httpx.Response]:
        """Send one request and yield the head of the response, whose body is still to be read.

        An iterator as `content` needs the header content-length. It follows no redirects: the token is for this host.
        """
        async with self.slot():
            generation = self._generation = self._generation or self._create_generation()
            generation.active_requests += 1
            try:
                request = _build_request(generation.client, method, path, headers, content)
                response = await generation.client.send(request, stream=True)
                try:
                    yield response
                finally:
                    await response.aclose()
            finally:
                if not isinstance(content, bytes):
                    await content.aclose()
                generation.active_requests -= 1
                await self._close_if_unused(generation)

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold the place of one request. Raises httpx.PoolTimeout."""
        if not self._slots.locked():
            await self._slots.acquire()  # returns without waiting, so no timer is needed
        else:
            try:
                async with asyncio.timeout(self.read_s):
                    await self._slots.acquire()
            except TimeoutError as error:
                raise httpx.PoolTimeout("all connections are busy") from error
        try:
            yield
        finally:
            self._slots.release()

    async def rotate(self) -> None:
        """Use new connections for all further requests; requests in progress finish on the old ones.

        After a sleep or a change of network, a connection can be dead without any packet that says so: the NAT entry
        is gone, and a write succeeds until the retransmissions time out after minutes.
        """
        previous, self._generation = self._generation, None
        if previous is not None:
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
        try:
            client = create_client(
                self.base_url,
                socket=self._socket,
                get_ssl_context=self._get_ssl_context,
                connections_max=self._connections_max,
                read_s=self.read_s,
            )
        except OSError as error:
            raise httpx.ConnectError(f"the trusted certificates cannot be loaded: {error}") from error
        except (ImportError, ValueError, httpx.InvalidURL) as error:  # of httpx, for SOCKS and unknown schemes
            raise httpx.ProxyError("only http:// and https:// proxies are supported: see HTTPS_PROXY") from error
        return _Generation(client)


class _Generation:
    """One client and the number of its requests in progress."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.active_requests = 0


def create_client(
    base_url: str,
    *,
    socket: Path | None,
    get_ssl_context: Callable[[], ssl.SSLContext],
    connections_max: int,
    read_s: float,
) -> httpx.AsyncClient:
    """Create a client with a `ConnectionPool`, or with httpx's own if the environment configures a proxy.

    Raises the exceptions of httpx for the environment, and OSError if the certificates cannot be loaded.
    """
    url = httpx.URL(base_url)
    headers = dict(DEFAULT_HEADERS)
    if url.userinfo:  # else httpx overwrites the token with it
        userinfo = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
        headers["authorization"] = f"Basic {userinfo}"
    kind: type[httpx.AsyncClient] = httpx.AsyncClient
    options: dict[str, Any]
    if socket is None and getproxies().keys() & {url.scheme, "all"}:
        limits = httpx.Limits(max_connections=connections_max, keepalive_expiry=KEEPALIVE_EXPIRY_S)
        options = {"verify": get_ssl_context(), "limits": limits}
    else:
        ssl_context = get_ssl_context() if url.scheme == "https" else None
        kind = _DirectClient
        options = {"transport": ConnectionPool(socket=socket, ssl_context=ssl_context)}
    client = kind(
        base_url=url.copy_with(userinfo=b""),
        headers=headers,
        timeout=httpx.Timeout(connect=CONNECT_TIMEOUT_S, read=read_s, write=WRITE_TIMEOUT_S, pool=read_s),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # accepts none
        **options,
    )
    del client.headers["connection"]  # keep-alive is the default of HTTP/1.1
    return client


class _DirectClient(httpx.AsyncClient):
    """Passes requests straight to its transport.

    Sessions, redirects and cookies of httpx, none of which the daemon uses, cost more than the request itself.
    """

    def __init__(self, *, transport: httpx.AsyncBaseTransport, **options: Any) -> None:
        super().__init__(transport=transport, **options)
        self._direct_transport = transport

    async def send(self, request: httpx.Request, **_: Any) -> httpx.Response:
        return await self._direct_transport.handle_async_request(request)


class ConnectionPool(httpx.AsyncBaseTransport):
    """Direct HTTP/1.1 connections to one server. It opens one per concurrent request; its user limits their number."""

    def __init__(self, *, socket: Path | None = None, ssl_context: ssl.SSLContext | None = None) -> None:
        self._socket = socket
        self._ssl_context = ssl_context
        self._idle: list[HTTP11Connection] = []
        self._connections: set[HTTP11Connection] = set()  # all with an open socket
        self._connecting: set[asyncio.Task[HTTP11Connection]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        head = _build_head(request)
        size = int(request.headers.get("content-length", "0"))
        body = request.content if isinstance(request.stream, httpx.ByteStream) else request.stream
        assert not isinstance(body, httpx.SyncByteStream)
        connection = await self._acquire_connection(request)
        try:
            response = await connection.send_request(
                head, body, size, has_body=request.method != "HEAD", timeouts=request.extensions["timeout"]
            )
        except BaseException:
            self._release(connection)
            raise
        stream = _ResponseStream(response.aiter_raw(), lambda: self._release(connection))
        return httpx.Response(response.status_code, headers=response.headers, stream=stream)

    async def aclose(self) -> None:
        """Close all connections. Requests in progress fail."""
        for connecting in self._connecting:
            connecting.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for connection in self._connections:
            connection.close()
        self._idle.clear()
        await _wait_until_closed(self._connections)

    def _release(self, connection: HTTP11Connection) -> None:
        if connection.release(asyncio.get_running_loop().time()):
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
        connecting = asyncio.create_task(self._connect(request))
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
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        self._connections.add(connection)
        connection.closed.add_done_callback(lambda _: self._connections.discard(connection))
        return connection


class _ResponseStream(httpx.AsyncByteStream):
    """The body of a response. Closing it releases the connection."""

    def __init__(self, pieces: AsyncIterator[bytes], release: Callable[[], None]) -> None:
        self._pieces = pieces
        self._release = release
        self._is_closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def aclose(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._release()


def _build_request(client: httpx.AsyncClient, method: str, path: str, headers: Any, content: Any) -> httpx.Request:
    try:
        return client.build_request(method, path, headers=headers, content=content)
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


def _close_abandoned(connecting: asyncio.Task[HTTP11Connection]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().close()


async def _wait_until_closed(connections: Iterable[HTTP11Connection]) -> None:
    """Wait until the sockets of `connections` are closed."""
    if waiting := [connection.closed for connection in connections]:
        await asyncio.wait(waiting)
