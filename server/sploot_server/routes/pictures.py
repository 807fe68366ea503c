"""The pictures themselves."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sploot_server.library import Library
from sploot_server.originals import Original
from sploot_server.routes.values import owner_of


class Pictures:
    def __init__(self, library: Library) -> None:
        self._library = library

    def routes(self) -> list[BaseRoute]:
        return [Route("/api/assets/{id}/original", self.original, methods=["GET"], name="original")]

    async def original(self, request: Request) -> Response:
        library = self._library.of(owner_of(request))
        asset = await library.get(request.path_params["id"])
        headers = {
            "etag": f'"{asset.checksum}"',
            "cache-control": "private, max-age=31536000, immutable",
            "content-security-policy": "sandbox; default-src 'none'",
            "x-content-type-options": "nosniff",
        }
        return Original(asset, partial(library.read, asset), headers)
