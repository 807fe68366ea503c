"""Client of the library: list, search, tag, mark as favourite, share, name templates, find similar assets, delete."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from splootd.core.limits import Limits
from splootd.errors import RequestError
from splootd.remote.asset_query import EXTENSION, AssetChange, AssetFilter, Order, Removal
from splootd.remote.asset_responses import (
    ASSETS_MAX,
    Asset,
    DuplicateGroup,
    Page,
    ShareLink,
    ShareUrl,
    Tag,
    Template,
    parse_asset,
    parse_assets,
    parse_changed,
    parse_duplicate_groups,
    parse_folders,
    parse_page,
    parse_search,
    parse_share_links,
    parse_share_url,
    parse_tag,
    parse_tags,
    parse_templates,
)
from splootd.remote.client import SplootClient
from splootd.remote.instrumentation import instrument
from splootd.remote.status_mapping import HttpResponse, error_for

CACHED_URLS_MAX = 5_000  # image URLs by asset, so that showing an image takes one request and not two


class LibraryClient:
    """Reads and changes the assets of the library.

    Methods raise the errors of `SplootClient`, and RequestError for requests that the library rejects. The local
    server (`is_local`) has no address, so its assets cannot be shared.
    """

    def __init__(self, client: SplootClient, *, is_local: bool = False) -> None:
        self.calls = client.calls
        self._client = client
        self._is_local = is_local
        self._urls: dict[str, str] = {}  # image URL by asset id; the least recently updated first

    async def has_feature(self, feature: str) -> bool:
        """Return whether the server supports an addition to Sploot's API."""
        limits: Limits = self._client.last_limits or await self._client.limits()
        return limits.features.get(feature) == "true"

    @instrument
    async def list_assets(self, asset_filter: AssetFilter, order: Order, *, limit: int, offset: int) -> Page:
        """Fetch one page of assets."""
        if asset_filter.needs_extension or order.needs_extension:
            await self._require(EXTENSION, "these filters and orders")
        params: dict[str, Any] = {"limit": limit, "offset": offset, **order.api_fields, **asset_filter.api_fields}
        if asset_filter.is_favorite:
            params["favorite"] = "true"
        if asset_filter.is_deleted:
            params["trash"] = "true"
        page = parse_page(await self._request_json("GET", f"/api/assets?{urlencode(params)}"), offset=offset)
        self._cache_urls(page.assets)
        return page

    @instrument
    async def search(self, text: str, asset_filter: AssetFilter, *, limit: int, offset: int = 0) -> Page:
        """Search the library, best match first. Sploot's search ignores favourites and tags: they are applied here."""
        if asset_filter.needs_extension:
            await self._require(EXTENSION, "these filters")
        if offset and not await self.has_feature(EXTENSION):
            return Page((), offset, has_more=False)
        body: dict[str, Any] = {"query": text, "limit": limit, "offset": offset, **asset_filter.api_fields}
        if asset_filter.is_favorite:
            body["favorite"] = True
        page = parse_search(await self._request_json("POST", "/api/search", body))
        self._cache_urls([*page.assets, *page.nearest])
        matches = [each for each in page.assets if _matches_filter(each, asset_filter)]
        nearest = [each for each in page.nearest if _matches_filter(each, asset_filter)]
        has_more = page.has_more or len(matches) > limit  # Sploot sends at least 10
        return Page(matches[:limit], None if has_more else offset + len(matches), has_more, nearest)

    @instrument
    async def similar(self, asset_id: str, *, limit: int) -> Sequence[Asset]:
        """Find assets that look or mean the same, the most similar first."""
        await self._require("similar", "search by similarity")
        path = f"{_asset_path(asset_id)}/similar?{urlencode({'limit': limit})}"
        return self._cache_urls(parse_assets(await self._request_json("GET", path), "results"))[:limit]

    @instrument
    async def list_tags(self) -> Sequence[tuple[Tag, int]]:
        """Fetch all tags with their numbers of assets."""
        return parse_tags(await self._request_json("GET", "/api/tags"))

    @instrument
    async def list_folders(self) -> Sequence[tuple[str, int]]:
        """Fetch the names of the folders that held the files, with their numbers of assets."""
        await self._require(EXTENSION, "folders")
        return parse_folders(await self._request_json("GET", "/api/folders"))

    @instrument
    async def mark_copied(self, asset_id: str) -> None:
        """Record that an asset was taken out to be used; Sort.COPIED lists it first."""
        await self._require(EXTENSION, "the order of copying")
        await self._request_json("POST", f"{_asset_path(asset_id)}/copied", {})

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
    async def share_asset(self, asset_id: str, end: Mapping[str, int | None] | None = None) -> ShareUrl:
        """Return the asset's share link, creating it if there is none; `end` changes when it ends (`days`)."""
        self.check_shareable()
        if end is not None:
            await self._require("shareExpiry", "links that end")
        return parse_share_url(await self._request_json("POST", f"{_asset_path(asset_id)}/share", end))

    @instrument
    async def unshare_asset(self, asset_id: str) -> None:
        """Revoke the asset's share link. An asset without one is no error."""
        self.check_shareable()
        await self._request_json("DELETE", f"{_asset_path(asset_id)}/share")

    @instrument
    async def list_share_links(self) -> Sequence[ShareLink]:
        """Fetch the share links, newest first, at most ASSETS_MAX."""
        self.check_shareable()
        await self._require("shareList", "lists of share links")
        return parse_share_links(await self._request_json("GET", f"/api/shares?{urlencode({'limit': ASSETS_MAX})}"))

    @instrument
    async def list_templates(self) -> Sequence[Template]:
        """Fetch all templates by name."""
        await self._require("templates", "templates")
        return parse_templates(await self._request_json("GET", "/api/templates"))

    @instrument
    async def learn_template(self, picture: bytes, name: str, keywords: Sequence[str]) -> None:
        """Teach the library a picture of a template."""
        await self._require("templates", "templates")
        query = urlencode([("name", name), *(("keyword", each) for each in keywords)])
        await self._request_json("POST", f"/api/templates?{query}", picture)

    @instrument
    async def name_template(self, asset_id: str, name: str) -> Asset:
        """Name the template of an asset, and so of all that share it; return the asset."""
        await self._require("templates", "templates")
        await self._request_json("PUT", f"{_asset_path(asset_id)}/template", {"name": name})
        return await self.get_asset(asset_id)

    @instrument
    async def remove_template(self, template_id: str) -> None:
        """Remove a template. The assets that show it stay."""
        await self._request_json("DELETE", f"/api/templates/{quote(template_id, safe='')}")

    @instrument
    async def delete_asset(self, asset_id: str) -> None:
        """Delete an asset. The library can restore it for a while."""
        await self._request_json("DELETE", _asset_path(asset_id))
        self._urls.pop(asset_id, None)

    @instrument
    async def change_assets(self, asset_ids: Sequence[str], change: AssetChange) -> Sequence[str]:
        """Change many assets; return the ids of those that the library has. A plain Sploot restores nothing."""
        if await self.has_feature("changes"):
            body = {"ids": list(asset_ids), **change.api_fields}
            return parse_changed(await self._request_json("POST", "/api/assets/changes", body))
        if change.removal is Removal.RESTORE:
            await self._require("trash", "restoring deleted pictures")
        changed = []
        for asset_id in asset_ids:
            try:
                await self._change_asset(asset_id, change)
                changed.append(asset_id)
            except RequestError as error:
                if error.code != "not_found":
                    raise
        return changed

    async def _change_asset(self, asset_id: str, change: AssetChange) -> None:
        if change.removal is not None:
            permanently = "?permanent=true" if change.removal is Removal.PURGE else ""
            await self._request_json("DELETE", f"{_asset_path(asset_id)}{permanently}")
            return
        tags = None
        if change.added_tags or change.removed_tags:
            removed = {name.casefold() for name in change.removed_tags}
            kept = [tag.name for tag in (await self.get_asset(asset_id)).tags if tag.name.casefold() not in removed]
            tags = list({name.casefold(): name for name in [*change.added_tags, *kept]}.values())
        await self.update_asset(asset_id, is_favorite=change.is_favorite, tags=tags)

    @instrument
    async def rename_tag(self, tag_id: str, name: str) -> Tag:
        """Rename a tag; if another tag has this name, return that one, which the assets of both now have."""
        await self._require("tagEditing", "renaming tags")
        return parse_tag(await self._request_json("PATCH", _tag_path(tag_id), {"name": name}))

    @instrument
    async def delete_tag(self, tag_id: str) -> None:
        """Remove a tag from all assets."""
        await self._require("tagEditing", "deleting tags")
        await self._request_json("DELETE", _tag_path(tag_id))

    @instrument
    async def list_duplicate_groups(self, *, limit: int, offset: int) -> tuple[Sequence[DuplicateGroup], int]:
        """Fetch one page of the groups of assets that look the same, and the number of all groups."""
        await self._require("duplicates", "lists of duplicates")
        path = f"/api/duplicates?{urlencode({'limit': limit, 'offset': offset})}"
        groups, total = parse_duplicate_groups(await self._request_json("GET", path))
        self._cache_urls([asset for group in groups for asset in group.assets])
        return groups, total

    async def get_image_url(self, asset_id: str) -> str:
        """Return the URL of the asset's image."""
        return self._urls.get(asset_id) or (await self.get_asset(asset_id)).url

    def check_shareable(self) -> None:
        """Raise RequestError for a library without an address."""
        if self._is_local:
            raise RequestError(
                "not_shareable",
                "the library is on this computer only, so a link to it would open for no one else",
                "to share, use a server that others can reach: sploot config set server URL",
            )

    async def _require(self, feature: str, subject: str) -> None:
        if not await self.has_feature(feature):
            raise RequestError("not_supported", f"this server does not support {subject}", status=404)

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


def _tag_path(tag_id: str) -> str:
    return f"/api/tags/{quote(tag_id, safe='')}"


def _asset_path(asset_id: str) -> str:
    return f"/api/assets/{quote(asset_id, safe='')}"
