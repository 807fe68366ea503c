"""Routes to change many assets at once, to edit tags and to list duplicates. They extend Sploot's API."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.domain.entities import AssetChange, InvalidInput
from sploot_server.http import serializers
from sploot_server.http.request_body import read_object
from sploot_server.http.routes.params import (
    get_owner,
    original_url,
    parse_flag,
    parse_name,
    parse_strings,
    parse_whole_number,
)
from sploot_server.library.curation import Curation

CHANGES_MAX = 500
GROUPS_MAX = 100
ACTIONS = ("delete", "restore", "purge")

FEATURES = {"changes": "true", "trash": "true", "tagEditing": "true", "duplicates": "true"}


class CurationRoutes:
    """Routes of changes to many assets, of tags and of duplicates."""

    def __init__(self, curation: Curation) -> None:
        self._curation = curation

    def routes(self) -> list[BaseRoute]:
        """Return the routes; they must precede `/api/assets/{id}`, which would match one of them, too."""
        return [
            Route("/api/assets/changes", self.change, methods=["POST"]),
            Route("/api/tags/{id}", self.rename_tag, methods=["PATCH"]),
            Route("/api/tags/{id}", self.delete_tag, methods=["DELETE"]),
            Route("/api/duplicates", self.duplicates, methods=["GET"]),
        ]

    async def change(self, request: Request) -> Response:
        """Change the assets of a list; those that are not there, or no longer, are left out of `changed`."""
        body = await read_object(request)
        asset_ids = parse_strings(body.get("ids"), "ids")
        if len(asset_ids) > CHANGES_MAX:
            raise InvalidInput(f"A request may change at most {CHANGES_MAX} assets")
        favorite, action = parse_flag(body, "favorite"), body.get("action")
        if action is not None and action not in ACTIONS:
            raise InvalidInput(f"action must be one of {', '.join(ACTIONS)}")
        added, removed = (parse_strings(body.get(name, []), name) for name in ("addTags", "removeTags"))
        curation = self._curation.for_owner(get_owner(request))
        if action == "delete":
            changed = await curation.delete(asset_ids)
        elif action == "restore":
            changed = await curation.restore(asset_ids)
        elif action == "purge":
            changed = await curation.purge(asset_ids)
        else:
            changed = await curation.change(asset_ids, AssetChange(favorite, added, removed))
        return JSONResponse({"changed": changed})

    async def rename_tag(self, request: Request) -> Response:
        """Rename a tag; the answer is another one if the new name was taken, and the two are now one."""
        name = parse_name(await read_object(request))
        tag = await self._curation.for_owner(get_owner(request)).rename_tag(request.path_params["id"], name)
        return JSONResponse({"tag": serializers.tag_to_json(tag)})

    async def delete_tag(self, request: Request) -> Response:
        await self._curation.for_owner(get_owner(request)).delete_tag(request.path_params["id"])
        return JSONResponse({"message": "Tag deleted"})

    async def duplicates(self, request: Request) -> Response:
        limit = min(parse_whole_number(request.query_params, "limit", 20), GROUPS_MAX)
        offset = parse_whole_number(request.query_params, "offset", 0)
        page = await self._curation.for_owner(get_owner(request)).list_duplicate_groups(limit=limit, offset=offset)
        groups = [
            {
                "assets": [serializers.asset_to_json(asset, original_url(request, asset)) for asset in group.assets],
                "assetCount": group.asset_count,
            }
            for group in page.groups
        ]
        pagination = {
            "total": page.total,
            "limit": limit,
            "offset": offset,
            "hasMore": offset + len(groups) < page.total,
        }
        return JSONResponse({"groups": groups, "pagination": pagination})
