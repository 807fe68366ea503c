"""The lines to a server: pools that are exchanged for fresh ones after a sleep, without breaking what is under way."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx

CONNECT_S = 10.0
WRITE_S = 30.0  # without one piece getting through
KEEPALIVE_S = 4.0  # shorter than any server's, so that no request meets a line that is just being closed


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
    ) -> AsyncIterator[httpx.Response]:
        """The head of the answer to one request; its body is still to be read."""
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
        limits = httpx.Limits(
            max_connections=self._connections,
            max_keepalive_connections=self._connections,
            keepalive_expiry=KEEPALIVE_S,
        )
        transport = None  # httpx makes its own, and heeds the proxies of the environment
        if self._socket:
            transport = httpx.AsyncHTTPTransport(
                verify=self._verify, limits=limits, uds=str(self._socket), trust_env=False
            )
        client = httpx.AsyncClient(
            base_url=self.base,
            transport=transport,
            verify=self._verify,
            trust_env=self._socket is None,
            limits=limits,
            timeout=httpx.Timeout(connect=CONNECT_S, read=self.read_s, write=WRITE_S, pool=self.read_s),
            headers={"accept": "application/json", "accept-encoding": "identity", "user-agent": "splootd"},
            follow_redirects=False,  # the token is for this host only
        )
        return _Pool(client)


class _Pool:
    """A client, and how many requests it is busy with."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.users = 0


def trust(base: str) -> ssl.SSLContext:
    """One for all pools. Loading the certificates takes a while, which a plain line need not wait for."""
    return httpx.create_ssl_context() if base.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
