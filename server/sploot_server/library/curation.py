"""Keep a library in order: changes to many assets at once, the trash, tags and duplicates."""

import asyncio
import contextlib
from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import structlog

from sploot_server.domain.entities import AssetChange, DuplicateGroupPage, LibraryError, NotFound, Tag
from sploot_server.library.service import Library, clean_tags, now_ms
from sploot_server.pubsub.broker import Broker
from sploot_server.storage.assets import AssetStore

TRASH_MS = 30 * 24 * 3600 * 1000  # how long deleted assets can be restored
PURGE_INTERVAL_S = 3600.0
PURGE_BATCH = 100

logger = structlog.get_logger()


class Curation:
    """Changes the assets of a library, as `Library` does, but many at once."""

    def __init__(self, library: Library, assets: AssetStore, broker: Broker) -> None:
        self._library = library
        self._assets = assets
        self._broker = broker

    def for_owner(self, owner: str) -> "Curation":
        """Return the same curation, scoped to this owner."""
        scoped = copy(self)
        scoped._library = self._library.for_owner(owner)  # noqa: SLF001 - an object of this class
        scoped._assets = self._assets.for_owner(owner)  # noqa: SLF001
        return scoped

    async def change(self, asset_ids: Sequence[str], change: AssetChange) -> Sequence[str]:
        """Change the live assets among `asset_ids`; return their ids. Raises InvalidInput for a bad tag."""
        cleaned = replace(change, add_tags=clean_tags(change.add_tags))
        return await self._assets.change(asset_ids, cleaned, now_ms=now_ms())

    async def delete(self, asset_ids: Sequence[str]) -> Sequence[str]:
        """Move the live assets among `asset_ids` into the trash; return their ids."""
        return self._publish(await self._assets.delete_all(asset_ids, now_ms=now_ms()))

    async def restore(self, asset_ids: Sequence[str]) -> Sequence[str]:
        """Take the assets among `asset_ids` out of the trash; return the ids of those that were in it."""
        return self._publish(await self._assets.restore_all(asset_ids, now_ms=now_ms()))

    async def purge(self, asset_ids: Sequence[str]) -> Sequence[str]:
        """Remove the assets among `asset_ids` that are in the trash for good; return their ids."""
        purged = []
        for asset_id in asset_ids:
            with contextlib.suppress(NotFound):
                await self._library.purge(asset_id, deleted_before_ms=now_ms() + 1)
                purged.append(asset_id)
        return purged

    async def rename_tag(self, tag_id: str, name: str) -> Tag:
        """Rename a tag, or merge it into the one with this name. Raises NotFound or InvalidInput."""
        [cleaned] = clean_tags([name])
        tag = await self._assets.rename_tag(tag_id, cleaned)
        if tag is None:
            raise NotFound
        return tag

    async def delete_tag(self, tag_id: str) -> None:
        """Remove a tag from all assets. Raises NotFound."""
        if not await self._assets.delete_tag(tag_id):
            raise NotFound

    async def list_duplicate_groups(self, *, limit: int, offset: int) -> DuplicateGroupPage:
        return await self._assets.list_duplicate_groups(limit=limit, offset=offset)

    async def run_purge(self) -> None:
        """Purge the assets of all owners that have been in the trash for TRASH_MS, once an hour, until cancelled."""
        while True:
            try:
                await self.purge_expired(now_ms() - TRASH_MS)
            except LibraryError as error:
                logger.warning("emptying the trash failed", error=str(error))
            await asyncio.sleep(PURGE_INTERVAL_S)

    async def purge_expired(self, deleted_before_ms: int) -> None:
        """Purge the assets of all owners that were deleted before this time; those restored meanwhile stay."""
        while expired := await self._assets.list_deleted_before(deleted_before_ms, PURGE_BATCH):
            for owner, asset_id in expired:
                with contextlib.suppress(NotFound):
                    await self._library.for_owner(owner).purge(asset_id, deleted_before_ms=deleted_before_ms)

    def _publish(self, asset_ids: Sequence[str]) -> Sequence[str]:
        for asset_id in asset_ids:
            self._broker.publish(asset_id)
        return asset_ids
