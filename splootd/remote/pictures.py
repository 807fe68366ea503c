"""The pictures themselves, fetched for a browser that must neither know the token nor be handed anything else.

A Sploot keeps its pictures on another host. What a server names there is a wish that this machine should fetch from an
address of the server's choosing (CWE-918), so it has to be https, on a public address, and a picture by its bytes.
"""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol
from urllib.parse import quote, urlsplit

import httpx

from splootd.core.magic import HEAD_BYTES, sniff
from splootd.errors import RequestError, SignedOut
from splootd.remote.answers import printable
from splootd.remote.api import Server
from splootd.remote.lines import CONNECT_S
from splootd.remote.measured import measured
from splootd.remote.translated import translated
from splootd.remote.verdict import Answer, error_of

PICTURE_BYTES_MAX = 200_000_000
PICTURE_S = 120.0  # for all of it, the time that the browser takes included
PICTURES_MAX = 2  # at once: uploads keep a line of their own
ETAG_CHARS_MAX = 200
SILENCE_S = 20.0  # of another host
HTTPS_PORT = 443
_NOT_SHOWN = frozenset({"image/svg+xml"})  # it can hold scripts

_IN_PATHS = "/%:@!$&'()*+,;=?~-._"

Resolve = Callable[[str], Awaitable[Sequence[str]]]
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Head(Protocol):
    """An answer whose body is still to be read."""

    @property
    def status_code(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def aiter_raw(self) -> AsyncIterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Picture:
    """`mime` is what its bytes say. `size` in bytes and `etag` where they are told."""

    mime: str
    size: int | None
    etag: str | None
    pieces: AsyncIterator[bytes]


async def addresses(host: str) -> Sequence[str]:
    """What the system's resolver says."""
    found = await asyncio.get_running_loop().getaddrinfo(host, HTTPS_PORT, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def is_public(address: str) -> bool:
    """Whether it can be nobody on this machine or its networks, also not by way of a translation to IPv4."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.sixtofour or found.teredo or found in _NAT64:
            return False
        found = found.ipv4_mapped or found
    return found.is_global and not found.is_multicast


class Pictures:
    """`base` is the address of the server. Raises ServerErrors, Exhausted, and RequestError for what is no picture."""

    def __init__(
        self, server: Server, base: str, *, resolve: Resolve = addresses, verify: ssl.SSLContext | None = None
    ) -> None:
        self.calls = server.calls
        self._server = server
        self._base = urlsplit(base)
        self._resolve = resolve
        self._verify = verify
        self._slots = asyncio.Semaphore(PICTURES_MAX)

    @measured
    async def thumbnail(self, asset_id: str, size: int) -> Picture:
        """A small one, as the server makes it."""
        answer = await self._server.answer("GET", f"/api/assets/{quote(asset_id, safe='')}/thumbnail?size={size}")
        return await _picture(answer.status, answer.headers, _only(answer.body))

    @contextlib.asynccontextmanager
    async def opened(self, url: str) -> AsyncIterator[Picture]:
        """The original at `url`, at most PICTURE_BYTES_MAX of it, within PICTURE_S."""
        async with self._slots:
            opening = self._own(url) or self._foreign(url)
            with translated("the host of the picture"):
                async with asyncio.timeout(PICTURE_S), opening as head:
                    yield await _picture(head.status_code, head.headers, head.aiter_raw())

    def _own(self, url: str) -> contextlib.AbstractAsyncContextManager[Head] | None:
        """From the server itself, whichever way it believes to be reached; None when the picture lies elsewhere."""
        try:
            parts = urlsplit(url)
        except ValueError:
            raise _nothing("its address is none") from None
        is_relative = not parts.scheme and not parts.netloc and parts.path.startswith("/")
        if not is_relative and parts.netloc.lower() != self._base.netloc.rpartition("@")[2].lower():
            return None
        path = quote(parts.path.removeprefix(self._base.path.rstrip("/")), safe=_IN_PATHS)
        query = quote(parts.query, safe=_IN_PATHS)
        return self._server.opened(f"{path}?{query}" if query else path, {"accept": "image/*"})

    @contextlib.asynccontextmanager
    async def _foreign(self, url: str) -> AsyncIterator[Head]:
        """From another host, which is told nothing. What was looked up is what is spoken to: a second look could lie.

        A proxy would look the name up once more, so none is used.
        """
        try:
            target = httpx.URL(url)
        except httpx.InvalidURL:
            raise _nothing("its address is none") from None
        if target.scheme != "https" or target.userinfo or (target.port or HTTPS_PORT) != HTTPS_PORT:
            raise _nothing("it does not lie at a plain https address")
        host = target.raw_host.decode("ascii")
        found = await self._resolve(host)
        if not found or not all(is_public(address) for address in found):
            raise _nothing(f"{printable(host)} is not a public host")
        if self._verify is None:
            self._verify = await asyncio.to_thread(httpx.create_ssl_context)
        async with (
            httpx.AsyncClient(
                verify=self._verify,
                trust_env=False,
                follow_redirects=False,
                timeout=httpx.Timeout(SILENCE_S, connect=CONNECT_S),
                headers={"host": host, "accept": "image/*", "accept-encoding": "identity", "user-agent": "splootd"},
            ) as client,
            client.stream("GET", target.copy_with(host=found[0]), extensions={"sni_hostname": host}) as response,
        ):
            yield response


async def _picture(status: int, headers: Mapping[str, str], pieces: AsyncIterator[bytes]) -> Picture:
    if status != HTTPStatus.OK:
        body = b"".join([piece async for piece in _bounded(pieces, HEAD_BYTES * 64)])
        answer = Answer(status, headers, body)
        if isinstance(error := error_of(answer), SignedOut):
            raise error
        raise _nothing(f"its host answered with {status}", 404 if status == HTTPStatus.NOT_FOUND else 502)
    if headers.get("content-encoding", "identity") != "identity":
        raise _nothing("it came compressed, which was not asked for")
    told = headers.get("content-length", "")
    size = int(told) if told.isascii() and told.isdecimal() and len(told) < 19 else None
    if size is not None and size > PICTURE_BYTES_MAX:
        raise _nothing("it is too large")
    bounded = _bounded(pieces, PICTURE_BYTES_MAX)
    head = bytearray()
    async for piece in bounded:
        head += piece
        if len(head) >= HEAD_BYTES:
            break
    kind = sniff(bytes(head[:HEAD_BYTES]))
    if kind is None or not kind[0].startswith("image/") or kind[0] in _NOT_SHOWN:
        raise _nothing("its bytes are not those of a picture")
    etag = headers.get("etag", "")
    is_fit = etag.isascii() and etag.isprintable() and 0 < len(etag) <= ETAG_CHARS_MAX
    return Picture(kind[0], size, etag if is_fit else None, _joined(bytes(head), bounded))


async def _bounded(pieces: AsyncIterator[bytes], bytes_max: int) -> AsyncIterator[bytes]:
    left = bytes_max
    async for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise _nothing("it is too large")
        yield piece


async def _joined(head: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for piece in rest:
        yield piece


async def _only(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _nothing(why: str, status: int = 502) -> RequestError:
    return RequestError("no_picture", f"the picture cannot be shown: {why}", status=status)
