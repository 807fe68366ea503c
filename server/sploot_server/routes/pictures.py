"""The pictures themselves."""

from collections.abc import Mapping
from functools import partial

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.library import Library
from sploot_server.model import Asset
from sploot_server.originals import Original, has_it
from sploot_server.routes.values import owner_of, whole_number
from sploot_server.thumbnails import nearest

SIDE_PX = 256
HEADERS = {
    "cache-control": "private, max-age=31536000, immutable",  # a content never changes
    "content-security-policy": "sandbox; default-src 'none'",
    "x-content-type-options": "nosniff",
}


class Pictures:
    def __init__(self, library: Library) -> None:
        self._library = library

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/assets/{id}/original", self.original, methods=["GET"], name="original"),
            Route("/api/assets/{id}/thumbnail", self.thumbnail, methods=["GET"]),
        ]

    async def thumbnail(self, request: Request) -> Response:
        size = whole_number(request.query_params, "size", SIDE_PX)
        library = self._library.of(owner_of(request))
        asset = await library.get(request.path_params["id"])
        return await still(request, library, asset, size, HEADERS)

    async def original(self, request: Request) -> Response:
        library = self._library.of(owner_of(request))
        asset = await library.get(request.path_params["id"])
        return Original(asset, partial(library.read, asset), {**HEADERS, "etag": f'"{asset.checksum}"'})


async def still(request: Request, library: Library, asset: Asset, side_px: int, headers: Mapping[str, str]) -> Response:
    """A still of about that size, which is made unless the client has it."""
    etag = f'"{asset.checksum}-{nearest(side_px)}"'
    tagged = {**headers, "etag": etag}
    if has_it(etag, request.headers):
        return Response(status_code=304, headers=tagged)
    return FileResponse(await library.thumbnail(asset, side_px), headers=tagged, media_type="image/webp")
