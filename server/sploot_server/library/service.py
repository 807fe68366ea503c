"""The use cases of the library: add, find, edit and delete assets. Contains no HTTP and no SQL."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path

from sploot_server.config import Config
from sploot_server.domain.asset_query import AssetQuery
from sploot_server.domain.entities import (
    AddResult,
    Asset,
    AssetPage,
    Embedding,
    EmbeddingState,
    FolderCount,
    InvalidInput,
    NewAsset,
    NotFound,
    Tag,
    TagCount,
    TooLarge,
    new_id,
)
from sploot_server.domain.file_names import UNPRINTABLE, split_file_name
from sploot_server.domain.image_formats import missing_decoders
from sploot_server.domain.sniff import sniff
from sploot_server.library.embedding_jobs import EmbeddingQueue
from sploot_server.library.quotas import Quotas, check_disk_space
from sploot_server.library.thumbnails import Thumbnails
from sploot_server.pubsub.broker import Broker
from sploot_server.storage.assets import AssetStore
from sploot_server.storage.blobs.files import BlobStore, UploadSink
from sploot_server.storage.interfaces import OwnedEmbedding

FINAL_STATES = (EmbeddingState.READY, EmbeddingState.FAILED)
GENERATE_S_MAX = 10.0  # then the response reports that the job is in the queue
PAGE_ASSETS_MAX = 500
TAGS_MAX = 20
TAG_CHARS_MAX = 50
LOCK_COUNT = 256  # one per first byte of the checksum
TYPE_NAMES = {
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


class Library:
    """The use cases, based on an AssetStore and a BlobStore.

    A lock per content excludes adding and purging the same content concurrently: otherwise a purge could remove the
    bytes of an asset that is being added again.
    """

    def __init__(
        self,
        config: Config,
        assets: AssetStore,
        blobs: BlobStore,
        queue: EmbeddingQueue,
        broker: Broker,
        *,
        thumbnails: Thumbnails,
    ) -> None:
        self._config = config
        self._assets = assets
        self._blobs = blobs
        self._queue = queue
        self._broker = broker
        self._thumbnails = thumbnails
        self._quotas = Quotas()
        self._locks = [asyncio.Lock() for _ in range(LOCK_COUNT)]

    def for_owner(self, owner: str) -> "Library":
        """Return the same library, scoped to this owner; the locks and the quotas are shared."""
        scoped = copy(self)
        scoped._assets = self._assets.for_owner(owner)  # noqa: SLF001 - an object of this class
        return scoped

    def open_upload(self) -> UploadSink:
        """Return a sink for the bytes of one upload."""
        return self._blobs.open_upload()

    def check_size(self, size_bytes: int) -> None:
        """Raise TooLarge if `size_bytes` exceeds the upload limit."""
        limit = self._config.upload_bytes_max
        if size_bytes > limit:
            raise TooLarge(
                f"File is too large ({_format_megabytes(size_bytes)}). Maximum size is {_format_megabytes(limit)}"
            )

    async def check_disk_space(self, size_bytes: int) -> None:
        """Raise OutOfSpace if an upload of this size would use the disk reserve of the server."""
        if reserve := self._config.disk_reserve:
            folders = [each for each in (self._config.data, self._config.upload_dir) if each is not None]
            await asyncio.to_thread(check_disk_space, folders, size_bytes, reserve_bytes=reserve)

    def reserve_quota(self, size_bytes: int, *, unfinished_bytes: int) -> AbstractAsyncContextManager[None]:
        """Reserve room for an upload in the quota of the owner for the block. Raise OutOfSpace if there is none."""
        return self._quotas.reserve(self._assets, size_bytes, unfinished_bytes=unfinished_bytes)

    def detect_type(self, head: bytes) -> str:
        """Return the type of a file that starts with `head`. Raises InvalidInput if the type is not accepted."""
        mime = sniff(head)
        if mime is None or mime not in self._config.mime_types:
            decoder = missing_decoders(self._config.mime_types).get(mime or "")
            advice = (
                f". {TYPE_NAMES[mime]} needs `pip install 'sploot[{decoder}]'` on the server"
                if mime and decoder
                else ""
            )
            alternatives = _join_alternatives(self._config.mime_types)
            raise InvalidInput(f"File type not supported. Use {alternatives}{advice}")
        return mime

    async def add(self, upload: UploadSink, *, filename: str, tags: Sequence[str]) -> AddResult:
        """Add an upload; on return the bytes and the row are durable. Raises InvalidInput, TooLarge or OutOfSpace."""
        mime = self._detect_upload_type(upload)
        folder, name = split_file_name(filename)
        new = NewAsset(new_id(), upload.checksum, name, mime, upload.size_bytes, clean_tags(tags), folder=folder)
        return await self._store(upload, new)

    async def import_asset(self, upload: UploadSink, exported: NewAsset) -> AddResult:
        """Add an exported asset, under its old id if that is free. Raises like `add`."""
        # An export may have more tags than one request may send.
        parts = [exported.tags[start : start + TAGS_MAX] for start in range(0, len(exported.tags), TAGS_MAX)]
        new = replace(
            exported,
            mime=self._detect_upload_type(upload),
            filename=split_file_name(exported.filename)[1],
            folder=split_file_name(f"{exported.folder}/")[0],
            tags=[tag for part in parts for tag in clean_tags(part)],
        )
        return await self._store(upload, new)

    async def _store(self, upload: UploadSink, new: NewAsset) -> AddResult:
        async with self.lock_content(new.checksum):
            found = await self._assets.find_by_checksum(new.checksum)
            if found is not None and not new.tags:
                return AddResult(found, created=False)
            if found is not None:
                added = await self._assets.add(new, now_ms=now_ms())
            else:
                async with self._quotas.reserve(self._assets, new.size_bytes, checksum=new.checksum):
                    # Bytes before row: a crash in between leaves a blob without a row, no row without.
                    await upload.commit()
                    added = await self._assets.add(new, now_ms=now_ms())
        if added.created:
            self._queue.wake_workers()
        if added.created and added.asset.id != new.id:  # restored
            self._broker.publish(added.asset.id)
        return added

    @asynccontextmanager
    async def lock_content(self, checksum: str) -> AsyncIterator[None]:
        """Exclude all processes from adding and purging this content within the block."""
        async with self._locks[int(checksum[:2], 16)], self._assets.content_lock(checksum):
            yield

    async def add_all(
        self, new: Sequence[NewAsset], commit_blobs: Callable[[], Awaitable[None]]
    ) -> Sequence[AddResult]:
        """Add validated contents at once; `commit_blobs` makes the bytes of all of them durable."""
        async with AsyncExitStack() as locked:
            # In ascending order: two batches that take the same locks in opposite orders would deadlock.
            for number in sorted({int(each.checksum[:2], 16) for each in new}):
                await locked.enter_async_context(self._locks[number])
            await commit_blobs()
            added = await self._assets.add_all(new, now_ms=now_ms())
        self._queue.wake_workers()
        for each, requested in zip(added, new, strict=True):
            if each.created and each.asset.id != requested.id:  # restored
                self._broker.publish(each.asset.id)
        return added

    async def find_by_checksum(self, checksum: str) -> Asset | None:
        """Return the live asset with this content; the checksum is case-insensitive."""
        return await self._assets.find_by_checksum(checksum.lower())

    async def find_by_checksums(self, checksums: Sequence[str]) -> Mapping[str, Asset]:
        """Return the live assets with these contents by checksum, which must be lower-case."""
        return await self._assets.find_by_checksums(checksums)

    async def get(self, asset_id: str, *, with_deleted: bool = False) -> Asset:
        asset = await self._assets.get(asset_id, with_deleted=with_deleted)
        if asset is None:
            raise NotFound
        return asset

    def read(self, asset: Asset, start: int, stop: int) -> AsyncIterator[bytes]:
        """Return the bytes of an original from `start` to before `stop` in chunks."""
        return self._blobs.read(asset.checksum, start, stop)

    def local_file(self, asset: Asset) -> AbstractAsyncContextManager[Path]:
        """Provide a local file with an original for the block."""
        return self._blobs.local_file(asset.checksum)

    async def get_thumbnail(self, asset: Asset, side_px: int, *, owner: str) -> bytes:
        """Return a thumbnail as WebP, in the turn of `owner`. Raises NoThumbnail or BackendUnavailable."""
        return await self._thumbnails.get(asset, self.local_file(asset), side_px, owner=owner)

    async def list(self, query: AssetQuery) -> AssetPage:
        return await self._assets.list(query)

    async def edit(self, asset_id: str, *, favorite: bool | None, tags: Sequence[str] | None) -> Asset:
        cleaned = None if tags is None else clean_tags(tags)
        if not await self._assets.edit(asset_id, favorite=favorite, tags=cleaned, now_ms=now_ms()):
            raise NotFound
        return await self.get(asset_id)

    async def delete(self, asset_id: str) -> int:
        """Delete an asset and return the time in milliseconds. Uploading the same bytes again restores it."""
        now = now_ms()
        if not await self._assets.delete(asset_id, now_ms=now):
            raise NotFound
        self._broker.publish(asset_id)
        return now

    async def purge(self, asset_id: str, *, deleted_before_ms: int | None = None) -> None:
        """Remove an asset permanently, and its bytes if no other owner has them.

        With `deleted_before_ms` it must have been deleted before that time. Raises NotFound.
        """
        checksum = await self._assets.get_checksum(asset_id)
        if checksum is None:
            raise NotFound
        async with self.lock_content(checksum):
            if await self._assets.purge(asset_id, deleted_before_ms=deleted_before_ms) is None:
                raise NotFound
            if not await self._assets.is_referenced(checksum):
                await self._blobs.remove(checksum)
            await self._thumbnails.remove(asset_id)
        self._broker.publish(asset_id)

    async def mark_copied(self, asset_id: str) -> None:
        if not await self._assets.mark_copied(asset_id, now_ms=now_ms()):
            raise NotFound

    async def list_folders(self) -> Sequence[FolderCount]:
        return await self._assets.list_folders()

    async def list_tags(self) -> Sequence[TagCount]:
        return await self._assets.list_tags()

    async def add_tags(self, asset_id: str, *, names: Sequence[str], tag_ids: Sequence[str]) -> Sequence[Tag]:
        names = clean_tags([name.lower() for name in names])
        added = await self._assets.add_tags(asset_id, names=names, tag_ids=tag_ids, now_ms=now_ms())
        if added is None:
            raise NotFound
        return added

    async def get_embeddings(self, asset_ids: Sequence[str]) -> Mapping[str, Embedding]:
        """Return the embeddings of the live assets among `asset_ids`."""
        return await self._assets.get_embeddings(asset_ids)

    async def iter_assets(self) -> AsyncIterator[Asset]:
        """Iterate over all assets in the order of their addition, deleted ones included."""
        row = 0
        while page := await self._assets.list_after(row, PAGE_ASSETS_MAX):
            for _, asset in page:
                yield asset
            row = page[-1][0]

    async def get_owned_embeddings(self, asset_ids: Sequence[str]) -> Mapping[str, OwnedEmbedding]:
        """Return the existing assets among `asset_ids`, of all owners, deleted ones included."""
        return await self._assets.get_owned_embeddings(asset_ids)

    async def generate_embedding(self, asset_id: str) -> tuple[Asset, bool]:
        """Process this embedding next and wait a while; return the asset and whether it was ready before."""
        if (await self.get(asset_id)).embedding.state is EmbeddingState.READY:
            return await self.get(asset_id), True

        async def is_finished() -> bool:
            return (await self.get(asset_id)).embedding.state in FINAL_STATES

        await self._queue.prioritize(asset_id, is_finished, timeout_s=GENERATE_S_MAX)
        return await self.get(asset_id), False

    async def check_services(self) -> Mapping[str, Exception | None]:
        """Check the database and the blob store; return the error of each, None if it is healthy."""
        checks = {"database": self._assets.find_by_checksum(""), "storage": self._blobs.check_writable()}
        results = await asyncio.gather(*checks.values(), return_exceptions=True)
        return {
            name: result if isinstance(result, Exception) else None
            for name, result in zip(checks, results, strict=True)
        }

    def _detect_upload_type(self, upload: UploadSink) -> str:
        if upload.size_bytes == 0:
            raise InvalidInput("File appears to be empty")
        self.check_size(upload.size_bytes)
        return self.detect_type(upload.head)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def clean_tags(tags: Sequence[str]) -> list[str]:
    """Return trimmed tags without case-insensitive duplicates. Raises InvalidInput with Sploot's messages."""
    if len(tags) > TAGS_MAX:
        raise InvalidInput(f"You can add up to {TAGS_MAX} tags per upload")
    cleaned: dict[str, str] = {}
    for tag in map(str.strip, tags):
        if not tag:
            raise InvalidInput("Empty tags are not allowed")
        if len(tag) > TAG_CHARS_MAX:
            raise InvalidInput(f"Tags must be {TAG_CHARS_MAX} characters or less")
        if UNSAFE_TAG.search(tag):
            raise InvalidInput("Tags cannot contain special characters like < or >")
        if UNPRINTABLE.search(tag):
            raise InvalidInput("Invalid tag format")
        cleaned.setdefault(tag.casefold(), tag)
    return list(cleaned.values())


def _format_megabytes(size_bytes: int) -> str:
    size = size_bytes / (1024 * 1024)
    return f"{size:.0f}MB" if size == int(size) else f"{size:.1f}MB"


def _join_alternatives(mimes: Sequence[str]) -> str:
    names = [TYPE_NAMES[mime] for mime in mimes]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])}, or {names[-1]}"
