"""Comparison of the database with the blob store: `sploot-server check`.

Both list their contents by checksum in ascending order, so one pass with constant memory compares them. Uploads and
purges go on meanwhile: each difference is looked at again under the lock of its content before it counts.
"""

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum

from sploot_server.domain.entities import OriginalMissing
from sploot_server.storage.assets import AssetStore
from sploot_server.storage.blobs.files import BlobStore

PAGE_CONTENTS = 1_000
END = ("g", 0)  # after every checksum


class Difference(StrEnum):
    """How database and store differ about one content."""

    MISSING = "missing"  # a live asset has no original
    DAMAGED = "damaged"  # the original does not have its checksum
    WRONG_SIZE = "wrong size"  # the original is right, and the size in the database is not
    ORPHANED = "orphaned"  # an original belongs to no asset


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference, with the names of the assets that have the content."""

    difference: Difference
    checksum: str
    filenames: tuple[str, ...]


class ConsistencyCheck:
    """Compares the contents of all owners; `lock_content` excludes uploads and purges of a content."""

    def __init__(
        self,
        assets: AssetStore,
        blobs: BlobStore,
        lock_content: Callable[[str], AbstractAsyncContextManager[object]],
        now_ms: Callable[[], int],
    ) -> None:
        self._assets = assets
        self._blobs = blobs
        self._lock_content = lock_content
        self._now_ms = now_ms

    async def run(self, *, hashes: bool, repair: bool) -> AsyncIterator[Finding]:
        """Yield all differences, with `repair` after repairing each; with `hashes`, read every original.

        A missing or damaged original cannot be made again: the assets are deleted, and uploading the same file restores
        them with their tags. Orphaned originals are removed.
        """
        async for checksum, listed, stored in self._pairs():
            if listed == stored and not hashes:
                continue
            async with self._lock_content(checksum):
                finding = await self._compare(checksum, hashes=hashes)
                if finding is not None and repair:
                    await self._repair(finding)
            if finding is not None:
                yield finding

    async def _pairs(self) -> AsyncIterator[tuple[str, int | None, int | None]]:
        """Yield each checksum with its size in the database and in the store, None where it is absent."""
        rows, blobs = self._list_contents(), self._blobs.list_sizes()
        row, blob = await _next(rows), await _next(blobs)
        while (checksum := min(row[0], blob[0])) != END[0]:
            yield checksum, row[1] if row[0] == checksum else None, blob[1] if blob[0] == checksum else None
            is_listed, is_stored = row[0] == checksum, blob[0] == checksum
            if is_listed:
                row = await _next(rows)
            if is_stored:
                blob = await _next(blobs)

    async def _list_contents(self) -> AsyncIterator[tuple[str, int]]:
        checksum = ""
        while page := await self._assets.list_contents_after(checksum, PAGE_CONTENTS):
            for content in page:
                yield content
            checksum = page[-1][0]

    async def _compare(self, checksum: str, *, hashes: bool) -> Finding | None:
        assets, stored = await self._assets.list_of_content(checksum), await self._blobs.size(checksum)
        live = [each for each in assets if each.deleted_at_ms is None]
        filenames = tuple(each.filename for each in live)
        if stored is None:
            return Finding(Difference.MISSING, checksum, filenames) if live else None
        if not assets:
            return Finding(Difference.ORPHANED, checksum, ())
        has_wrong_size = any(each.size_bytes != stored for each in assets)
        if (hashes or has_wrong_size) and not await self._has_its_checksum(checksum, stored):
            return Finding(Difference.DAMAGED, checksum, filenames)
        return Finding(Difference.WRONG_SIZE, checksum, filenames) if has_wrong_size else None

    async def _has_its_checksum(self, checksum: str, size_bytes: int) -> bool:
        digest = hashlib.sha256()
        try:
            async for chunk in self._blobs.read(checksum, 0, size_bytes):
                digest.update(chunk)
        except OriginalMissing:
            return False
        return digest.hexdigest() == checksum

    async def _repair(self, finding: Finding) -> None:
        checksum = finding.checksum
        if finding.difference is Difference.WRONG_SIZE:
            await self._assets.set_content_size(checksum, await self._blobs.size(checksum) or 0)
            return
        # Assets first: a crash in between leaves an orphan, not an asset without an original.
        await self._assets.delete_content(checksum, now_ms=self._now_ms())
        await self._blobs.remove(checksum)


async def _next(contents: AsyncIterator[tuple[str, int]]) -> tuple[str, int]:
    """Return the next content, or END. The default of `anext` must not be a tuple before Python 3.12."""
    try:
        return await anext(contents)
    except StopAsyncIteration:
        return END
