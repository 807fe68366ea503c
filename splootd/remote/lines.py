"""The lines to a server: pools that are exchanged for fresh ones after a sleep, without breaking what is under way."""

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

from splootd.remote import http1

CONNECT_S = 10.0
WRITE_S = 30.0  # without one piece getting through
KEEPALIVE_S = 4.0  # shorter than any server's, so that no request meets a line that is just being closed
SECOND_ADDRESS_S = 0.25  # then the next address of a host is tried beside the first one (RFC 8305)
HEADERS = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "splootd"}


class Response(Protocol):
    """The head of an answer, its header names in lower case, and its body as it comes in."""

    @property
    def status_code(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def aiter_raw(self) -> AsyncIterator[bytes]: ...


class Client(Protocol):
    """Takes requests to one server. It follows no redirects: the token is for this host only."""

    def stream(
        self, method: str, path: str, /, *, headers: Mapping[str, str], content: Any
    ) -> AbstractAsyncContextManager[Response]: ...

    async def aclose(self) -> None: ...


class Lines:
    """At most `connections` lines to the server at `base`, over TCP or a Unix socket. Raises what httpx raises."""

    def __init__(
        self, base: str, *, socket: Path | None, verify: ssl.SSLContext, connections: int, read_s: float
    ) -> None:
        self.base = base
        self.read_s = read_s
        self._socket = socket
        self._verify = verify
        self._connections = connections
        self._pool = self._open()

    @contextlib.asynccontextmanager
    async def stream(
        self, method: str, path: str, *, headers: Mapping[str, str], content: Any
    ) -> AsyncIterator[Response]:
        """The head of the answer to one request; its body is still to be read.

        `content` is bytes, or an iterator of them whose total the header content-length says.
        """
        pool = self._pool
        pool.users += 1
        try:
            async with pool.client.stream(method, path, headers=headers, content=content) as response:
                yield response
        finally:
            pool.users -= 1
            await self._let_go(pool)

    async def renew(self) -> None:
        """No request from now on uses a line that was open before: it may be dead without knowing it."""
        former, self._pool = self._pool, self._open()
        await self._let_go(former)

    async def close(self) -> None:
        await self._pool.client.aclose()

    async def _let_go(self, pool: "_Pool") -> None:
        if pool is not self._pool and not pool.users:
            await pool.client.aclose()

    def _open(self) -> "_Pool":
        return _Pool(
            client_of(
                self.base,
                socket=self._socket,
                verify=self._verify,
                connections=self._connections,
                read_s=self.read_s,
            )
        )


class _Pool:
    """A client, and how many requests it is busy with."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.users = 0


def client_of(base: str, *, socket: Path | None, verify: ssl.SSLContext, connections: int, read_s: float) -> Client:
    """Our own; httpx where the environment names a proxy, which it knows how to speak to."""
    if socket is None and getproxies().keys() & {httpx.URL(base).scheme, "all"}:
        return httpx.AsyncClient(
            base_url=base,
            verify=verify,
            limits=httpx.Limits(
                max_connections=connections,
                max_keepalive_connections=connections,
                keepalive_expiry=KEEPALIVE_S,
            ),
            timeout=httpx.Timeout(connect=CONNECT_S, read=read_s, write=WRITE_S, pool=read_s),
            headers=HEADERS,
            follow_redirects=False,
        )
    return Direct(base, socket=socket, verify=verify, connections=connections, read_s=read_s)


class Direct:
    """A Client without anything in between. Whoever finds all lines busy waits in the order of coming."""

    def __init__(
        self, base: str, *, socket: Path | None, verify: ssl.SSLContext, connections: int, read_s: float
    ) -> None:
        self._url = httpx.URL(base)
        self._prefix = self._url.raw_path.decode("ascii").rstrip("/")
        self._headers = {"host": self._url.netloc.decode("ascii"), **HEADERS}
        if self._url.userinfo:
            userinfo = f"{self._url.username}:{self._url.password}"
            self._headers["authorization"] = f"Basic {base64.b64encode(userinfo.encode()).decode()}"
        self._socket = socket
        self._verify = verify if self._url.scheme == "https" else None
        self._read_s = read_s
        self._free = asyncio.Semaphore(connections)
        self._resting: list[http1.Line] = []
        self._lines: set[http1.Line] = set()  # whose sockets are open
        self._connecting: set[asyncio.Task[http1.Line]] = set()

    @contextlib.asynccontextmanager
    async def stream(
        self, method: str, path: str, *, headers: Mapping[str, str], content: Any
    ) -> AsyncIterator[Response]:
        head, size = self._head(method, path, headers, content)
        await self._turn()
        try:
            line = await self._line()
            try:
                yield await line.ask(head, content, size, has_body=method != "HEAD")
            finally:
                if line.rest(asyncio.get_running_loop().time()):
                    self._resting.append(line)
        finally:
            self._free.release()

    async def aclose(self) -> None:
        """What is under way breaks off."""
        for connecting in self._connecting:
            connecting.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for line in self._lines:
            line.close()
        self._resting.clear()
        await _gone(self._lines)

    def _head(self, method: str, path: str, headers: Mapping[str, str], content: Any) -> tuple[bytes, int]:
        """The bytes that stand before the body, and how long that will be."""
        fields = {**self._headers, **headers}
        if isinstance(content, bytes) and (content or method not in ("GET", "DELETE")):
            fields["content-length"] = str(len(content))
        lines = [f"{method} {self._prefix}{path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        if any(not line.isprintable() for line in lines):
            raise httpx.LocalProtocolError("a header holds what no header may hold")
        try:
            return "\r\n".join([*lines, "", ""]).encode("ascii"), int(fields.get("content-length", "0"))
        except UnicodeEncodeError as error:
            raise httpx.LocalProtocolError("a header holds what no header may hold") from error

    async def _turn(self) -> None:
        if not self._free.locked():
            await self._free.acquire()  # at once
            return
        try:
            async with asyncio.timeout(self._read_s):
                await self._free.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("all lines are busy") from error

    async def _line(self) -> http1.Line:
        """One that rested and is still good, else a new one; never more than there may be at once."""
        now = asyncio.get_running_loop().time()
        while self._resting:
            line = self._resting.pop()
            if line.is_fresh(now, KEEPALIVE_S):
                return line
            line.close()
        await _gone([line for line in self._lines if line.is_closing])
        connecting = asyncio.create_task(self._connected())
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connecting.discard)
        try:
            await asyncio.wait([connecting])  # a cancellation must not reach it: asyncio would lose its socket
        except asyncio.CancelledError:
            connecting.add_done_callback(_unwanted)
            raise
        if connecting.cancelled():
            raise httpx.ConnectError("the lines were closed")
        return connecting.result()

    async def _connected(self) -> http1.Line:
        loop = asyncio.get_running_loop()

        def made() -> http1.Line:
            return http1.Line(is_secret=self._verify is not None, read_s=self._read_s, write_s=WRITE_S)

        try:
            async with asyncio.timeout(CONNECT_S):
                if self._socket is not None:
                    _, line = await loop.create_unix_connection(made, str(self._socket))
                else:
                    _, line = await loop.create_connection(
                        made,
                        self._url.host,
                        self._url.port or (443 if self._verify else 80),
                        ssl=self._verify,
                        happy_eyeballs_delay=SECOND_ADDRESS_S,
                    )
        except TimeoutError as error:
            raise httpx.ConnectTimeout("no connection within 10 s") from error
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        self._lines.add(line)
        line.gone.add_done_callback(lambda _: self._lines.discard(line))
        return line


def _unwanted(connecting: asyncio.Task[http1.Line]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().close()


async def _gone(lines: Iterable[http1.Line]) -> None:
    """Until the sockets of these are closed."""
    if waiting := [line.gone for line in lines]:
        await asyncio.wait(waiting)


def trust(base: str) -> ssl.SSLContext:
    """One for all pools. Loading the certificates takes a while, which a plain line need not wait for."""
    return httpx.create_ssl_context() if base.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
