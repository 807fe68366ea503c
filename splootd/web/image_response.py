"""Responses with an image of the library, streamed from the server to the browser."""

import re
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from splootd.errors import SplootError
from splootd.remote.image_proxy import ImagePart, ProxiedImage

IMAGE_HEADERS = {
    "cache-control": "private, max-age=86400",  # the image of an asset id never changes
    "content-security-policy": "sandbox; default-src 'none'",
    "content-disposition": "inline",
}


# A browser plays a video in a document of its own, which cannot load the video in a sandbox.
VIDEO_HEADERS = {**IMAGE_HEADERS, "content-security-policy": "default-src 'none'; media-src 'self'"}
RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})")


def parse_range(http: Request) -> tuple[int, int | None] | None:
    """Return the start and the stop of the one range that is asked for, as players do; None for the whole."""
    match = RANGE.fullmatch(http.headers.get("range", ""))
    return match and (int(match[1]), int(match[2]) + 1 if match[2] else None)


def part_response(part: ImagePart) -> Response:
    """Return a sandboxed response with a part of an image or video."""
    headers = {**_headers(part.mime), "accept-ranges": "bytes", "content-range": part.content_range}
    return Response(part.data, status_code=206, headers=headers, media_type=part.mime)


def image_response(image: ProxiedImage, http: Request, resources: AsyncExitStack) -> Response:
    """Return a sandboxed image response, or 304 when the browser has the image."""
    sent = {"etag": image.etag, "content-disposition": image.disposition}
    headers = {**_headers(image.mime), **{name: value for name, value in sent.items() if value}}
    return _ImageResponse(image, http, resources, headers)


def _headers(mime: str) -> Mapping[str, str]:
    return VIDEO_HEADERS if mime.startswith("video/") else IMAGE_HEADERS


class _ImageResponse(Response):
    """Streams an image to the browser. `resources` keeps the upstream response open meanwhile."""

    def __init__(
        self, image: ProxiedImage, http: Request, resources: AsyncExitStack, headers: Mapping[str, str]
    ) -> None:
        is_cached = image.etag is not None and image.etag in http.headers.get("if-none-match", "")
        super().__init__(status_code=304 if is_cached else 200, headers=headers, media_type=image.mime)
        if is_cached or image.size is None:
            del self.headers["content-length"]
        else:
            self.headers["content-length"] = str(image.size)
        self._chunks = image.pieces
        self._http = http
        self._resources = resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # After the response head the status cannot change any more. A body that ends early is the only way to report
        # an upstream error; the browser detects it by the Content-Length or the missing last chunk.
        with suppress(SplootError):
            async with self._resources:
                await self._send_image(send)

    async def _send_image(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if self.status_code == 200:
            async for chunk in self._chunks:
                if await self._http.is_disconnected():
                    return
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
