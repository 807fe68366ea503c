"""Handlers of tags, favourites, share links and images: what `sploot` does with assets of the library."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence

from splootd import protocol
from splootd.control.context import Context
from splootd.core.tags import TAGS_MAX, clean_tags
from splootd.errors import RequestError
from splootd.remote.asset_responses import Asset
from splootd.remote.image_proxy import THUMBNAIL_PX

TARGETS_MAX = 1_000


async def edit_assets(context: Context, request: protocol.EditAssets) -> protocol.EditedAssets:
    """Change the tags and the favourite of each target. Raises RequestError for a tag that no Sploot accepts."""
    try:
        add_tags = clean_tags(request.add_tags)
    except ValueError as error:
        raise RequestError("bad_tag", str(error), "use other words") from None
    remove_tags = {tag.strip().casefold() for tag in request.remove_tags}
    found, not_found = await _find_assets(context, request.targets)
    edited = []
    for asset in found:
        tags = _edit_tags([tag.name for tag in asset.tags], add_tags, remove_tags)
        changed = await context.library_client.update_asset(asset.id, is_favorite=request.favorite, tags=tags)
        edited.append(changed)
    names = await _find_names(context, edited)
    return protocol.EditedAssets(
        tuple(
            protocol.EditedAsset(asset.id, name, tuple(tag.name for tag in asset.tags), asset.is_favorite)
            for asset, name in zip(edited, names, strict=True)
        ),
        not_found,
    )


def _edit_tags(tags: Sequence[str], add_tags: Sequence[str], remove_tags: set[str]) -> list[str] | None:
    """Return all tags after a change, None if they stay. Two tags that differ in case are the same tag."""
    known = {tag.casefold() for tag in tags}
    wanted = [*tags, *(tag for tag in add_tags if tag.casefold() not in known)]
    wanted = [tag for tag in wanted if tag.casefold() not in remove_tags]
    if len(wanted) > TAGS_MAX:
        raise RequestError("bad_tag", f"the picture would have {len(wanted)} tags; the library accepts {TAGS_MAX}")
    return None if wanted == list(tags) else wanted


async def share(context: Context, request: protocol.Share) -> protocol.SharedAssets:
    """Create or revoke the share link of each target."""
    context.library_client.check_shareable()
    found, not_found = await _find_assets(context, request.targets)
    urls: list[str | None] = []
    for asset in found:
        if request.stop:
            await context.library_client.unshare_asset(asset.id)
        urls.append(None if request.stop else (await context.library_client.share_asset(asset.id)).url)
    names = await _find_names(context, found)
    shared = (protocol.SharedAsset(asset.id, name, url) for asset, name, url in zip(found, names, urls, strict=True))
    return protocol.SharedAssets(tuple(shared), not_found)


async def list_share_links(context: Context) -> protocol.SharedAssets:
    """Return the share links, newest first."""
    links = await context.library_client.list_share_links()
    names = await _find_names(context, [link.asset for link in links])
    return protocol.SharedAssets(
        tuple(
            protocol.SharedAsset(link.asset.id, name, link.url, link.created_at)
            for link, name in zip(links, names, strict=True)
        )
    )


async def save_image(context: Context, request: protocol.SaveImage) -> protocol.MessageReply:
    """Write an image to a new file. Raises RequestError if the file exists or cannot be written."""
    if not request.file.startswith("/") or "\0" in request.file:
        raise RequestError("bad_path", f"{request.file[:200]!r} is not an absolute path")
    if request.size_px is not None and await context.library_client.has_feature("thumbnails"):
        size_px = min(max(request.size_px, THUMBNAIL_PX[0]), THUMBNAIL_PX[1])
        image = await context.image_proxy.thumbnail(request.asset_id, size_px)
        await _write(request.file, image.pieces)
    else:
        url = await context.library_client.get_image_url(request.asset_id)
        async with context.image_proxy.open_image(url) as image:
            await _write(request.file, image.pieces)
    return protocol.MessageReply(f"Saved {request.file}.")


async def _write(name: str, pieces: AsyncIterator[bytes]) -> None:
    """Write `pieces` to a new file that only its owner can read; a partial one is deleted."""
    try:
        descriptor = await asyncio.to_thread(os.open, name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as output:
                async for piece in pieces:
                    await asyncio.to_thread(output.write, piece)
        except BaseException:
            await asyncio.to_thread(os.unlink, name)
            raise
    except OSError as error:
        title = f"{name} cannot be written: {error.strerror or error}"
        raise RequestError("bad_path", title, "choose another file") from error


async def _find_assets(context: Context, targets: Sequence[str]) -> tuple[list[Asset], tuple[str, ...]]:
    """Return the assets of the targets, and the targets that the library does not have."""
    if len(targets) > TARGETS_MAX:
        raise RequestError("too_many", f"one request changes at most {TARGETS_MAX} pictures", "use several requests")
    found: list[Asset] = []
    not_found: list[str] = []
    for target in dict.fromkeys(targets):
        asset_id = await _find_asset_id(context, target)
        try:
            found += [] if asset_id is None else [await context.library_client.get_asset(asset_id)]
        except RequestError as error:
            if error.code != "not_found":
                raise
            asset_id = None
        not_found += [target] if asset_id is None else []
    return found, tuple(not_found)


async def _find_asset_id(context: Context, target: str) -> str | None:
    """Return the asset id of a local file, or the target itself, which is an asset id."""
    if not target.startswith("/"):
        return target
    path = os.fsencode(target)
    versions = await context.read_queries.items_by_path(path)
    versions = versions or await context.read_queries.items_by_path(await asyncio.to_thread(os.path.realpath, path))
    return versions[0].asset_id if versions else None


async def _find_names(context: Context, assets: Sequence[Asset]) -> list[str]:
    """Return the name of each asset's local file, or its name in the library."""
    paths = await context.read_queries.paths_by_asset_id([asset.id for asset in assets])
    return [os.fsdecode(paths[asset.id].rpartition(b"/")[2]) if asset.id in paths else asset.name for asset in assets]
