"""Upload a batch of items by path to a local server: hash, send and record them together."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence

from splootd.core.item import Leased, Version
from splootd.core.limits import Limits
from splootd.errors import ItemError
from splootd.file_reader import Content, MemoryBudget, hash_files, stat_version
from splootd.metrics import MetricsCollector
from splootd.store.completion import Accepted
from splootd.store.ledger import Ledger
from splootd.text import display_name
from splootd.upload.admission import AdmissionController
from splootd.upload.content_locks import KeyedLock
from splootd.upload.delivery import UploadJob, UploadResult
from splootd.upload.result_handler import ResultHandler
from splootd.upload.transports.by_path import UPLOAD_BY_PATH_BYTES_MAX, PathUploader
from splootd.weighted_semaphore import WeightedSemaphore

HASHING_CONCURRENCY_MAX = 2  # batches: enough to keep the processors busy, few enough for urgent items to get a thread

_HashedItem = tuple[Leased, Content]


class BatchUploader:
    """Uploads the items of a batch that can share a request."""

    def __init__(
        self,
        ledger: Ledger,
        result_handler: ResultHandler,
        path_uploader: PathUploader,
        content_locks: KeyedLock,
        admission: AdmissionController,
        *,
        budget: MemoryBudget,
        metrics: MetricsCollector,
    ) -> None:
        self._ledger = ledger
        self._result_handler = result_handler
        self._path_uploader = path_uploader
        self._content_locks = content_locks
        self._admission = admission
        self._budget = budget
        self._metrics = metrics
        self._hashing_slots = WeightedSemaphore(HASHING_CONCURRENCY_MAX)

    async def upload(
        self,
        remaining: dict[int, Leased],
        limits: Limits,
        check_admission: Callable[[], None],
        create_job: Callable[[Leased, Content], UploadJob],
    ) -> None:
        """Upload and record the items that can share a request, and remove them from `remaining`.

        The caller uploads the items that are left there one by one.
        """
        for part in list(_split_into_requests(list(remaining.values()), self._path_uploader.files_max)):
            check_admission()
            readable = await self._hash_items(part, limits)
            async with contextlib.AsyncExitStack() as held_locks:
                hashed: list[_HashedItem] = []
                known = await self._ledger.find_known([content.sha256 for _, content in readable])
                for leased, content in readable:
                    if content.sha256 not in known and self._content_locks.is_free(content.sha256):
                        await held_locks.enter_async_context(self._content_locks.acquire(content.sha256))
                        hashed.append((leased, content))
                if hashed:
                    await self._upload_by_path(hashed, remaining, create_job)

    async def _hash_items(self, part: Sequence[Leased], limits: Limits) -> list[_HashedItem]:
        """Read and hash the items. Leave out those that need individual handling: errors, truncated or forced files."""
        priority = part[0].item.priority
        files = [(leased.item.path, leased.item.version) for leased in part]
        async with self._hashing_slots.reserve(1, priority):
            with self._metrics.utilization.track("reading"):
                contents = await hash_files(files, budget=self._budget, limits=limits, priority=priority)
        return [
            (leased, content)
            for leased, content in zip(part, contents, strict=True)
            if isinstance(content, Content) and content.is_complete and not leased.item.force
        ]

    async def _upload_by_path(
        self,
        hashed: Sequence[_HashedItem],
        remaining: dict[int, Leased],
        create_job: Callable[[Leased, Content], UploadJob],
    ) -> None:
        try:
            results = await self._path_uploader.upload([create_job(leased, content) for leased, content in hashed])
        except ItemError as error:
            for leased, _ in hashed:
                del remaining[leased.item.id]
            await asyncio.gather(
                *(self._result_handler.handle_error(leased, error, content=each.sha256) for leased, each in hashed)
            )
            return
        uploaded = [(*each, delivered) for each, delivered in zip(hashed, results, strict=True) if delivered]
        if uploaded:
            self._admission.record_success()
            await self._record_uploaded(uploaded, remaining)

    async def _record_uploaded(
        self, uploaded: Sequence[tuple[Leased, Content, UploadResult]], remaining: dict[int, Leased]
    ) -> None:
        """Record uploaded items. A file that changed in the meantime stays queued for its new version.

        A file that is gone by now is recorded as uploaded: its content is in the library.
        """
        versions = await asyncio.to_thread(_stat_versions, [content.path for _, content, _ in uploaded])
        accepted: list[Accepted] = []
        for (leased, content, result), version in zip(uploaded, versions, strict=True):
            self._metrics.record_item(result.sent_bytes)
            if version is None or version == content.version:
                result_fields = (result.asset_id, content.sha256, result.is_duplicate, result.has_embedding)
                accepted.append(Accepted(leased, *result_fields))
            else:
                error_message = f"{display_name(content.path)} changed during the upload; its new version follows"
                await self._result_handler.snooze_changed(leased, version, error_message)
                del remaining[leased.item.id]
        await self._result_handler.accept_batch(accepted)
        for each in accepted:
            del remaining[each.leased.item.id]


def _stat_versions(paths: Sequence[bytes]) -> list[Version | None]:
    """Return the current version of each file, or None if there is no readable file."""
    versions: list[Version | None] = []
    for path in paths:
        try:
            versions.append(stat_version(path))
        except ItemError:
            versions.append(None)
    return versions


def _split_into_requests(items: Sequence[Leased], files_max: int) -> Iterator[Sequence[Leased]]:
    """Split items into requests, each of one priority, small files before large ones."""
    part: list[Leased] = []
    size = 0
    for leased in sorted(
        items, key=lambda each: (each.item.priority, each.item.version.size > UPLOAD_BY_PATH_BYTES_MAX)
    ):
        size += leased.item.version.size
        is_full = len(part) >= files_max or size > UPLOAD_BY_PATH_BYTES_MAX
        if part and (is_full or part[0].item.priority != leased.item.priority):
            yield part
            part, size = [], leased.item.version.size
        part.append(leased)
    if part:
        yield part
