"""Library proxy of the web UI. The browser never connects to the server and never receives the token."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from splootd.control.endpoints import Endpoints, json_response, read_body
from splootd.errors import RequestError, SplootError
from splootd.remote.asset_responses import Asset
from splootd.remote.image_proxy import ImageProxy, ProxiedImage
from splootd.remote.library_client import AssetFilter, LibraryClient
from splootd.remote.responses import ID_CHARS_MAX
from splootd.store.read_queries import ReadQueries

PAGE_MAX = 200
SEARCH_MAX = 100
TEXT_CHARS_MAX = 500  # limit of a Sploot server
TAG_CHARS_MAX = 200
TAGS_MAX = 20
OFFSET_MAX = 10_000_000
THUMBNAIL_PX = (64, 1_024)
IMAGE_HEADERS = {
    "cache-control": "private, max-age=86400",  # the image of an asset id never changes
    "content-security-policy": "sandbox; default-src 'none'",
    "content-disposition": "inline",
}


class LibraryProxy:
    """Lists, searches and changes assets, and streams images. Files in `upload_folder` have no path for the user."""

    def __init__(
        self,
        client: LibraryClient,
        image_proxy: ImageProxy,
        read_queries: ReadQueries,
        endpoints: Endpoints,
        *,
        upload_folder: Path,
        is_local: bool,
    ) -> None:
        self._client = client
        self._image_proxy = image_proxy
        self._read_queries = read_queries
        self._endpoints = endpoints
        self._upload_folder = os.fsencode(upload_folder)
        self._is_local = is_local

    def routes(self) -> list[BaseRoute]:
        """Return the routes. `tags` precedes `{id}`, which would match it, too."""
        table = [
            ("/v1/library", self.list_assets, "GET"),
            ("/v1/library/tags", self.list_tags, "GET"),
            ("/v1/library/{id}/similar", self.list_similar, "GET"),
            ("/v1/library/{id}/thumbnail", self.serve_thumbnail, "GET"),
            ("/v1/library/{id}/original", self.serve_original, "GET"),
            ("/v1/library/{id}", self.update_asset, "PATCH"),
            ("/v1/library/{id}", self.delete_asset, "DELETE"),
        ]
        return [
            Route(path, self._endpoints.with_error_handling(handler), methods=[method])
            for path, handler, method in table
        ]

    async def list_assets(self, http: Request) -> Response:
        query = http.query_params
        text, tag = query.get("text", "").strip(), query.get("tag")
        if len(text) > TEXT_CHARS_MAX or len(tag or "") > ID_CHARS_MAX:
            raise RequestError("bad_text", f"`text` is longer than {TEXT_CHARS_MAX} characters")
        if query.get("sort", "newest") not in ("newest", "oldest"):
            raise RequestError("bad_sort", "`sort` must be newest or oldest")
        asset_filter = AssetFilter(query.get("favorite") == "true", tag or None, query.get("sort") == "oldest")
        offset = _parse_number(query, "offset", 0, 0, OFFSET_MAX)
        if not text:
            limit = _parse_number(query, "limit", 50, 1, PAGE_MAX)
            page = await self._client.list_assets(asset_filter, limit=limit, offset=offset)
            return await self._assets_response(page.assets, page.total, has_more=page.has_more)
        matches = await self._client.search(text, asset_filter, limit=_parse_number(query, "limit", 50, 1, SEARCH_MAX))
        return await self._assets_response(() if offset else matches, len(matches), has_more=False)

    async def list_similar(self, http: Request) -> Response:
        limit = _parse_number(http.query_params, "limit", 30, 1, SEARCH_MAX)
        matches = await self._client.similar(_parse_asset_id(http), limit=limit)
        return await self._assets_response(matches, len(matches), has_more=False)

    async def list_tags(self, http: Request) -> Response:
        return json_response(
            {"tags": [{**asdict(tag), "count": count} for tag, count in await self._client.list_tags()]}
        )

    async def update_asset(self, http: Request) -> Response:
        favorite, tags = _parse_changes(await read_body(http))
        asset = await self._client.update_asset(_parse_asset_id(http), is_favorite=favorite, tags=tags)
        return json_response({"asset": (await self._rows([asset]))[0]})

    async def delete_asset(self, http: Request) -> Response:
        """Softly: the library forgets it for good after a while."""
        await self._client.delete_asset(_parse_asset_id(http))
        return json_response({"message": "It is deleted."})

    async def serve_thumbnail(self, http: Request) -> Response:
        size = _parse_number(http.query_params, "size", 256, *THUMBNAIL_PX)
        if not await self._client.has_feature("thumbnails"):
            return await self.serve_original(http)
        try:
            return _image_response(
                await self._image_proxy.thumbnail(_parse_asset_id(http), size), http, AsyncExitStack()
            )
        except RequestError:  # the server cannot create a thumbnail of this file
            return await self.serve_original(http)

    async def serve_original(self, http: Request) -> Response:
        url = await self._client.get_image_url(_parse_asset_id(http))
        async with AsyncExitStack() as resources:
            image = await resources.enter_async_context(self._image_proxy.open_image(url))
            return _image_response(image, http, resources.pop_all())

    async def _assets_response(self, assets: Sequence[Asset], total: int | None, *, has_more: bool) -> Response:
        features = {name: await self._client.has_feature(name) for name in ("similar", "thumbnails")}
        return json_response(
            {"assets": await self._rows(assets), "total": total, "has_more": has_more, "features": features},
        )

    async def _rows(self, assets: Sequence[Asset]) -> list[dict[str, Any]]:
        paths = await self._read_queries.paths_by_asset_id([asset.id for asset in assets])
        return [self._row(asset, paths.get(asset.id)) for asset in assets]

    def _row(self, asset: Asset, path: bytes | None) -> dict[str, Any]:
        """Convert an asset to a row. A local file gives it its name; a browser upload has no path of the user.

        `link` can be opened by others, so an asset of the local server has none.
        """
        row = asdict(asset)
        if path is not None:
            row["name"] = os.fsdecode(path.rpartition(b"/")[2])
        row["favorite"] = row.pop("is_favorite")
        is_own = path is not None and not path.startswith(self._upload_folder + b"/")
        row["path"] = os.fsdecode(path) if path is not None and is_own else None
        url = row.pop("url")
        row["link"] = url if not self._is_local and url.startswith(("https://", "http://")) else None
        return row


class _ImageResponse(Response):
    """Streams an image to the browser. `resources` keeps the upstream response open meanwhile."""

    def __init__(
        self, image: ProxiedImage, http: Request, resources: AsyncExitStack, headers: Mapping[str, str]
    ) -> None:
        is_cached = image.etag is not None and image.etag in http.headers.get("if-none-match", "")
        super().__init__(status_code=304 if is_cached else 200, headers=headers, media_type=image.mime)
        if is_cached or image.size is None:
            del self.headers["content-length"]
        else:
            self.headers["content-length"] = str(image.size)
        self._chunks = image.pieces
        self._http = http
        self._resources = resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # After the response head the status cannot change any more. A body that ends early is the only way to report
        # an upstream error; the browser detects it by the Content-Length or the missing last chunk.
        with suppress(SplootError):
            async with self._resources:
                await self._send_image(send)

    async def _send_image(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if self.status_code == 200:
            async for chunk in self._chunks:
                if await self._http.is_disconnected():
                    return
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _image_response(image: ProxiedImage, http: Request, resources: AsyncExitStack) -> Response:
    """Return a sandboxed image response, or 304 when the browser has the image."""
    headers = {**IMAGE_HEADERS, **({"etag": image.etag} if image.etag else {})}
    return _ImageResponse(image, http, resources, headers)


def _parse_changes(body: bytes) -> tuple[bool | None, list[str] | None]:
    """Parse a PATCH body: favorite flag and complete tag list, None for an unchanged field."""
    try:
        body_json = json.loads(body)
    except ValueError as error:
        raise RequestError("malformed", f"the body is not JSON: {error}") from None
    favorite, tags = (body_json.get("favorite"), body_json.get("tags")) if isinstance(body_json, dict) else (0, 0)
    if favorite is not None and not isinstance(favorite, bool):
        raise RequestError("malformed", "`favorite` must be true or false")
    if tags is None:
        return favorite, None
    if not isinstance(tags, list) or len(tags) > TAGS_MAX or not all(_is_tag(tag) for tag in tags):
        message = f"`tags` must be a list of at most {TAGS_MAX} strings of at most {TAG_CHARS_MAX} characters"
        raise RequestError("malformed", message)
    return favorite, [tag.strip() for tag in tags]


def _is_tag(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value.strip()) <= TAG_CHARS_MAX


def _parse_asset_id(http: Request) -> str:
    asset_id: str = http.path_params["id"]
    if len(asset_id) > ID_CHARS_MAX or not asset_id.isprintable():
        raise RequestError("not_found", "the library has no asset with this id", status=404)
    return asset_id


def _parse_number(query: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """Return a number of the query, clamped to `least` and `most`."""
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or len(text) > 15:
        raise RequestError("malformed", f"`{name}` must be a whole number")
    return min(max(int(text), least), most)
