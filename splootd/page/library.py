"""What the page asks of the library. The browser never speaks to the library itself, and never sees the token."""

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

from splootd.control.endpoints import Endpoints, as_json, body_of
from splootd.errors import RequestError, SplootError
from splootd.remote.answers import ID_CHARS_MAX
from splootd.remote.assets import Asset
from splootd.remote.pictures import Picture, Pictures
from splootd.remote.shelf import Shelf, Wanted
from splootd.store.listing import Listing

PAGE_MAX = 200
SEARCH_MAX = 100
TEXT_CHARS_MAX = 500  # a Sploot takes no more
TAG_CHARS_MAX = 200
TAGS_MAX = 20
OFFSET_MAX = 10_000_000
THUMBNAIL_PX = (64, 1_024)
PICTURE_HEADERS = {
    "cache-control": "private, max-age=86400",  # what has an id never becomes another picture
    "content-security-policy": "sandbox; default-src 'none'",
    "content-disposition": "inline",
}


class LibraryPages:
    """Lists, searches and changes; pictures are passed on as they come. Files in `dropped` are nobody's own."""

    def __init__(
        self, shelf: Shelf, pictures: Pictures, listing: Listing, endpoints: Endpoints, *, dropped: Path, is_local: bool
    ) -> None:
        self._shelf = shelf
        self._pictures = pictures
        self._listing = listing
        self._endpoints = endpoints
        self._dropped = os.fsencode(dropped)
        self._is_local = is_local

    def routes(self) -> list[BaseRoute]:
        """Tags come before the asset that might be called so."""
        at = [
            ("/v1/library", self.assets, "GET"),
            ("/v1/library/tags", self.tags, "GET"),
            ("/v1/library/{id}/similar", self.similar, "GET"),
            ("/v1/library/{id}/thumbnail", self.thumbnail, "GET"),
            ("/v1/library/{id}/original", self.original, "GET"),
            ("/v1/library/{id}", self.change, "PATCH"),
            ("/v1/library/{id}", self.delete, "DELETE"),
        ]
        return [Route(path, self._endpoints.answering(handler), methods=[method]) for path, handler, method in at]

    async def assets(self, http: Request) -> Response:
        asked = http.query_params
        text, tag = asked.get("text", "").strip(), asked.get("tag")
        if len(text) > TEXT_CHARS_MAX or len(tag or "") > ID_CHARS_MAX:
            raise RequestError("bad_text", f"a text to look for has at most {TEXT_CHARS_MAX} characters")
        if asked.get("sort", "newest") not in ("newest", "oldest"):
            raise RequestError("bad_sort", "a list is sorted newest or oldest first")
        wanted = Wanted(asked.get("favorite") == "true", tag or None, asked.get("sort") == "oldest")
        offset = _number(asked, "offset", 0, 0, OFFSET_MAX)
        if not text:
            limit = _number(asked, "limit", 50, 1, PAGE_MAX)
            page = await self._shelf.page(wanted, limit=limit, offset=offset)
            return await self._listed(page.assets, page.total, has_more=page.has_more)
        found = await self._shelf.found(text, wanted, limit=_number(asked, "limit", 50, 1, SEARCH_MAX))
        return await self._listed(() if offset else found, len(found), has_more=False)

    async def similar(self, http: Request) -> Response:
        limit = _number(http.query_params, "limit", 30, 1, SEARCH_MAX)
        found = await self._shelf.alike(_id(http), limit=limit)
        return await self._listed(found, len(found), has_more=False)

    async def tags(self, http: Request) -> Response:
        return as_json({"tags": [{**asdict(tag), "count": count} for tag, count in await self._shelf.tags()]})

    async def change(self, http: Request) -> Response:
        favorite, tags = _change_in(await body_of(http))
        asset = await self._shelf.change(_id(http), is_favorite=favorite, tags=tags)
        return as_json({"asset": (await self._rows([asset]))[0]})

    async def delete(self, http: Request) -> Response:
        """Softly: the library forgets it for good after a while."""
        await self._shelf.discard(_id(http))
        return as_json({"message": "It is deleted."})

    async def thumbnail(self, http: Request) -> Response:
        size = _number(http.query_params, "size", 256, *THUMBNAIL_PX)
        if not await self._shelf.offers("thumbnails"):
            return await self.original(http)
        try:
            return _shown(await self._pictures.thumbnail(_id(http), size), http, AsyncExitStack())
        except RequestError:  # nothing that the server can make a small one of
            return await self.original(http)

    async def original(self, http: Request) -> Response:
        url = await self._shelf.url(_id(http))
        async with AsyncExitStack() as opened:
            picture = await opened.enter_async_context(self._pictures.opened(url))
            return _shown(picture, http, opened.pop_all())

    async def _listed(self, assets: Sequence[Asset], total: int | None, *, has_more: bool) -> Response:
        offers = {name: await self._shelf.offers(name) for name in ("similar", "thumbnails")}
        return as_json(
            {"assets": await self._rows(assets), "total": total, "has_more": has_more, "offers": offers},
        )

    async def _rows(self, assets: Sequence[Asset]) -> list[dict[str, Any]]:
        paths = await self._listing.by_assets([asset.id for asset in assets])
        return [self._row(asset, paths.get(asset.id)) for asset in assets]

    def _row(self, asset: Asset, path: bytes | None) -> dict[str, Any]:
        """A meme is called as its file here, where there is one; what was dropped has no path of the user's own.

        `link` is for others to open, and nobody else reaches the embedded library.
        """
        row = asdict(asset)
        if path is not None:
            row["name"] = os.fsdecode(path.rpartition(b"/")[2])
        row["favorite"] = row.pop("is_favorite")
        is_own = path is not None and not path.startswith(self._dropped + b"/")
        row["path"] = os.fsdecode(path) if path is not None and is_own else None
        url = row.pop("url")
        row["link"] = url if not self._is_local and url.startswith(("https://", "http://")) else None
        return row


