"""Routes of share links and of shared images.

A share link serves a re-encoded image, because an original may contain the place, time and device in its metadata.
"""

import secrets
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.domain.entities import InvalidInput, NotFound
from sploot_server.domain.image_formats import is_readable
from sploot_server.http import serializers
from sploot_server.http.authentication import SHARE_PREFIX
from sploot_server.http.request_body import read_object
from sploot_server.http.routes.images import IMAGE_HEADERS, thumbnail_response
from sploot_server.http.routes.params import PAGE_MAX, get_owner, original_url, parse_whole_number
from sploot_server.http.routes.share_page import ended_page, share_page
from sploot_server.library.service import Library, now_ms
from sploot_server.library.thumbnails import SHARED_PX
from sploot_server.storage.shares import ShareLink, ShareStore

DAY_MS = 86_400_000
DAYS_MAX = 3_650
SLUG_BYTES = 16  # of randomness; the slug is the only protection of a shared image
SHARED_IMAGE_HEADERS = {
    **IMAGE_HEADERS,
    "cache-control": "public, max-age=60",  # short, so that caches forget a revoked link soon
    "cross-origin-resource-policy": "cross-origin",
    "x-robots-tag": "noindex",
}


class ShareRoutes:
    """Routes of share links."""

    def __init__(self, library: Library, shares: ShareStore) -> None:
        self._library = library
        self._shares = shares

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/shares", self.list, methods=["GET"]),
            Route("/api/assets/{id}/share", self.share, methods=["POST"]),
            Route("/api/assets/{id}/share", self.unshare, methods=["DELETE"]),
            Route(f"{SHARE_PREFIX}{{slug}}", self.show, methods=["GET"]),
            Route(f"{SHARE_PREFIX}{{slug}}/picture", self.picture, methods=["GET"]),
        ]

    async def list(self, request: Request) -> Response:
        """List the share links of the user, newest first."""
        query = request.query_params
        limit, offset = min(parse_whole_number(query, "limit", 50), PAGE_MAX), parse_whole_number(query, "offset", 0)
        links = await self.find_links(request, limit + 1, offset)
        shares = [
            {
                "shareUrl": url,
                "createdAt": serializers.format_time(link.created_at_ms),
                "expiresAt": serializers.format_optional_time(link.expires_at_ms),
                "asset": serializers.asset_to_json(link.asset, original_url(request, link.asset)),
            }
            for url, link in links[:limit]
        ]
        return JSONResponse({"shares": shares, "hasMore": len(links) > limit})

    async def find_links(self, request: Request, limit: int, offset: int = 0) -> Sequence[tuple[str, ShareLink]]:
        """Return the share links of the user, newest first, each after its URL."""
        links = await self._shares.list_links(get_owner(request), now_ms=now_ms(), limit=limit, offset=offset)
        return [(_share_url(request, link.slug), link) for link in links]

    async def share(self, request: Request) -> Response:
        url, expires_at_ms = await self.create(request)
        return JSONResponse({"shareUrl": url, "expiresAt": serializers.format_optional_time(expires_at_ms)})

    async def create(self, request: Request) -> tuple[str, int | None]:
        """Create a share link, or change the end of the existing one; return its URL and its end.

        The link ends after `days` of the body, or never if they are null; without `days` its end stays as it is.
        """
        has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
        body = await read_object(request) if has_body else {}
        days = body.get("days")
        if days is not None and (type(days) is not int or not 1 <= days <= DAYS_MAX):
            raise InvalidInput(f"days must be a whole number from 1 to {DAYS_MAX}")
        asset = await self._library.for_owner(get_owner(request)).get(request.path_params["id"])
        if not is_readable(asset.mime):
            raise InvalidInput("This file type cannot be shared: the server cannot decode it")
        new_slug = secrets.token_urlsafe(SLUG_BYTES)
        now = now_ms()
        created = await self._shares.create_link(
            *(asset.id, get_owner(request), new_slug),
            now_ms=now,
            expires_at_ms=None if days is None else now + days * DAY_MS,
            keeps_end="days" not in body,
        )
        if created is None:
            raise NotFound
        slug, expires_at_ms = created
        return _share_url(request, slug), expires_at_ms

    async def unshare(self, request: Request) -> Response:
        asset = await self._library.for_owner(get_owner(request)).get(request.path_params["id"])
        await self._shares.revoke_link(asset.id, get_owner(request))
        return JSONResponse({"message": "Asset no longer shared"})

    async def show(self, request: Request) -> Response:
        """Show the page of a link; to a client that accepts pictures and no pages, such as `<img>`, the picture."""
        accepted = request.headers.get("accept", "")
        if "image/" in accepted and "text/html" not in accepted:
            return await self.picture(request)
        slug = request.path_params["slug"]
        asset = await self._shares.get_shared_asset(slug, now_ms=now_ms())
        return ended_page() if asset is None else share_page(asset, f"{_share_url(request, slug)}/picture")

    async def picture(self, request: Request) -> Response:
        slug = request.path_params["slug"]
        asset = await self._shares.get_shared_asset(slug, now_ms=now_ms())
        if asset is None:
            raise NotFound
        headers = {**SHARED_IMAGE_HEADERS, "etag": f'"{slug}"'}  # it must not tell the hash of the original
        return await thumbnail_response(request, self._library, asset, SHARED_PX, headers, owner=SHARE_PREFIX)


def _share_url(request: Request, slug: str) -> str:
    return f"{str(request.base_url).rstrip('/')}{SHARE_PREFIX}{slug}"
