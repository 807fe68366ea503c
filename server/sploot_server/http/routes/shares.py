"""Routes of share links and of shared images.

A share link serves a re-encoded image, because an original may contain the place, time and device in its metadata.
"""

import secrets

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.domain.entities import InvalidInput, NotFound
from sploot_server.domain.image_formats import is_readable
from sploot_server.http.authentication import SHARE_PREFIX
from sploot_server.http.routes.images import IMAGE_HEADERS, thumbnail_response
from sploot_server.http.routes.params import get_owner
from sploot_server.library.service import Library, now_ms
from sploot_server.library.thumbnails import SHARED_PX
from sploot_server.storage.shares import ShareStore

SLUG_BYTES = 16  # of randomness; the slug is the only protection of a shared image
SHARED_IMAGE_HEADERS = {
    **IMAGE_HEADERS,
    "cache-control": "public, max-age=60",  # short, so that caches forget a revoked link soon
    "x-robots-tag": "noindex",
}


class ShareRoutes:
    """Routes of share links."""

    def __init__(self, library: Library, shares: ShareStore) -> None:
        self._library = library
        self._shares = shares

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/assets/{id}/share", self.share, methods=["POST"]),
            Route("/api/assets/{id}/share", self.unshare, methods=["DELETE"]),
            Route(f"{SHARE_PREFIX}{{slug}}", self.show, methods=["GET"]),
        ]

    async def share(self, request: Request) -> Response:
        """Create a share link, or return the existing one."""
        asset = await self._library.for_owner(get_owner(request)).get(request.path_params["id"])
        if not is_readable(asset.mime):
            raise InvalidInput("This file type cannot be shared: the server cannot decode it")
        new_slug = secrets.token_urlsafe(SLUG_BYTES)
        slug = await self._shares.create_link(asset.id, get_owner(request), new_slug, now_ms=now_ms())
        if slug is None:
            raise NotFound
        return JSONResponse({"shareUrl": f"{str(request.base_url).rstrip('/')}{SHARE_PREFIX}{slug}"})

    async def unshare(self, request: Request) -> Response:
        asset = await self._library.for_owner(get_owner(request)).get(request.path_params["id"])
        await self._shares.revoke_link(asset.id, get_owner(request))
        return JSONResponse({"message": "Asset no longer shared"})

    async def show(self, request: Request) -> Response:
        asset = await self._shares.get_shared_asset(request.path_params["slug"])
        if asset is None:
            raise NotFound
        return await thumbnail_response(request, self._library, asset, SHARED_PX, SHARED_IMAGE_HEADERS)