class _Shown(Response):
    """A picture on its way to the browser. `opened` holds what has to stay open meanwhile."""

    def __init__(self, picture: Picture, http: Request, opened: AsyncExitStack, headers: Mapping[str, str]) -> None:
        is_known = picture.etag is not None and picture.etag in http.headers.get("if-none-match", "")
        super().__init__(status_code=304 if is_known else 200, headers=headers, media_type=picture.mime)
        if is_known or picture.size is None:
            del self.headers["content-length"]
        else:
            self.headers["content-length"] = str(picture.size)
        self._pieces = picture.pieces
        self._http = http
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # What breaks off in the middle ends unfinished, which the browser sees: there is nobody left to tell why.
        with suppress(SplootError):
            async with self._opened:
                await self._pass_on(send)

    async def _pass_on(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if self.status_code == 200:
            async for piece in self._pieces:
                if await self._http.is_disconnected():
                    return
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _shown(picture: Picture, http: Request, opened: AsyncExitStack) -> Response:
    """Never anything but an image, which may run nothing; nothing at all where the browser has it already."""
    headers = {**PICTURE_HEADERS, **({"etag": picture.etag} if picture.etag else {})}
    return _Shown(picture, http, opened, headers)


def _change_in(body: bytes) -> tuple[bool | None, list[str] | None]:
    """What a PATCH wants: favourite or not, and all tags; None for what is to stay."""
    try:
        told = json.loads(body)
    except ValueError as error:
        raise RequestError("malformed", f"the body is not JSON: {error}") from None
    favorite, tags = (told.get("favorite"), told.get("tags")) if isinstance(told, dict) else (0, 0)
    if favorite is not None and not isinstance(favorite, bool):
        raise RequestError("malformed", "favorite is true or false")
    if tags is None:
        return favorite, None
    if not isinstance(tags, list) or len(tags) > TAGS_MAX or not all(_is_tag(tag) for tag in tags):
        raise RequestError("malformed", f"tags are up to {TAGS_MAX} texts of at most {TAG_CHARS_MAX} characters")
    return favorite, [tag.strip() for tag in tags]


def _is_tag(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value.strip()) <= TAG_CHARS_MAX


def _id(http: Request) -> str:
    asset_id: str = http.path_params["id"]
    if len(asset_id) > ID_CHARS_MAX or not asset_id.isprintable():
        raise RequestError("not_found", "the library has no such asset", status=404)
    return asset_id


def _number(asked: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """A number of the query, brought between `least` and `most`."""
    word = asked.get(name, str(default))
    if not word.isascii() or not word.isdecimal() or len(word) > 15:
        raise RequestError("malformed", f"{name} is a whole number")
    return min(max(int(word), least), most)
