"""Fetch images and videos for the browser, which must not receive the token.

Sploot keeps its images on another host, so this proxy fetches URLs that the server chooses (SSRF, CWE-918). It accepts
only https URLs on public addresses, and only content that is an image by its first bytes. The server itself may also
send videos that browsers play.
"""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote, urlsplit

import httpx

from splootd.core.mime_sniff import HEAD_BYTES, sniff
from splootd.errors import RequestError, Unauthenticated
from splootd.remote.client import SplootClient
from splootd.remote.connection_pool import CONNECT_TIMEOUT_S
from splootd.remote.exception_mapping import map_exceptions
from splootd.remote.instrumentation import instrument
from splootd.remote.network_environment import create_ssl_context
from splootd.remote.status_mapping import HttpResponse, error_for
from splootd.text import printable

IMAGE_BYTES_MAX = 200_000_000
IMAGE_TIMEOUT_S = 120.0  # for the whole image, including the time that the browser takes to read it
THUMBNAIL_PX = (64, 1_024)  # the least and most of its longer side that a server renders
CONCURRENT_IMAGES_MAX = 2  # leaves one connection to uploads
HEADER_CHARS_MAX = {"etag": 200, "content-disposition": 4_000, "content-range": 100}
READ_TIMEOUT_S = 20.0  # for another host
HTTPS_PORT = 443
PART_BYTES_MAX = 4 * 1024 * 1024  # a player asks for the next part; a paused one keeps no connection
_BLOCKED_TYPES = frozenset({"image/svg+xml"})  # can contain scripts
_VIDEO_TYPES = frozenset({"video/mp4", "video/webm"})

_URL_SAFE_CHARS = "/%:@!$&'()*+,;=?~-._"

Resolver = Callable[[str], Awaitable[Sequence[str]]]
# Networks whose addresses contain one of IPv4 (RFC 6052, 8215, 4291, 2765), and site-local ones (RFC 3879).
_INSIDE_IPV6 = [
    ipaddress.ip_network(each) for each in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96", "fec0::/10")
]


@dataclass(frozen=True, slots=True)
class ProxiedImage:
    """An image that is still to be read. `mime` comes from its bytes; the rest from the server, if sent."""

    mime: str
    size: int | None
    etag: str | None
    disposition: str | None  # a Content-Disposition that begins with `inline` and may name the file
    pieces: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class ImagePart:
    """Some bytes of an image or video. `content_range` says which of how many, as in HTTP."""

    mime: str
    content_range: str
    data: bytes


async def resolve_host(host: str) -> Sequence[str]:
    """Resolve a host name with the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, HTTPS_PORT, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def is_public_address(address: str) -> bool:
    """Return whether an address is outside this machine and its networks, also after a translation to IPv4.

    Some IPv6 addresses contain an IPv4 address that may be private. `is_global` does not look inside.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.sixtofour or found.teredo or any(found in network for network in _INSIDE_IPV6):
            return False
        found = found.ipv4_mapped or found
    return found.is_global and not found.is_multicast


LOCAL_SERVER_URL = "http://library"  # the host name in the URLs of the local server


