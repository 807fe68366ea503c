"""What people do with the library: add, look up, change, remove. No HTTP and no SQL."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from copy import copy
from dataclasses import replace
from pathlib import Path

from sploot_server.assets import AssetStore, Owned
from sploot_server.assets.sqlite import new_id
from sploot_server.blobs import BlobStore, Incoming
from sploot_server.config import Config
from sploot_server.jobs import EmbeddingQueue
from sploot_server.model import (
    Added,
    Asset,
    AssetPage,
    AssetQuery,
    Content,
    Embedding,
    EmbeddingState,
    Invalid,
    NewAsset,
    NotFound,
    Tag,
    TagCount,
    TooLarge,
)
from sploot_server.notify import Notifier
from sploot_server.sniff import sniff
from sploot_server.thumbnails import Thumbnails

ENDED = (EmbeddingState.READY, EmbeddingState.FAILED)
GENERATE_S_MAX = 10.0  # then the client is told that it waits in the queue
CONTENTS_MAX = 500  # read at once
TAGS_MAX = 20
TAG_CHARS_MAX = 50
FILENAME_CHARS_MAX = 255
LOCKS = 256  # one per first byte of the checksum
NAMES = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WebP",
    "image/gif": "GIF",
    "image/avif": "AVIF",
    "image/heic": "HEIC",
    "image/heif": "HEIF",
    "video/mp4": "MP4",
    "video/quicktime": "QuickTime",
    "video/webm": "WebM",
}

UNSAFE_TAG = re.compile(r"[<>]|&lt;|&gt;|javascript:|on\w+=", re.IGNORECASE)
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


class Library:
    """The use cases, over an AssetStore and a BlobStore.

    Adding and purging the same content exclude each other by a lock, so that a purge can never take away the bytes of
    an asset that is being added again at that moment.
    """

    def __init__(
        self,
        config: Config,
        assets: AssetStore,
        blobs: BlobStore,
        queue: EmbeddingQueue,
        news: Notifier,
        *,
        thumbnails: Thumbnails,
    ) -> None:
        self._config = config
        self._assets = assets
        self._blobs = blobs
        self._queue = queue
        self._news = news
        self._thumbnails = thumbnails
        self._locks = [asyncio.Lock() for _ in range(LOCKS)]

    def of(self, owner: str) -> "Library":
        """The same library as this owner sees it: what others have does not exist."""
        seen = copy(self)
        seen._assets = self._assets.of(owner)  # noqa: SLF001 - its own, on a copy
        return seen

    def incoming(self) -> Incoming:
        """A place for the bytes of one upload."""
        return self._blobs.incoming()

    def refuse_oversize(self, size_bytes: int) -> None:
        """Raise TooLarge if a file of `size_bytes` is not taken."""
        limit = self._config.upload_bytes_max
        if size_bytes > limit:
            raise TooLarge(f"File is too large ({_megabytes(size_bytes)}). Maximum size is {_megabytes(limit)}")

    def accepted_type(self, head: bytes) -> str:
        """The type of a file that starts with `head`. Raises Invalid if it is not taken."""
        mime = sniff(head)
        if mime is None or mime not in self._config.mime_types:
            raise Invalid(f"File type not supported. Use {_either(self._config.mime_types)}")
        return mime

    async def add(self, incoming: Incoming, *, filename: str, tags: Sequence[str]) -> Added:
        """Keep an upload. Raises Invalid or TooLarge; on return the bytes and the row are durable."""
        mime = self._checked_type(incoming)
        name, tags = clean_filename(filename), clean_tags(tags)
        return await self._keep(incoming, NewAsset(new_id(), incoming.checksum, name, mime, incoming.size_bytes, tags))

    async def bring(self, incoming: Incoming, exported: NewAsset) -> Added:
        """Keep what was exported, under its old id if nobody has that. Raises Invalid or TooLarge."""
        parts = [exported.tags[start : start + TAGS_MAX] for start in range(0, len(exported.tags), TAGS_MAX)]
        new = replace(
            exported,
            mime=self._checked_type(incoming),
            filename=clean_filename(exported.filename),
            tags=[tag for part in parts for tag in clean_tags(part)],
        )
        return await self._keep(incoming, new)

    async def _keep(self, incoming: Incoming, new: NewAsset) -> Added:
        async with self._lock(new.checksum), self._assets.holding(new.checksum):
            found = await self._assets.find(new.checksum)
            if found is not None and not new.tags:
                return Added(found, created=False)
            if found is None:
                await incoming.keep()
            added = await self._assets.add(new, now_ms=now_ms())
        if added.created:
            self._queue.ring()
        if added.created and added.asset.id != new.id:  # it was hidden
            self._news.publish(added.asset.id)
        return added

    async def add_all(self, new: Sequence[NewAsset], keep: Callable[[], Awaitable[None]]) -> Sequence[Added]:
        """As `add`, for contents that are in order; `keep` makes the bytes of all of them durable."""
        async with AsyncExitStack() as locked:
            for number in sorted({int(each.checksum[:2], 16) for each in new}):
                await locked.enter_async_context(self._locks[number])
            await keep()
            added = await self._assets.add_all(new, now_ms=now_ms())
        self._queue.ring()
        for each, asked in zip(added, new, strict=True):
            if each.created and each.asset.id != asked.id:  # it was hidden
                self._news.publish(each.asset.id)
        return added

    async def find(self, checksum: str) -> Asset | None:
        """The live asset with this content; the case of the hex digits does not matter."""
        return await self._assets.find(checksum.lower())

    async def find_all(self, checksums: Sequence[str]) -> Mapping[str, Asset]:
        """The live assets with these contents, by their checksums, which are lower case."""
        return await self._assets.find_all(checksums)

    async def get(self, asset_id: str) -> Asset:
        asset = await self._assets.get(asset_id)
        if asset is None:
            raise NotFound
        return asset

    def read(self, asset: Asset, start: int, stop: int) -> AsyncIterator[bytes]:
        """The bytes of an original from `start` to before `stop`, in pieces."""
        return self._blobs.read(asset.checksum, start, stop)

    def local(self, asset: Asset) -> AbstractAsyncContextManager[Path]:
        """A file with an original, to be read within the block."""
        return self._blobs.local(asset.checksum)

    async def thumbnail(self, asset: Asset, side_px: int) -> Path:
        """A small still of it, as a WebP file. Raises NoThumbnail or Unreachable."""
        return await self._thumbnails.of(asset, self.local(asset), side_px)

    async def list(self, query: AssetQuery) -> AssetPage:
        return await self._assets.list(query)

    async def edit(self, asset_id: str, *, favorite: bool | None, tags: Sequence[str] | None) -> Asset:
        cleaned = None if tags is None else clean_tags(tags)
        if not await self._assets.edit(asset_id, favorite=favorite, tags=cleaned, now_ms=now_ms()):
            raise NotFound
        return await self.get(asset_id)

    async def delete(self, asset_id: str) -> int:
        """Hide an asset; the time of that in milliseconds. The same bytes sent again bring it back."""
        now = now_ms()
        if not await self._assets.delete(asset_id, now_ms=now):
            raise NotFound
        self._news.publish(asset_id)
        return now

    async def purge(self, asset_id: str) -> None:
        """Remove an asset for ever, and its bytes if nobody else has them."""
        checksum = await self._assets.checksum_of(asset_id)
        if checksum is None:
            raise NotFound
        async with self._lock(checksum), self._assets.holding(checksum):
            if await self._assets.purge(asset_id) is None:
                raise NotFound
            if not await self._assets.is_held(checksum):
                await self._blobs.remove(checksum)
                await self._thumbnails.remove(checksum)
        self._news.publish(asset_id)

    async def tags(self) -> Sequence[TagCount]:
        return await self._assets.tags()

    async def add_tags(self, asset_id: str, *, names: Sequence[str], tag_ids: Sequence[str]) -> Sequence[Tag]:
        names = clean_tags([name.lower() for name in names])
        added = await self._assets.add_tags(asset_id, names=names, tag_ids=tag_ids, now_ms=now_ms())
        if added is None:
            raise NotFound
        return added

    async def embeddings(self, asset_ids: Sequence[str]) -> Mapping[str, Embedding]:
        """The embeddings of those of `asset_ids` that are live."""
        return await self._assets.embeddings(asset_ids)

    async def contents(self) -> AsyncIterator[Content]:
        """All assets, hidden ones too, in the order of their adding."""
        row = 0
        while page := await self._assets.contents_after(row, CONTENTS_MAX):
            for content in page:
                yield content
            row = page[-1].row

    async def owned(self, asset_ids: Sequence[str]) -> Mapping[str, Owned]:
        """Those of `asset_ids` that exist, whoever has them, hidden ones too."""
        return await self._assets.owned(asset_ids)

    async def generate_embedding(self, asset_id: str) -> tuple[Asset, bool]:
        """Make this embedding next and wait a while; the asset as it then is, and whether it was ready before."""
        if (await self.get(asset_id)).embedding.state is EmbeddingState.READY:
            return await self.get(asset_id), True

        async def has_ended() -> bool:
            return (await self.get(asset_id)).embedding.state in ENDED

        await self._queue.hurry(asset_id, has_ended, wait_s=GENERATE_S_MAX)
        return await self.get(asset_id), False

    async def troubles(self) -> Mapping[str, Exception | None]:
        """What keeps each of the services behind it from working now, if anything does."""
        asked = {"database": self._assets.find(""), "storage": self._blobs.check()}
        answers = await asyncio.gather(*asked.values(), return_exceptions=True)
        return {
            name: answer if isinstance(answer, Exception) else None for name, answer in zip(asked, answers, strict=True)
        }

    def _lock(self, checksum: str) -> asyncio.Lock:
        return self._locks[int(checksum[:2], 16)]

    def _checked_type(self, incoming: Incoming) -> str:
        if incoming.size_bytes == 0:
            raise Invalid("File appears to be empty")
        self.refuse_oversize(incoming.size_bytes)
        return self.accepted_type(incoming.head)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def clean_tags(tags: Sequence[str]) -> list[str]:
    """Trimmed tags, each once whatever its case. Raises Invalid in Sploot's words."""
    if len(tags) > TAGS_MAX:
        raise Invalid(f"You can add up to {TAGS_MAX} tags per upload")
    cleaned: dict[str, str] = {}
    for tag in map(str.strip, tags):
        if not tag:
            raise Invalid("Empty tags are not allowed")
        if len(tag) > TAG_CHARS_MAX:
            raise Invalid(f"Tags must be {TAG_CHARS_MAX} characters or less")
        if UNSAFE_TAG.search(tag):
            raise Invalid("Tags cannot contain special characters like < or >")
        if UNPRINTABLE.search(tag):
            raise Invalid("Invalid tag format")
        cleaned.setdefault(tag.casefold(), tag)
    return list(cleaned.values())


def clean_filename(name: str) -> str:
    """The last component of what the client calls the file; for people only, no path is ever made of it."""
    base = UNPRINTABLE.sub("", name.replace("\\", "/").rsplit("/", 1)[-1])
    return base[-FILENAME_CHARS_MAX:] or "untitled"


def _megabytes(size_bytes: int) -> str:
    size = size_bytes / (1024 * 1024)
    return f"{size:.0f}MB" if size == int(size) else f"{size:.1f}MB"


def _either(mimes: Sequence[str]) -> str:
    names = [NAMES[mime] for mime in mimes]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])}, or {names[-1]}"
