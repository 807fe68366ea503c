"""Response with an original: the whole file or one byte range (RFC 9110, section 14), with conditional requests."""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sploot_server.domain.entities import Asset

# A backslash or quote needs an escape, and some clients decode `%41` in a quoted string (RFC 6266, appendix D).
UNSAFE_IN_QUOTES = re.compile(r'[^ -~]|["%\\]')
RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))", re.IGNORECASE)


class RangeNotSatisfiable(Exception):
    """The range starts at or after the end of the file."""


class RangeResponse(Response):
    """Streams an asset. `read(start, stop)` yields its bytes; `headers` must contain its `etag`.

    A request for several ranges receives the whole file, because a server may ignore Range (RFC 9110, 14.2).
    """

    def __init__(
        self, asset: Asset, read: Callable[[int, int], AsyncIterator[bytes]], headers: Mapping[str, str]
    ) -> None:
        super().__init__(media_type=asset.mime, headers=headers)
        self.headers["accept-ranges"] = "bytes"
        self.headers["content-disposition"] = content_disposition(asset.filename)
        self._asset = asset
        self._read = read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_headers, size = Headers(scope=scope), self._asset.size_bytes
        etag = self.headers["etag"]
        if is_not_modified(etag, request_headers):  # evaluated before Range (RFC 9110, 13.2.2)
            return await self._send(send, HTTPStatus.NOT_MODIFIED, 0, 0, scope)
        try:
            # If-Range with another validator asks for the whole file, never for 412 (RFC 9110, 13.1.5).
            byte_range = (
                parse_range(request_headers.get("range", ""), size)
                if request_headers.get("if-range", etag) == etag
                else None
            )
        except RangeNotSatisfiable:
            self.headers["content-range"] = f"bytes */{size}"
            self.headers["cache-control"] = "no-store"  # the image is cacheable forever, this error is not
            return await self._send(send, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, 0, scope)
        if byte_range is None:
            return await self._send(send, HTTPStatus.OK, 0, size, scope)
        start, stop = byte_range
        self.headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
        return await self._send(send, HTTPStatus.PARTIAL_CONTENT, start, stop, scope)

    async def _send(self, send: Send, status: HTTPStatus, start: int, stop: int, scope: Scope) -> None:
        """Send the response.

        The first chunk is read before the status is sent: if the original is missing, the client still gets an error
        status instead of a truncated 200.
        """
        self.headers["content-length"] = str(stop - start)
        if status is HTTPStatus.NOT_MODIFIED:  # here the field would state the length of the file (RFC 9110, 8.6)
            del self.headers["content-length"]
        has_no_body = scope["method"] == "HEAD" or start == stop
        chunks = _empty() if has_no_body else self._read(start, stop)
        first = await anext(chunks, b"")
        await send({"type": "http.response.start", "status": status, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": first, "more_body": True})
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def is_not_modified(etag: str, request_headers: Headers) -> bool:
    """Return True if If-None-Match lists `etag`. The comparison is weak (RFC 9110, 13.1.2): `W/"x"` matches `"x"`."""
    known = request_headers.get("if-none-match", "")
    return known.strip() == "*" or etag in known


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Return the requested range as `(start, stop)`, stop excluded, or None to send the whole file.

    An invalid or unknown Range is ignored, not an error (RFC 9110, 14.2). Raise RangeNotSatisfiable.
    """
    match = RANGE.fullmatch(header)
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:  # `bytes=-500`: the last 500 bytes, or the whole file if it is shorter
        start, stop = max(size - int(suffix), 0), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= stop:
        raise RangeNotSatisfiable
    return start, stop


def content_disposition(filename: str) -> str:
    """Return a Content-Disposition with the file name (RFC 6266).

    A name that a quoted string cannot carry to every client is sent as `filename*` (RFC 8187), after a replacement in
    ASCII (RFC 6266, appendix D).
    """
    plain = UNSAFE_IN_QUOTES.sub("_", filename)
    extended = "" if plain == filename else f"; filename*=UTF-8''{quote(filename, safe='')}"
    return f'inline; filename="{plain}"{extended}'


async def _empty() -> AsyncIterator[bytes]:
    return
    yield b""