class ImageProxy:
    """Streams thumbnails and original images to the browser.

    `base` is the URL of the server. Methods raise ServerError, ResourceExhausted, or RequestError if there is no image.
    """

    def __init__(
        self,
        client: SplootClient,
        base: str,
        *,
        resolver: Resolver = resolve_host,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.calls = client.calls
        self._client = client
        self._base = urlsplit(base)
        self._resolver = resolver
        self._ssl_context = ssl_context
        self._slots = asyncio.Semaphore(CONCURRENT_IMAGES_MAX)

    @instrument
    async def thumbnail(self, asset_id: str, size: int) -> ProxiedImage:
        """Fetch the thumbnail of an asset from the server."""
        response = await self._client.request("GET", f"/api/assets/{quote(asset_id, safe='')}/thumbnail?size={size}")
        return await _build_image(response.status, response.headers, _iter_body(response.body))

    @contextlib.asynccontextmanager
    async def open_image(self, url: str) -> AsyncIterator[ProxiedImage]:
        """Open the original image at `url`, of at most IMAGE_BYTES_MAX, for at most IMAGE_TIMEOUT_S."""
        async with self._slots:
            opening = self._stream_from_server(url)
            is_own = opening is not None
            with map_exceptions("the image host"):
                async with asyncio.timeout(IMAGE_TIMEOUT_S), opening or self._stream_from_host(url) as head:
                    yield await _build_image(head.status_code, head.headers, head.aiter_raw(), with_videos=is_own)

    async def read_part(self, url: str, start: int, stop: int | None) -> ImagePart | None:
        """Read the bytes from `start` to `stop`, or to the end, at most PART_BYTES_MAX.

        None if that is impossible. Only the server itself is asked for parts.
        """
        stop = min(stop or start + PART_BYTES_MAX, start + PART_BYTES_MAX)
        async with self._slots, asyncio.timeout(IMAGE_TIMEOUT_S):
            head = await self._read_range(url, 0, HEAD_BYTES)
            if head is None:
                return None
            mime = _displayable_type(head[1], with_videos=True)
            found = await self._read_range(url, start, stop)
        return found and ImagePart(mime, *found)

    async def _read_range(self, url: str, start: int, stop: int) -> tuple[str, bytes] | None:
        """Return the Content-Range and the bytes; None if the server sends no part."""
        opening = self._stream_from_server(url, {"range": f"bytes={start}-{stop - 1}"})
        if opening is None:
            return None
        with map_exceptions("the server"):
            async with opening as response:
                content_range = _get_plain_header(response.headers, "content-range")
                if response.status_code != HTTPStatus.PARTIAL_CONTENT or content_range is None:
                    return None
                return content_range, b"".join(
                    [piece async for piece in _limit_bytes(response.aiter_raw(), stop - start)]
                )

    def _stream_from_server(
        self, url: str, headers: Mapping[str, str] = {}
    ) -> contextlib.AbstractAsyncContextManager[httpx.Response] | None:
        """Open an image stored on the server itself; None if `url` is on another host.

        Only host and port are compared: behind a TLS-terminating proxy the server may believe that it is reached by
        plain HTTP.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            raise _image_unavailable("its URL is invalid") from None
        is_relative = not parts.scheme and not parts.netloc and parts.path.startswith("/")
        if not is_relative and parts.netloc.lower() != self._base.netloc.lower():
            return None
        path = quote(parts.path.removeprefix(self._base.path.rstrip("/")), safe=_URL_SAFE_CHARS)
        query = quote(parts.query, safe=_URL_SAFE_CHARS)
        return self._client.stream(f"{path}?{query}" if query else path, {"accept": "image/*", **headers})

    @contextlib.asynccontextmanager
    async def _stream_from_host(self, url: str) -> AsyncIterator[httpx.Response]:
        """Open an image on another host, without credentials.

        It connects to the very address that was checked. With a second lookup of the name the check would be worthless:
        the host's DNS could return a private address then (DNS rebinding). A proxy would look the name up itself, so
        proxies are ignored.
        """
        try:
            target = httpx.URL(url)
        except httpx.InvalidURL:
            raise _image_unavailable("its URL is invalid") from None
        if target.scheme != "https" or target.userinfo or (target.port or HTTPS_PORT) != HTTPS_PORT:
            raise _image_unavailable("its URL is not a plain https URL")
        host = target.raw_host.decode("ascii")
        addresses = await self._resolver(host)
        if not addresses or not all(is_public_address(address) for address in addresses):
            raise _image_unavailable(f"{printable(host)} is not a public host")
        if self._ssl_context is None:
            self._ssl_context = await asyncio.to_thread(create_ssl_context)
        async with (
            httpx.AsyncClient(
                verify=self._ssl_context,
                trust_env=False,
                follow_redirects=False,
                timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
                headers={"host": host, "accept": "image/*", "accept-encoding": "identity", "user-agent": "splootd"},
            ) as client,
            client.stream("GET", target.copy_with(host=addresses[0]), extensions={"sni_hostname": host}) as response,
        ):
            yield response


async def _build_image(
    status: int, headers: Mapping[str, str], pieces: AsyncIterator[bytes], *, with_videos: bool = False
) -> ProxiedImage:
    if status != HTTPStatus.OK:
        body = b"".join([piece async for piece in _limit_bytes(pieces, HEAD_BYTES * 64)])
        response = HttpResponse(status, headers, body)
        if isinstance(error := error_for(response), Unauthenticated):
            raise error
        raise _image_unavailable(f"its host responded with {status}", 404 if status == HTTPStatus.NOT_FOUND else 502)
    if headers.get("content-encoding", "identity") != "identity":
        raise _image_unavailable("its host sent a compressed response, which was not requested")
    content_length = headers.get("content-length", "")
    size = (
        int(content_length)
        if content_length.isascii() and content_length.isdecimal() and len(content_length) < 19
        else None
    )
    if size is not None and size > IMAGE_BYTES_MAX:
        raise _image_unavailable("it is too large")
    bounded = _limit_bytes(pieces, IMAGE_BYTES_MAX)
    head = bytearray()
    async for piece in bounded:
        head += piece
        if len(head) >= HEAD_BYTES:
            break
    mime = _displayable_type(bytes(head), with_videos=with_videos)
    etag, disposition = (_get_plain_header(headers, name) for name in ("etag", "content-disposition"))
    if disposition is not None and not disposition.startswith("inline;"):
        disposition = None
    return ProxiedImage(mime, size, etag, disposition, _prepend(bytes(head), bounded))


def _displayable_type(head: bytes, *, with_videos: bool) -> str:
    """Return the type of a content that starts with `head`. Raises RequestError if browsers cannot show it safely."""
    kind = sniff(head[:HEAD_BYTES])
    is_image = kind is not None and kind[0].startswith("image/") and kind[0] not in _BLOCKED_TYPES
    if kind is None or not (is_image or (with_videos and kind[0] in _VIDEO_TYPES)):
        raise _image_unavailable("its content is not an image")
    return kind[0]


def _get_plain_header(headers: Mapping[str, str], name: str) -> str | None:
    value = headers.get(name, "")
    return value if value.isascii() and value.isprintable() and 0 < len(value) <= HEADER_CHARS_MAX[name] else None


async def _limit_bytes(pieces: AsyncIterator[bytes], bytes_max: int) -> AsyncIterator[bytes]:
    left = bytes_max
    async for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise _image_unavailable("it is too large")
        yield piece


async def _prepend(head: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for piece in rest:
        yield piece


async def _iter_body(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _image_unavailable(detail: str, status: int = 502) -> RequestError:
    return RequestError("image_unavailable", f"the image cannot be shown: {detail}", status=status)
