"""What is in the library, for people who look at it: lists, searches, tags, favourites, what is alike, and deleting."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from splootd.errors import RequestError
from splootd.remote.answers import Limits
from splootd.remote.api import Server
from splootd.remote.assets import Asset, Page, Tag, asset_of, assets_of, page_of, tags_of
from splootd.remote.measured import measured
from splootd.remote.verdict import Answer, error_of

PICTURES_KNOWN_MAX = 5_000  # addresses of pictures, so that a picture is one question and not two


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which assets: all of them, or favourites, or those with a tag; in which order."""

    is_favorite: bool = False
    tag_id: str | None = None
    oldest_first: bool = False


class Shelf:
    """Raises ServerErrors and Exhausted as `Server` does, and RequestError for what the library has not or cannot."""

    def __init__(self, server: Server) -> None:
        self.calls = server.calls
        self._server = server
        self._urls: dict[str, str] = {}  # of pictures, by asset id; the oldest knowledge first

    async def offers(self, feature: str) -> bool:
        """Whether the library says that it can do this, beyond what a Sploot can."""
        limits: Limits = self._server.last_limits or await self._server.limits()
        return limits.features.get(feature) == "true"

    @measured
    async def page(self, wanted: Wanted, *, limit: int, offset: int) -> Page:
        order = "asc" if wanted.oldest_first else "desc"
        asked: dict[str, Any] = {"limit": limit, "offset": offset, "sortBy": "createdAt", "sortOrder": order}
        if wanted.is_favorite:
            asked["favorite"] = "true"
        if wanted.tag_id is not None:
            asked["tagId"] = wanted.tag_id
        page = page_of(await self._told("GET", f"/api/assets?{urlencode(asked)}"), offset=offset)
        return Page(self._noted(page.assets), page.total, page.has_more)

    @measured
    async def found(self, text: str, wanted: Wanted, *, limit: int) -> Sequence[Asset]:
        """What matches, best first. A Sploot does not know of the wish, so what does not fit is left out here."""
        asked: dict[str, Any] = {"query": text, "limit": limit}
        if wanted.is_favorite:
            asked["favorite"] = True
        if wanted.tag_id is not None:
            asked["tagId"] = wanted.tag_id
        found = self._noted(assets_of(await self._told("POST", "/api/search", asked), "results"))
        return [each for each in found if _fits(each, wanted)][:limit]

    @measured
    async def alike(self, asset_id: str, *, limit: int) -> Sequence[Asset]:
        """What looks or means alike, the nearest first."""
        if not await self.offers("similar"):
            raise RequestError("not_offered", "this library does not look for similar memes", status=404)
        path = f"{_path(asset_id)}/similar?{urlencode({'limit': limit})}"
        return self._noted(assets_of(await self._told("GET", path), "results"))[:limit]

    @measured
    async def tags(self) -> Sequence[tuple[Tag, int]]:
        """All tags, and how many assets have each."""
        return tags_of(await self._told("GET", "/api/tags"))

    @measured
    async def asset(self, asset_id: str) -> Asset:
        (asset,) = self._noted([asset_of(await self._told("GET", _path(asset_id)))])
        return asset

    @measured
    async def change(self, asset_id: str, *, is_favorite: bool | None, tags: Sequence[str] | None) -> Asset:
        """What is None stays as it is. A Sploot answers with less than an asset, so it is asked once more."""
        change: dict[str, Any] = {}
        if is_favorite is not None:
            change["favorite"] = is_favorite
        if tags is not None:
            change["tags"] = list(tags)
        await self._told("PATCH", _path(asset_id), change)
        return asset_of(await self._told("GET", _path(asset_id)))

    @measured
    async def discard(self, asset_id: str) -> None:
        """Delete it so that the library can bring it back for a while."""
        await self._told("DELETE", _path(asset_id))
        self._urls.pop(asset_id, None)

    async def url(self, asset_id: str) -> str:
        """Where its picture lies."""
        return self._urls.get(asset_id) or (await self.asset(asset_id)).url

    async def _told(self, method: str, path: str, value: Any = None) -> Any:
        answer = await self._server.answer(method, path, value)
        if refusal := _refusal(answer):
            raise refusal
        if error := error_of(answer):
            raise error
        return answer.json()

    def _noted(self, assets: Sequence[Asset]) -> Sequence[Asset]:
        for asset in assets:
            self._urls.pop(asset.id, None)
            self._urls[asset.id] = asset.url
        while len(self._urls) > PICTURES_KNOWN_MAX:
            del self._urls[next(iter(self._urls))]
        return assets


def _refusal(answer: Answer) -> RequestError | None:
    """What the library says no to, in its own words."""
    if answer.is_signed_out or answer.words is None:
        return None
    if answer.status == HTTPStatus.NOT_FOUND:
        return RequestError("not_found", f"the library does not have it: {answer.words}", status=404)
    if answer.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY):
        return RequestError("refused", f"the library refuses it: {answer.words}")
    return None


def _fits(asset: Asset, wanted: Wanted) -> bool:
    has_tag = wanted.tag_id is None or any(tag.id == wanted.tag_id for tag in asset.tags)
    return has_tag and (asset.is_favorite or not wanted.is_favorite)


def _path(asset_id: str) -> str:
    return f"/api/assets/{quote(asset_id, safe='')}"
