"""Assets and tags: listed, looked at, changed, removed."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server import wire
from sploot_server.bodies import read_json
from sploot_server.library import Library
from sploot_server.model import AssetQuery, Invalid
from sploot_server.routes.values import PAGE_MAX, object_of, owner_of, strings_of, time_ms, url_of, whole_number


class Assets:
    def __init__(self, library: Library) -> None:
        self._library = library

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/assets", self.list, methods=["GET"]),
            Route("/api/assets/{id}", self.get, methods=["GET"]),
            Route("/api/assets/{id}", self.edit, methods=["PATCH"]),
            Route("/api/assets/{id}", self.delete, methods=["DELETE"]),
            Route("/api/assets/{id}/tags", self.add_tags, methods=["POST"]),
            Route("/api/tags", self.tags, methods=["GET"]),
        ]

    async def list(self, request: Request) -> Response:
        query = _asset_query(request.query_params)
        page = await self._library.of(owner_of(request)).list(query)
        assets = [wire.listed(asset, url_of(request, asset)) for asset in page.assets]
        pagination = {
            "total": page.total,
            "limit": query.limit,
            "offset": query.offset,
            "hasMore": query.offset + len(assets) < page.total,
        }
        return JSONResponse({"assets": assets, "pagination": pagination})

    async def get(self, request: Request) -> Response:
        asset = await self._library.of(owner_of(request)).get(request.path_params["id"])
        return JSONResponse({"asset": wire.listed(asset, url_of(request, asset))})

    async def edit(self, request: Request) -> Response:
        body = object_of(await read_json(request, malformed="The request body is not valid JSON"))
        favorite, tags = body.get("favorite"), body.get("tags")
        if favorite is not None and not isinstance(favorite, bool):
            raise Invalid("favorite must be true or false")
        if tags is not None:
            tags = strings_of(tags, "tags")
        library = self._library.of(owner_of(request))
        asset = await library.edit(request.path_params["id"], favorite=favorite, tags=tags)
        return JSONResponse({"asset": wire.listed(asset, url_of(request, asset))})

    async def delete(self, request: Request) -> Response:
        asset_id, library = request.path_params["id"], self._library.of(owner_of(request))
        if request.query_params.get("permanent") == "true":
            await library.purge(asset_id)
            return JSONResponse({"message": "Asset permanently deleted"})
        deleted_at = wire.iso(await library.delete(asset_id))
        return JSONResponse({"message": "Asset soft deleted", "asset": {"id": asset_id, "deletedAt": deleted_at}})

    async def add_tags(self, request: Request) -> Response:
        body = object_of(await read_json(request, malformed="The request body is not valid JSON"))
        names = strings_of(body.get("tagNames", []), "tagNames")
        tag_ids = strings_of(body.get("tagIds", []), "tagIds")
        library = self._library.of(owner_of(request))
        added = await library.add_tags(request.path_params["id"], names=names, tag_ids=tag_ids)
        return JSONResponse({"success": True, "addedTags": [wire.tag(each) for each in added]})

    async def tags(self, request: Request) -> Response:
        tags = await self._library.of(owner_of(request)).tags()
        return JSONResponse({"success": True, "tags": [wire.tag_count(each) for each in tags]})


def _asset_query(parameters: Mapping[str, str]) -> AssetQuery:
    """Additions to Sploot's: `mime`, and the times `createdAfter`, itself included, and `createdBefore`."""
    sort_by = parameters.get("sortBy", "createdAt")
    if sort_by not in ("createdAt", "updatedAt"):
        raise Invalid("sortBy must be createdAt or updatedAt")
    order = parameters.get("sortOrder", "desc")
    if order not in ("asc", "desc"):
        raise Invalid("sortOrder must be asc or desc")
    return AssetQuery(
        limit=min(whole_number(parameters, "limit", 50), PAGE_MAX),
        offset=whole_number(parameters, "offset", 0),
        sort_by=sort_by,
        descending=order == "desc",
        favorite=None if "favorite" not in parameters else parameters["favorite"] == "true",
        tag_id=parameters.get("tagId"),
        mime=parameters.get("mime"),
        created_from_ms=time_ms(parameters, "createdAfter"),
        created_before_ms=time_ms(parameters, "createdBefore"),
    )
