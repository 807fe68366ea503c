"""Routes to list, get, edit and delete assets, and for tags."""

from collections.abc import Mapping
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.domain.asset_query import SEED_MAX, AssetQuery, AssetSort
from sploot_server.domain.entities import InvalidInput
from sploot_server.http import serializers
from sploot_server.http.request_body import read_object
from sploot_server.http.routes.params import (
    PAGE_MAX,
    get_owner,
    original_url,
    parse_choice,
    parse_filter,
    parse_flag,
    parse_strings,
    parse_whole_number,
)
from sploot_server.library.service import Library


class AssetRoutes:
    """Routes of assets and tags."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/assets", self.list, methods=["GET"]),
            Route("/api/assets/{id}", self.get, methods=["GET"]),
            Route("/api/assets/{id}", self.edit, methods=["PATCH"]),
            Route("/api/assets/{id}", self.delete, methods=["DELETE"]),
            Route("/api/assets/{id}/tags", self.add_tags, methods=["POST"]),
            Route("/api/assets/{id}/copied", self.mark_copied, methods=["POST"]),
            Route("/api/tags", self.tags, methods=["GET"]),
            Route("/api/folders", self.folders, methods=["GET"]),
        ]

    async def list(self, request: Request) -> Response:
        query = _parse_asset_query(request.query_params)
        page = await self._library.for_owner(get_owner(request)).list(query)
        assets = [
            serializers.listed_asset_to_json(each, original_url(request, each), page.near_duplicate_counts[each.id])
            for each in page.assets
        ]
        pagination = {
            "total": page.total,
            "limit": query.limit,
            "offset": query.offset,
            "hasMore": query.offset + len(assets) < page.total,
        }
        return JSONResponse({"assets": assets, "pagination": pagination})

    async def get(self, request: Request) -> Response:
        asset = await self._library.for_owner(get_owner(request)).get(request.path_params["id"])
        return JSONResponse({"asset": serializers.asset_to_json(asset, original_url(request, asset))})

    async def edit(self, request: Request) -> Response:
        body = await read_object(request)
        tags = None if body.get("tags") is None else parse_strings(body["tags"], "tags")
        library = self._library.for_owner(get_owner(request))
        asset = await library.edit(request.path_params["id"], favorite=parse_flag(body, "favorite"), tags=tags)
        return JSONResponse({"asset": serializers.asset_to_json(asset, original_url(request, asset))})

    async def delete(self, request: Request) -> Response:
        asset_id, library = request.path_params["id"], self._library.for_owner(get_owner(request))
        if request.query_params.get("permanent") == "true":
            await library.purge(asset_id)
            return JSONResponse({"message": "Asset permanently deleted"})
        deleted_at = serializers.format_time(await library.delete(asset_id))
        return JSONResponse({"message": "Asset soft deleted", "asset": {"id": asset_id, "deletedAt": deleted_at}})

    async def add_tags(self, request: Request) -> Response:
        body = await read_object(request)
        names = parse_strings(body.get("tagNames", []), "tagNames")
        tag_ids = parse_strings(body.get("tagIds", []), "tagIds")
        library = self._library.for_owner(get_owner(request))
        added = await library.add_tags(request.path_params["id"], names=names, tag_ids=tag_ids)
        return JSONResponse({"success": True, "addedTags": [serializers.tag_to_json(each) for each in added]})

    async def mark_copied(self, request: Request) -> Response:
        """Record that the asset was taken out to be used: `sortBy=copiedAt` lists it first."""
        await self._library.for_owner(get_owner(request)).mark_copied(request.path_params["id"])
        return JSONResponse({"message": "Asset marked as copied"})

    async def folders(self, request: Request) -> Response:
        folders = await self._library.for_owner(get_owner(request)).list_folders()
        return JSONResponse({"folders": [{"name": each.name, "assetCount": each.asset_count} for each in folders]})

    async def tags(self, request: Request) -> Response:
        tags = await self._library.for_owner(get_owner(request)).list_tags()
        return JSONResponse({"success": True, "tags": [serializers.tag_count_to_json(each) for each in tags]})


def _parse_asset_query(parameters: Mapping[str, str]) -> AssetQuery:
    """Parse the query of a list. Every filter but `favorite` and `tagId` extends Sploot's API."""
    order = parameters.get("sortOrder", "desc")
    if order not in ("asc", "desc"):
        raise InvalidInput("sortOrder must be asc or desc")
    return AssetQuery(
        filter=replace(
            parse_filter(parameters),
            favorite=None if "favorite" not in parameters else parameters["favorite"] == "true",
            is_deleted=parameters.get("trash") == "true",
        ),
        sort=parse_choice(parameters.get("sortBy", "createdAt"), AssetSort, "sortBy"),
        descending=order == "desc",
        seed=min(parse_whole_number(parameters, "seed", 0), SEED_MAX),
        limit=min(parse_whole_number(parameters, "limit", 50), PAGE_MAX),
        offset=parse_whole_number(parameters, "offset", 0),
    )
