"""Routes of originals and thumbnails."""

from collections.abc import Mapping
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sploot_server.domain.entities import Asset
from sploot_server.http.range_response import RangeResponse, is_not_modified
from sploot_server.http.routes.params import get_owner, parse_whole_number
from sploot_server.library.service import Library
from sploot_server.library.thumbnails import nearest_size

DEFAULT_SIDE_PX = 256
IMAGE_HEADERS = {
    "cache-control": "private, max-age=31536000, immutable",  # the content of an asset never changes
    # If a browser takes an uploaded file for HTML, its scripts must not run with the origin of this server.
    "content-security-policy": "sandbox; default-src 'none'",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",  # no page of another website shows or measures them
}
# A browser plays a video in a document of its own, which cannot load the video in a sandbox.
VIDEO_HEADERS = {**IMAGE_HEADERS, "content-security-policy": "default-src 'none'; media-src 'self'"}


class ImageRoutes:
    """Routes of images."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/assets/{id}/original", self.original, methods=["GET"], name="original"),
            Route("/api/assets/{id}/thumbnail", self.thumbnail, methods=["GET"]),
        ]

    async def thumbnail(self, request: Request) -> Response:
        size = parse_whole_number(request.query_params, "size", DEFAULT_SIDE_PX)
        library = self._library.for_owner(get_owner(request))
        asset = await library.get(request.path_params["id"], with_deleted=True)  # the trash shows thumbnails
        headers = {**IMAGE_HEADERS, "etag": f'"{asset.id}-{nearest_size(size)}"'}
        return await thumbnail_response(request, library, asset, size, headers, owner=get_owner(request))

    async def original(self, request: Request) -> Response:
        library = self._library.for_owner(get_owner(request))
        asset = await library.get(request.path_params["id"])
        headers = VIDEO_HEADERS if asset.mime.startswith("video/") else IMAGE_HEADERS
        return RangeResponse(asset, partial(library.read, asset), {**headers, "etag": f'"{asset.checksum}"'})


async def thumbnail_response(
    request: Request, library: Library, asset: Asset, side_px: int, headers: Mapping[str, str], *, owner: str
) -> Response:
    """Return a thumbnail of the nearest size, or 304 without rendering it if the client has it.

    `headers` must contain its `etag`.
    """
    if is_not_modified(headers["etag"], request.headers):
        return Response(status_code=304, headers=headers)
    thumbnail = await library.get_thumbnail(asset, side_px, owner=owner)
    return Response(thumbnail, headers=headers, media_type="image/webp")
