"""Library proxy of the web UI. The browser never connects to the server and never receives the token."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from splootd.control.endpoints import Endpoints, json_response, read_body
from splootd.errors import RequestError
from splootd.remote.asset_query import EXTENSION
from splootd.remote.asset_responses import Asset, Page
from splootd.remote.image_proxy import THUMBNAIL_PX, ImageProxy
from splootd.remote.library_client import LibraryClient
from splootd.store.read_queries import ReadQueries
from splootd.system.file_manager import reveal
from splootd.web.image_response import image_response, parse_range, part_response
from splootd.web.library_params import (
    OFFSET_MAX,
    parse_asset_id,
    parse_changes,
    parse_filter,
    parse_ids,
    parse_many_changes,
    parse_number,
    parse_order,
    parse_share_end,
    parse_tag_name,
    parse_text,
)
from splootd.web.library_zip import ZipResponse

PAGE_MAX = 200
SEARCH_MAX = 100
GROUPS_MAX = 50
FEATURES = {
    "similar": "similar",
    "thumbnails": "thumbnails",
    "sorts": EXTENSION,  # every order; Sploot itself has newest and oldest
    "kinds": EXTENSION,
    "dates": EXTENSION,
    "folders": EXTENSION,
    "copied": EXTENSION,
    "trash": "trash",
    "tag_editing": "tagEditing",
    "duplicates": "duplicates",
    "templates": "templates",
    "links": "shareList",
    "expiry": "shareExpiry",
}
"""Names of the page for what a library can do, and the features that its server must announce."""


class LibraryProxy:
    """Lists, searches and changes assets, and streams images. Files in `upload_folder` have no path for the user.

    `server` is the URL of the server; None for the local one, whose assets cannot be shared.
    """

    def __init__(
        self,
        client: LibraryClient,
        image_proxy: ImageProxy,
        read_queries: ReadQueries,
        endpoints: Endpoints,
        *,
        upload_folder: Path,
        server: str | None,
    ) -> None:
        self._client = client
        self._image_proxy = image_proxy
        self._read_queries = read_queries
        self._endpoints = endpoints
        self._upload_folder = os.fsencode(upload_folder)
        self._is_local = server is None
        self._server_host = server and urlsplit(server).netloc

    def routes(self) -> list[BaseRoute]:
        """Return the routes. Those of a fixed path precede `{id}`, which would match it, too."""
        table = [
            ("/v1/library", self.list_assets, "GET"),
            ("/v1/library/tags", self.list_tags, "GET"),
            ("/v1/library/folders", self.list_folders, "GET"),
            ("/v1/library/templates", self.list_templates, "GET"),
            ("/v1/library/{id}/similar", self.list_similar, "GET"),
            ("/v1/library/{id}/thumbnail", self.serve_thumbnail, "GET"),
            ("/v1/library/{id}/original", self.serve_original, "GET"),
            ("/v1/library/tags/{id}", self.rename_tag, "PATCH"),
            ("/v1/library/tags/{id}", self.delete_tag, "DELETE"),
            ("/v1/library/duplicates", self.list_duplicates, "GET"),
            ("/v1/library/links", self.list_links, "GET"),
            ("/v1/library/zip", self.download_zip, "GET"),
            ("/v1/library/changes", self.change_assets, "POST"),
            ("/v1/library/{id}/template", self.name_template, "PUT"),
            ("/v1/library/{id}/share", self.share, "POST"),
            ("/v1/library/{id}/share", self.unshare, "DELETE"),
            ("/v1/library/{id}/copied", self.mark_copied, "POST"),
            ("/v1/library/{id}/reveal", self.reveal, "POST"),
            ("/v1/library/{id}", self.get_asset, "GET"),
            ("/v1/library/{id}", self.update_asset, "PATCH"),
            ("/v1/library/{id}", self.delete_asset, "DELETE"),
        ]
        return [
            Route(path, self._endpoints.with_error_handling(handler), methods=[method])
            for path, handler, method in table
        ]

    async def list_assets(self, http: Request) -> Response:
        query = http.query_params
        text, asset_filter, order = parse_text(query), parse_filter(query), parse_order(query)
        offset = parse_number(query, "offset", 0, 0, OFFSET_MAX)
        if text:
            limit = parse_number(query, "limit", 50, 1, SEARCH_MAX)
            return await self._page_response(await self._client.search(text, asset_filter, limit=limit, offset=offset))
        limit = parse_number(query, "limit", 50, 1, PAGE_MAX)
        return await self._page_response(
            await self._client.list_assets(asset_filter, order, limit=limit, offset=offset)
        )

    async def get_asset(self, http: Request) -> Response:
        return await self._asset_response(await self._client.get_asset(parse_asset_id(http)))

    async def list_similar(self, http: Request) -> Response:
        limit = parse_number(http.query_params, "limit", 30, 1, SEARCH_MAX)
        matches = await self._client.similar(parse_asset_id(http), limit=limit)
        return await self._page_response(Page(matches, len(matches), has_more=False))

    async def list_tags(self, http: Request) -> Response:
        return json_response(
            {"tags": [{**asdict(tag), "count": count} for tag, count in await self._client.list_tags()]}
        )

    async def list_folders(self, http: Request) -> Response:
        folders = await self._client.list_folders()
        return json_response({"folders": [{"name": name, "count": count} for name, count in folders]})

    async def list_templates(self, http: Request) -> Response:
        templates = await self._client.list_templates()
        return json_response({"templates": [{"name": each.name, "count": each.assets} for each in templates]})

    async def update_asset(self, http: Request) -> Response:
        favorite, tags = parse_changes(await read_body(http))
        asset = await self._client.update_asset(parse_asset_id(http), is_favorite=favorite, tags=tags)
        return await self._asset_response(asset)

    async def name_template(self, http: Request) -> Response:
        """Name the template of an asset, and so of all that share it."""
        name = parse_tag_name(await read_body(http))
        return await self._asset_response(await self._client.name_template(parse_asset_id(http), name))

    async def delete_asset(self, http: Request) -> Response:
        """Softly: the library forgets it for good after a while."""
        await self._client.delete_asset(parse_asset_id(http))
        return json_response({"message": "It is deleted."})

    async def change_assets(self, http: Request) -> Response:
        """Change many assets; the ids of those that are no longer there are not among `changed`."""
        asset_ids, change = parse_many_changes(await read_body(http))
        return json_response({"changed": await self._client.change_assets(asset_ids, change)})

    async def download_zip(self, http: Request) -> Response:
        return ZipResponse(http, self._named_assets(parse_ids(http.query_params)), self._image_proxy)

    async def _named_assets(self, asset_ids: Sequence[str]) -> AsyncIterator[tuple[str, Asset]]:
        for asset_id in asset_ids:
            with suppress(RequestError):  # deleted meanwhile
                asset = await self._client.get_asset(asset_id)
                [row] = await self._rows([asset])
                yield row["name"], asset

    async def rename_tag(self, http: Request) -> Response:
        tag = await self._client.rename_tag(parse_asset_id(http), parse_tag_name(await read_body(http)))
        return json_response({"tag": asdict(tag)})

    async def delete_tag(self, http: Request) -> Response:
        await self._client.delete_tag(parse_asset_id(http))
        return json_response({"message": "The tag is deleted."})

    async def list_duplicates(self, http: Request) -> Response:
        """List groups of assets that look the same; `best` is the first, the one to keep."""
        limit = parse_number(http.query_params, "limit", 20, 1, GROUPS_MAX)
        offset = parse_number(http.query_params, "offset", 0, 0, OFFSET_MAX)
        groups, total = await self._client.list_duplicate_groups(limit=limit, offset=offset)
        rows = [
            {"assets": await self._rows(group.assets), "best": group.assets[0].id, "count": group.count}
            for group in groups
        ]
        return json_response({"groups": rows, "total": total, "has_more": offset + len(groups) < total})

    async def share(self, http: Request) -> Response:
        """Create a link, or change the end of the existing one."""
        return json_response(
            asdict(await self._client.share_asset(parse_asset_id(http), parse_share_end(await read_body(http))))
        )

    async def unshare(self, http: Request) -> Response:
        await self._client.unshare_asset(parse_asset_id(http))
        return json_response({"message": "It is no longer shared."})

    async def list_links(self, http: Request) -> Response:
        links = await self._client.list_share_links()
        rows = await self._rows([link.asset for link in links])
        shared = [
            {"url": link.url, "created_at": link.created_at, "expires_at": link.expires_at, "asset": row}
            for link, row in zip(links, rows, strict=True)
        ]
        return json_response({"links": shared})

    async def mark_copied(self, http: Request) -> Response:
        """Record that the asset was taken out, for the order `copied`."""
        await self._client.mark_copied(parse_asset_id(http))
        return json_response({"message": "It is marked as copied."})

    async def reveal(self, http: Request) -> Response:
        """Show the local file of an asset in the file manager; only files that the queue knows have a path."""
        asset_id = parse_asset_id(http)
        path = (await self._read_queries.paths_by_asset_id([asset_id])).get(asset_id)
        if path is None or not self._is_users_file(path):
            raise RequestError("no_file", "this picture has no file on this computer", status=404)
        if not await asyncio.to_thread(os.path.lexists, path):
            raise RequestError("no_file", f"{os.fsdecode(path)} is no longer there", status=404)
        await reveal(path)
        return json_response({"message": "The file manager shows it."})

    async def serve_thumbnail(self, http: Request) -> Response:
        size = parse_number(http.query_params, "size", 256, *THUMBNAIL_PX)
        if not await self._client.has_feature("thumbnails"):
            return await self.serve_original(http)
        try:
            return image_response(await self._image_proxy.thumbnail(parse_asset_id(http), size), http, AsyncExitStack())
        except RequestError:  # the server cannot create a thumbnail of this file
            return await self.serve_original(http)

    async def serve_original(self, http: Request) -> Response:
        url = await self._client.get_image_url(parse_asset_id(http))
        if (wanted := parse_range(http)) and (part := await self._image_proxy.read_part(url, *wanted)):
            return part_response(part)
        async with AsyncExitStack() as resources:
            image = await resources.enter_async_context(self._image_proxy.open_image(url))
            return image_response(image, http, resources.pop_all())

    async def _page_response(self, page: Page) -> Response:
        rows = await self._rows([*page.assets, *page.nearest])
        return json_response(
            {
                "assets": rows[: len(page.assets)],
                "nearest": rows[len(page.assets) :],
                "total": page.total,
                "has_more": page.has_more,
                "features": await self._features(),
            }
        )

    async def _asset_response(self, asset: Asset) -> Response:
        return json_response({"asset": (await self._rows([asset]))[0]})

    async def _features(self) -> dict[str, bool]:
        """Return what this library can do, by the names of the page. A plain Sploot can do little of it."""
        features = {name: await self._client.has_feature(feature) for name, feature in FEATURES.items()}
        return {**features, "share": not self._is_local, "links": features["links"] and not self._is_local}

    async def _rows(self, assets: Sequence[Asset]) -> list[dict[str, Any]]:
        paths = await self._read_queries.paths_by_asset_id([asset.id for asset in assets])
        return [self._row(asset, paths.get(asset.id)) for asset in assets]

    def _row(self, asset: Asset, path: bytes | None) -> dict[str, Any]:
        """Convert an asset to a row. A local file gives it its name; a browser upload has no path of the user.

        `link` can be opened by others: images on the server itself are behind its token.
        """
        row = asdict(asset)
        if path is not None:
            row["name"] = os.fsdecode(path.rpartition(b"/")[2])
        row["favorite"] = row.pop("is_favorite")
        row["path"] = os.fsdecode(path) if path is not None and self._is_users_file(path) else None
        url = row.pop("url")
        del row["is_near"]
        is_public = url.startswith(("https://", "http://")) and urlsplit(url).netloc != self._server_host
        row["link"] = url if is_public and not self._is_local else None
        return row

    def _is_users_file(self, path: bytes) -> bool:
        return not path.startswith(self._upload_folder + b"/")
