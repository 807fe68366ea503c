"""An original as an HTTP answer: whole or one range of it (RFC 9110, section 14), streamed from wherever it is kept."""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sploot_server.model import Asset

RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))", re.IGNORECASE)


class Unsatisfiable(Exception):
    """The range begins behind the end."""


class Original(Response):
    """The bytes of an asset, as `read` brings them from one place to before another; `headers` have its `etag`.

    More than one range is answered with the whole, as the RFC allows.
    """

    def __init__(
        self, asset: Asset, read: Callable[[int, int], AsyncIterator[bytes]], headers: Mapping[str, str]
    ) -> None:
        super().__init__(media_type=asset.mime, headers=headers)
        self.headers["accept-ranges"] = "bytes"
        self.headers["content-disposition"] = disposition(asset.filename)
        self._asset = asset
        self._read = read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked, size = Headers(scope=scope), self._asset.size_bytes
        etag = self.headers["etag"]
        if has_it(etag, asked):
            return await self._send(send, HTTPStatus.NOT_MODIFIED, 0, 0, scope)
        try:
            wanted = range_of(asked.get("range", ""), size) if asked.get("if-range", etag) == etag else None
        except Unsatisfiable:
            self.headers["content-range"] = f"bytes */{size}"
            self.headers["cache-control"] = "no-store"  # the picture may be kept for ever, a refusal may not
            return await self._send(send, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, 0, scope)
        if wanted is None:
            return await self._send(send, HTTPStatus.OK, 0, size, scope)
        start, stop = wanted
        self.headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
        return await self._send(send, HTTPStatus.PARTIAL_CONTENT, start, stop, scope)

    async def _send(self, send: Send, status: HTTPStatus, start: int, stop: int, scope: Scope) -> None:
        """The first piece is read before anything is said, so that a missing original is still an error of its own."""
        self.headers["content-length"] = str(stop - start)
        if status is HTTPStatus.NOT_MODIFIED:  # where it would be the length of the picture
            del self.headers["content-length"]
        silent = scope["method"] == "HEAD" or start == stop
        pieces = _none() if silent else self._read(start, stop)
        first = await anext(pieces, b"")
        await send({"type": "http.response.start", "status": status, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": first, "more_body": True})
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def has_it(etag: str, asked: Headers) -> bool:
    """Whether the client says that it has what `etag` names; weakly is enough (RFC 9110, 13.1.2)."""
    known = asked.get("if-none-match", "")
    return known.strip() == "*" or etag in known


def range_of(asked: str, size: int) -> tuple[int, int] | None:
    """The one range asked for, `start` to before `stop`; None if there is none to be honoured. Raises Unsatisfiable."""
    found = RANGE.fullmatch(asked)
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        start, stop = max(size - int(suffix), 0), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= stop:
        raise Unsatisfiable
    return start, stop


def disposition(filename: str) -> str:
    """The header that names the file and lets browsers show it (RFC 6266)."""
    quoted = quote(filename, safe="")
    return f'inline; filename="{filename}"' if quoted == filename else f"inline; filename*=utf-8''{quoted}"


async def _none() -> AsyncIterator[bytes]:
    return
    yield b""
