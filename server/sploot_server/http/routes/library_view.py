"""The protocol of the library, which the page speaks: list, search, change, take out. `/v1/library` and below.

The daemon answers the same requests for its own page. A library row has the fields of `library/asset.js`.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from sploot_server.domain.asset_query import SEED_MAX, AssetFilter, AssetKind, AssetQuery, AssetSort
from sploot_server.domain.entities import Asset, AssetChange, InvalidInput, NotFound, NoThumbnail
from sploot_server.http.request_body import read_object
from sploot_server.http.routes.curation import CurationRoutes
from sploot_server.http.routes.images import ImageRoutes
from sploot_server.http.routes.params import (
    get_owner,
    parse_choice,
    parse_flag,
    parse_strings,
    parse_time_ms,
    parse_whole_number,
)
from sploot_server.http.routes.shares import ShareRoutes
from sploot_server.http.routes.templates import TemplateRoutes
from sploot_server.http.serializers import format_optional_time, format_time, tag_to_json
from sploot_server.http.zip_stream import stream_zip
from sploot_server.library.curation import Curation
from sploot_server.library.search import Match, Search
from sploot_server.library.service import Library

PAGE_MAX = 200
GROUPS_MAX = 50
SIMILAR_MAX = 100
OFFSET_MAX = 1000  # of a search
NEAREST_MAX = 10
LINKS_MAX = 1000  # as many as the daemon asks for
IDS_MAX = 500  # of one change, or of one ZIP file
TEXT_CHARS_MAX = 500
SORTS = {
    "newest": (AssetSort.CREATED, True),
    "oldest": (AssetSort.CREATED, False),
    "largest": (AssetSort.SIZE, True),
    "copied": (AssetSort.COPIED, True),
    "shuffle": (AssetSort.SHUFFLE, True),
}
"""The orders of a list, each with whether it descends."""
FEATURES = {
    "similar": True,
    "thumbnails": True,
    "share": True,
    "links": True,
    "expiry": True,
    "templates": True,
    "sorts": True,
    "kinds": True,
    "dates": True,
    "folders": True,
    "copied": True,
    "trash": True,
    "tag_editing": True,
    "duplicates": True,
}
"""What this server can do for the page; what is missing here, the page does not offer."""


class LibraryViewRoutes:
    """Routes of the protocol of the library."""

    def __init__(
        self,
        library: Library,
        search: Search,
        curation: Curation,
        *,
        curations: CurationRoutes,
        images: ImageRoutes,
        shares: ShareRoutes,
        templates: TemplateRoutes,
    ) -> None:
        self._library = library
        self._search = search
        self._curation = curation
        self._curations = curations
        self._images = images
        self._shares = shares
        self._templates = templates

    def routes(self) -> list[BaseRoute]:
        """Return the routes. Those of a fixed name come first: `{id}` would match them, too."""
        table = [
            ("/v1/library", self.list, "GET"),
            ("/v1/library/tags", self.tags, "GET"),
            ("/v1/library/tags/{id}", self._curations.rename_tag, "PATCH"),
            ("/v1/library/tags/{id}", self._curations.delete_tag, "DELETE"),
            ("/v1/library/duplicates", self.duplicates, "GET"),
            ("/v1/library/folders", self.folders, "GET"),
            ("/v1/library/templates", self.templates, "GET"),
            ("/v1/library/links", self.links, "GET"),
            ("/v1/library/zip", self.zip, "GET"),
            ("/v1/library/changes", self.change_all, "POST"),
            ("/v1/library/{id}", self.get, "GET"),
            ("/v1/library/{id}", self.change, "PATCH"),
            ("/v1/library/{id}", self.delete, "DELETE"),
            ("/v1/library/{id}/similar", self.similar, "GET"),
            ("/v1/library/{id}/thumbnail", self.thumbnail, "GET"),
            ("/v1/library/{id}/original", self._images.original, "GET"),
            ("/v1/library/{id}/template", self.name_template, "PUT"),
            ("/v1/library/{id}/copied", self.mark_copied, "POST"),
            ("/v1/library/{id}/share", self.share, "POST"),
            ("/v1/library/{id}/share", self._shares.unshare, "DELETE"),
        ]
        return [Route(path, handler, methods=[method]) for path, handler, method in table]

    async def list(self, request: Request) -> Response:
        query = request.query_params
        text = query.get("text", "").strip()
        if len(text) > TEXT_CHARS_MAX:
            raise InvalidInput(f"text is longer than {TEXT_CHARS_MAX} characters")
        asset_query = _parse_query(request)
        if text:
            return await self._find(request, text, asset_query)
        page = await self._library_of(request).list(asset_query)
        counts = page.near_duplicate_counts
        rows = [{**asset_to_row(each), "near_duplicate_count": counts[each.id]} for each in page.assets]
        return _page(rows, page.total, has_more=asset_query.offset + len(rows) < page.total)

    async def _find(self, request: Request, text: str, query: AssetQuery) -> Response:
        """Search. If nothing is close to the text, the page is empty and `nearest` has what is least far from it."""
        if query.offset > OFFSET_MAX:
            return _page([], None, has_more=False)
        found = await self._search.search(text, limit=query.limit, asset_filter=query.filter, offset=query.offset)
        close = [match_to_row(match) for match in found.matches if match.is_close]
        has_more = found.has_more and bool(close)
        nearest = [] if close or query.offset else [match_to_row(match) for match in found.matches[:NEAREST_MAX]]
        return _page(close, None if has_more else query.offset + len(close), has_more=has_more, nearest=nearest)

    async def similar(self, request: Request) -> Response:
        limit = min(max(parse_whole_number(request.query_params, "limit", 30), 1), SIMILAR_MAX)
        found = await self._search.find_similar(request.path_params["id"], limit=limit, owner=get_owner(request))
        return _page([match_to_row(match) for match in found.matches], len(found.matches), has_more=False)

    async def get(self, request: Request) -> Response:
        return _asset_response(await self._asset_of(request))

    async def tags(self, request: Request) -> Response:
        found = await self._library_of(request).list_tags()
        return JSONResponse({"tags": [{**tag_to_json(each.tag), "count": each.asset_count} for each in found]})

    async def folders(self, request: Request) -> Response:
        found = await self._library_of(request).list_folders()
        return JSONResponse({"folders": [{"name": each.name, "count": each.asset_count} for each in found]})

    async def templates(self, request: Request) -> Response:
        found = await self._templates.find(request)
        return JSONResponse({"templates": [{"name": each.template.name, "count": each.asset_count} for each in found]})

    async def change(self, request: Request) -> Response:
        body = await read_object(request)
        tags = None if body.get("tags") is None else parse_strings(body["tags"], "tags")
        library = self._library_of(request)
        asset = await library.edit(request.path_params["id"], favorite=parse_flag(body, "favorite"), tags=tags)
        return _asset_response(asset)

    async def delete(self, request: Request) -> Response:
        await self._library_of(request).delete(request.path_params["id"])
        return JSONResponse({"message": "It is deleted."})

    async def change_all(self, request: Request) -> Response:
        """Change many assets; the ids of those that do not exist any more are not among `changed`."""
        body = await read_object(request)
        ids = _checked_ids(parse_strings(body.get("ids"), "ids"))
        curation = self._curation.for_owner(get_owner(request))
        removals = {"delete": curation.delete, "restore": curation.restore, "purge": curation.purge}
        chosen = [name for name in removals if parse_flag(body, name)]
        if len(chosen) > 1:
            raise InvalidInput(f"only one of {', '.join(removals)} is possible at a time")
        if chosen:
            return JSONResponse({"changed": await removals[chosen[0]](ids)})
        added, removed = (parse_strings(body.get(name, []), name) for name in ("add_tags", "remove_tags"))
        change = AssetChange(parse_flag(body, "favorite"), added, removed)
        return JSONResponse({"changed": await curation.change(ids, change)})

    async def duplicates(self, request: Request) -> Response:
        """List groups of assets that look the same; `best` is the first, the one to keep."""
        limit = min(max(parse_whole_number(request.query_params, "limit", 20), 1), GROUPS_MAX)
        offset = parse_whole_number(request.query_params, "offset", 0)
        page = await self._curation.for_owner(get_owner(request)).list_duplicate_groups(limit=limit, offset=offset)
        groups = [
            {
                "assets": [asset_to_row(asset) for asset in group.assets],
                "best": group.assets[0].id,
                "count": group.asset_count,
            }
            for group in page.groups
        ]
        return JSONResponse({"groups": groups, "total": page.total, "has_more": offset + len(groups) < page.total})

    async def zip(self, request: Request) -> Response:
        """Send the originals in one file, under their names."""
        ids = _checked_ids([each for each in request.query_params.get("ids", "").split(",") if each])
        library = self._library_of(request)
        assets = []
        for asset_id in ids:
            with suppress(NotFound):  # deleted meanwhile
                assets.append(await library.get(asset_id))
        headers = {"content-disposition": 'attachment; filename="sploot.zip"', "cache-control": "no-store"}
        chunks = stream_zip(assets, lambda asset: library.read(asset, 0, asset.size_bytes))
        return StreamingResponse(chunks, headers=headers, media_type="application/zip")

    async def thumbnail(self, request: Request) -> Response:
        """Send a thumbnail, or the original if none can be rendered."""
        try:
            return await self._images.thumbnail(request)
        except NoThumbnail:
            return await self._images.original(request)

    async def mark_copied(self, request: Request) -> Response:
        await self._library_of(request).mark_copied(request.path_params["id"])
        return JSONResponse({"message": "It is marked as copied."})

    async def share(self, request: Request) -> Response:
        """Create a link, or change the end of the existing one."""
        url, expires_at_ms = await self._shares.create(request)
        return JSONResponse({"url": url, "expires_at": format_optional_time(expires_at_ms)})

    async def links(self, request: Request) -> Response:
        shared = [
            {
                "url": url,
                "created_at": format_time(link.created_at_ms),
                "expires_at": format_optional_time(link.expires_at_ms),
                "asset": asset_to_row(link.asset),
            }
            for url, link in await self._shares.find_links(request, LINKS_MAX)
        ]
        return JSONResponse({"links": shared})

    async def name_template(self, request: Request) -> Response:
        await self._templates.name_asset(request)
        return await self.get(request)

    def _library_of(self, request: Request) -> Library:
        return self._library.for_owner(get_owner(request))

    async def _asset_of(self, request: Request) -> Asset:
        return await self._library_of(request).get(request.path_params["id"])


def asset_to_row(asset: Asset) -> dict[str, Any]:
    """Return an asset as the page shows it. It has neither a path nor a link: a share link is made on request."""
    return {
        "id": asset.id,
        "name": asset.filename,
        "mime": asset.mime,
        "width": asset.width,
        "height": asset.height,
        "size": asset.size_bytes,
        "favorite": asset.favorite,
        "tags": [tag_to_json(each) for each in asset.tags],
        "templates": [each.name for each in asset.templates],
        "created_at": format_time(asset.created_at_ms),
        "deleted_at": format_optional_time(asset.deleted_at_ms),
        "folder": asset.folder or None,
        "state": asset.embedding.state.value,
        "score": None,
        "text": asset.text,
        "matched_words": [],
        "reason": None,
        "path": None,
        "link": None,
        "near_duplicate_count": 0,
    }


def match_to_row(match: Match) -> dict[str, Any]:
    return {
        **asset_to_row(match.asset),
        "score": round(match.similarity, 4),
        "matched_words": list(match.matched_words),
        "reason": match.closest_in,
        "near_duplicate_count": len(match.near_duplicates),
    }


def _page(
    rows: Sequence[dict[str, Any]], total: int | None, *, has_more: bool, nearest: Sequence[dict[str, Any]] = ()
) -> Response:
    page = {"assets": rows, "total": total, "has_more": has_more, "features": FEATURES, "nearest": nearest}
    return JSONResponse(page)


def _asset_response(asset: Asset) -> Response:
    return JSONResponse({"asset": asset_to_row(asset)})


def _parse_query(request: Request) -> AssetQuery:
    query = request.query_params
    if query.get("sort", "newest") not in SORTS:
        raise InvalidInput(f"sort must be one of {', '.join(SORTS)}")
    sort, descending = SORTS[query.get("sort", "newest")]
    kind = query.get("kind")
    return AssetQuery(
        AssetFilter(
            owner=get_owner(request),
            favorite=True if query.get("favorite") == "true" else None,
            tag_id=query.get("tag"),
            kind=None if kind is None else parse_choice(kind, AssetKind, "kind"),
            folder=query.get("folder"),
            template=query["template"].casefold() if "template" in query else None,
            duplicates_of=query.get("group"),
            created_from_ms=parse_time_ms(query, "after"),
            created_before_ms=parse_time_ms(query, "before"),
            is_deleted=query.get("trash") == "true",
        ),
        sort=sort,
        descending=descending,
        seed=min(parse_whole_number(query, "seed", 0), SEED_MAX),
        limit=min(max(parse_whole_number(query, "limit", 50), 1), PAGE_MAX),
        offset=parse_whole_number(query, "offset", 0),
    )


def _checked_ids(ids: Sequence[str]) -> Sequence[str]:
    if not 0 < len(ids) <= IDS_MAX:
        raise InvalidInput(f"ids must name 1 to {IDS_MAX} pictures")
    return ids
