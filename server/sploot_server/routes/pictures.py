"""The pictures themselves."""

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.library import Library
from sploot_server.routes.values import owner_of


class Pictures:
    def __init__(self, library: Library) -> None:
        self._library = library

    def routes(self) -> list[BaseRoute]:
        return [Route("/api/assets/{id}/original", self.original, methods=["GET"], name="original")]

    async def original(self, request: Request) -> Response:
        asset, path = await self._library.of(owner_of(request)).original(request.path_params["id"])
        headers = {
            "etag": f'"{asset.checksum}"',
            "cache-control": "private, max-age=31536000, immutable",
            "content-security-policy": "sandbox; default-src 'none'",
            "x-content-type-options": "nosniff",
        }
        return FileResponse(
            path, headers=headers, filename=asset.filename, media_type=asset.mime, content_disposition_type="inline"
        )
