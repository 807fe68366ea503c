"""Client of the library for the web UI: list, search, tag, mark as favourite, find similar assets, delete."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from splootd.core.limits import Limits
from splootd.errors import RequestError
from splootd.remote.asset_responses import Asset, Page, Tag, parse_asset, parse_assets, parse_page, parse_tags
from splootd.remote.client import SplootClient
from splootd.remote.instrumentation import instrument
from splootd.remote.status_mapping import HttpResponse, error_for

CACHED_URLS_MAX = 5_000  # image URLs by asset, so that showing an image takes one request and not two


@dataclass(frozen=True, slots=True)
class AssetFilter:
    """Selects assets: all, favourites only, or those with a tag; and their order."""

    is_favorite: bool = False
    tag_id: str | None = None
    oldest_first: bool = False


class LibraryClient:
    """Reads and changes the assets of the library.

    Methods raise the errors of `SplootClient`, and RequestError for requests that the library rejects.
    """

    def __init__(self, client: SplootClient) -> None:
        self.calls = client.calls
        self._client = client
        self._urls: dict[str, str] = {}  # image URL by asset id; the least recently updated first

    async def has_feature(self, feature: str) -> bool:
        """Return whether the server supports an addition to Sploot's API."""
        limits: Limits = self._client.last_limits or await self._client.limits()
        return limits.features.get(feature) == "true"

    @instrument
    async def list_assets(self, asset_filter: AssetFilter, *, limit: int, offset: int) -> Page:
        """Fetch one page of assets."""
        order = "asc" if asset_filter.oldest_first else "desc"
        params: dict[str, Any] = {"limit": limit, "offset": offset, "sortBy": "createdAt", "sortOrder": order}
        if asset_filter.is_favorite:
            params["favorite"] = "true"
        if asset_filter.tag_id is not None:
            params["tagId"] = asset_filter.tag_id
        page = parse_page(await self._request_json("GET", f"/api/assets?{urlencode(params)}"), offset=offset)
        return Page(self._cache_urls(page.assets), page.total, page.has_more)

    @instrument
    async def search(self, text: str, asset_filter: AssetFilter, *, limit: int) -> Sequence[Asset]:
        """Search the library, best match first. Sploot's search ignores the filter, so it is applied again here."""
        body: dict[str, Any] = {"query": text, "limit": limit}
        if asset_filter.is_favorite:
            body["favorite"] = True
        if asset_filter.tag_id is not None:
            body["tagId"] = asset_filter.tag_id
        assets = self._cache_urls(parse_assets(await self._request_json("POST", "/api/search", body), "results"))
        return [each for each in assets if _matches_filter(each, asset_filter)][:limit]

    @instrument
    async def similar(self, asset_id: str, *, limit: int) -> Sequence[Asset]:
        """Find assets that look or mean the same, the most similar first."""
        if not await self.has_feature("similar"):
            raise RequestError("not_supported", "this server does not support search by similarity", status=404)
        path = f"{_asset_path(asset_id)}/similar?{urlencode({'limit': limit})}"
        return self._cache_urls(parse_assets(await self._request_json("GET", path), "results"))[:limit]

    @instrument
    async def list_tags(self) -> Sequence[tuple[Tag, int]]:
        """Fetch all tags with their numbers of assets."""
        return parse_tags(await self._request_json("GET", "/api/tags"))

    @instrument
    async def get_asset(self, asset_id: str) -> Asset:
        """Fetch one asset."""
        (asset,) = self._cache_urls([parse_asset(await self._request_json("GET", _asset_path(asset_id)))])
        return asset

    @instrument
    async def update_asset(self, asset_id: str, *, is_favorite: bool | None, tags: Sequence[str] | None) -> Asset:
        """Change an asset and return it; None leaves a field unchanged.

        Sploot's response to a change is not a complete asset, so the asset is fetched afterwards.
        """
        change: dict[str, Any] = {}
        if is_favorite is not None:
            change["favorite"] = is_favorite
        if tags is not None:
            change["tags"] = list(tags)
        await self._request_json("PATCH", _asset_path(asset_id), change)
        return parse_asset(await self._request_json("GET", _asset_path(asset_id)))

    @instrument
    async def delete_asset(self, asset_id: str) -> None:
        """Delete an asset. The library can restore it for a while."""
        await self._request_json("DELETE", _asset_path(asset_id))
        self._urls.pop(asset_id, None)

    async def get_image_url(self, asset_id: str) -> str:
        """Return the URL of the asset's image."""
        return self._urls.get(asset_id) or (await self.get_asset(asset_id)).url

    async def _request_json(self, method: str, path: str, value: Any = None) -> Any:
        response = await self._client.request(method, path, value)
        if rejection := _get_rejection(response):
            raise rejection
        if error := error_for(response):
            raise error
        return response.json()

    def _cache_urls(self, assets: Sequence[Asset]) -> Sequence[Asset]:
        for asset in assets:
            self._urls.pop(asset.id, None)
            self._urls[asset.id] = asset.url
        while len(self._urls) > CACHED_URLS_MAX:
            del self._urls[next(iter(self._urls))]
        return assets


def _get_rejection(response: HttpResponse) -> RequestError | None:
    """Return the error for a request that the library rejected, with the library's own message."""
    if response.is_unauthenticated or response.message is None:
        return None
    if response.status == HTTPStatus.NOT_FOUND:
        return RequestError("not_found", f"the library does not have this asset: {response.message}", status=404)
    if response.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY):
        return RequestError("rejected", f"the library rejected the request: {response.message}")
    return None


def _matches_filter(asset: Asset, asset_filter: AssetFilter) -> bool:
    has_tag = asset_filter.tag_id is None or any(tag.id == asset_filter.tag_id for tag in asset.tags)
    return has_tag and (asset.is_favorite or not asset_filter.is_favorite)


def _asset_path(asset_id: str) -> str:
    return f"/api/assets/{quote(asset_id, safe='')}"
