"""Pictures that their owners show to everybody who has the link.

What is shown is a still made of pixels alone, so that no link tells where a picture was taken, with what, or by whom.
"""

import secrets

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.accounts.guard import SHARED
from sploot_server.assets import ShareStore
from sploot_server.formats import is_readable
from sploot_server.library import Library, now_ms
from sploot_server.model import Invalid, NotFound
from sploot_server.routes.pictures import HEADERS, still
from sploot_server.routes.values import owner_of
from sploot_server.thumbnails import SHOWN_PX

SLUG_BYTES = 16  # of chance: nobody guesses one
SHOWN = {
    **HEADERS,
    "cache-control": "public, max-age=60",  # a link that was ended is soon dead everywhere
    "x-robots-tag": "noindex",
}


class Shares:
    def __init__(self, library: Library, shares: ShareStore) -> None:
        self._library = library
        self._shares = shares

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/assets/{id}/share", self.share, methods=["POST"]),
            Route("/api/assets/{id}/share", self.unshare, methods=["DELETE"]),
            Route(f"{SHARED}{{slug}}", self.show, methods=["GET"]),
        ]

    async def share(self, request: Request) -> Response:
        """Asked again, it gives the same link."""
        asset = await self._library.of(owner_of(request)).get(request.path_params["id"])
        if not is_readable(asset.mime):
            raise Invalid("Only pictures that can be read here can be shared")
        fresh = secrets.token_urlsafe(SLUG_BYTES)
        slug = await self._shares.share(asset.id, owner_of(request), fresh, now_ms=now_ms())
        if slug is None:
            raise NotFound
        return JSONResponse({"shareUrl": f"{str(request.base_url).rstrip('/')}{SHARED}{slug}"})

    async def unshare(self, request: Request) -> Response:
        asset = await self._library.of(owner_of(request)).get(request.path_params["id"])
        await self._shares.unshare(asset.id, owner_of(request))
        return JSONResponse({"message": "Asset no longer shared"})

    async def show(self, request: Request) -> Response:
        asset = await self._shares.shared(request.path_params["slug"])
        if asset is None:
            raise NotFound
        return await still(request, self._library, asset, SHOWN_PX, SHOWN)
