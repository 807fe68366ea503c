"""Quotas: how many bytes an owner may store. The reserve: how many bytes of a disk uploads leave free."""

import asyncio
import contextlib
import shutil
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from sploot_server.domain.byte_sizes import format_bytes
from sploot_server.domain.entities import OutOfSpace
from sploot_server.storage.assets import AssetStore


def check_disk_space(folders: Iterable[Path], size_bytes: int, *, reserve_bytes: int) -> None:
    """Raise OutOfSpace if `size_bytes` more would leave less than the reserve on a disk. Blocks."""
    for folder in folders:
        free_bytes = shutil.disk_usage(folder).free
        if free_bytes - size_bytes < reserve_bytes:
            raise OutOfSpace(
                "disk_reserve",
                f"The server has no room for {format_bytes(size_bytes)}: {format_bytes(free_bytes)} of its disk are "
                f"free and {format_bytes(reserve_bytes)} are kept in reserve. "
                "Ask the operator to free space, and try again",
            )


class Quotas:
    """Admits content to the quotas of its owners.

    Content that is being stored counts, so that concurrent uploads do not exceed a quota together. Other servers of the
    same database do not know of it: each can exceed a quota by what it stores at that moment.
    """

    def __init__(self) -> None:
        self._storing: Counter[str] = Counter()
        self._ended: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)  # when the next of an owner ends

    @contextlib.asynccontextmanager
    async def reserve(
        self, assets: AssetStore, size_bytes: int, *, checksum: str = "", unfinished_bytes: int = 0
    ) -> AsyncIterator[None]:
        """Reserve room in the quota of the owner of `assets` for the block. Raise OutOfSpace if there is none.

        Content with this checksum takes no room twice: a deleted asset is restored. `unfinished_bytes` is the size of
        the owner's unfinished uploads.
        """
        owner = assets.owner
        await self._admit(assets, size_bytes, checksum, unfinished_bytes)
        self._storing[owner] += size_bytes
        try:
            yield
        finally:
            self._storing[owner] -= size_bytes
            self._ended.pop(owner, asyncio.Event()).set()

    async def _admit(self, assets: AssetStore, size_bytes: int, checksum: str, unfinished_bytes: int) -> None:
        """Return once there is room. Between its commit and its end, content counts twice: refuse only at rest."""
        while True:
            ended = self._ended[assets.owner]
            quota = await assets.get_quota(without=checksum)
            if quota is None:
                return
            if ended.is_set():  # its bytes may be in neither number
                continue
            storing_bytes, used_bytes = self._storing[assets.owner], quota.used_bytes + unfinished_bytes
            if used_bytes + storing_bytes + size_bytes <= quota.limit_bytes:
                return
            if not storing_bytes:
                raise OutOfSpace(
                    "quota",
                    f"Your quota of {format_bytes(quota.limit_bytes)} has no room for {format_bytes(size_bytes)}: "
                    f"{format_bytes(used_bytes)} are used, deleted files and unfinished uploads included. "
                    "Remove files permanently, or ask the operator for a larger quota",
                )
            await ended.wait()
