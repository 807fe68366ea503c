"""Deliver one content: look it up by hash, upload it, and look it up again if the outcome is unknown.

If the server supports it, lookups and small files of several upload workers share requests.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from splootd.clock import Clock
from splootd.core.error_code import ErrorCode
from splootd.core.limits import Limits
from splootd.errors import ConnectionLost, InternalServerError, InvalidResponse, Rejected, ServerError
from splootd.file_reader import Content
from splootd.metrics.collector import Transfer
from splootd.remote.client import SplootClient
from splootd.remote.responses import ExistingAsset, StoredAsset
from splootd.remote.upload_body import FormPart
from splootd.upload.request_batcher import RequestBatcher
from splootd.upload.transports.tus import TUS_BYTES_MIN, TusClient, get_tus_path
from splootd.weighted_semaphore import WeightedSemaphore

LIMITS_TTL_S = 3_600.0
RESOLVE_TIMEOUT_S = 20.0  # for the lookup that resolves an unknown outcome
KNOWN_TAGS_MAX = 10_000
BUNDLE_FILE_BYTES_MAX = 64 * 1024  # up to this size sending a file costs less than its request
BUNDLE_BYTES_MAX = 1024 * 1024  # of files per request, so that urgent files never wait long for a connection
BUNDLE_FAILURES_MAX = 3  # consecutive; then a proxy on the way probably rejects such requests
FORM_OVERHEAD_BYTES_MAX = 8 * 1024  # of the form, per file

# After one of these the server may have stored the file: the response was lost, or it was sent after the commit. The
# file must not be sent again before a lookup by hash.
_UNKNOWN_OUTCOME_ERRORS = (ConnectionLost, InternalServerError, InvalidResponse)


class ServerUnavailable(ServerError):
    """The server failed on a request that must succeed for any content, such as a lookup by hash."""

    error_code = ErrorCode.SERVER_UNAVAILABLE


@dataclass(frozen=True, slots=True)
class UploadResult:
    """A content that is now in the library, with the number of bytes sent for it."""

    asset_id: str
    is_duplicate: bool
    has_embedding: bool
    sent_bytes: int


class StartTransfer(Protocol):
    """Registers one upload as in progress. `shares_request`: its connection is already counted for another upload."""

    def __call__(self, *, shares_request: bool = False) -> AbstractContextManager[Transfer]: ...


@dataclass(frozen=True, slots=True, eq=False)
class UploadJob:
    """A content to upload. `check_admission` raises while uploads are held back; the lowest `priority` goes first."""

    content: Content
    tags: Sequence[str]
    priority: int
    check_admission: Callable[[], None]
    start_transfer: StartTransfer


def create_form_parts(jobs: Sequence[UploadJob], transfers: contextlib.ExitStack) -> list[FormPart]:
    """Create the parts of one request, each registered as in progress until `transfers` is closed."""
    files: list[FormPart] = []
    for job in jobs:
        transfer = transfers.enter_context(job.start_transfer(shares_request=bool(files)))
        files.append(FormPart(job.content, job.tags, transfer.record_progress))
    return files


class _BundleFailed(Exception):
    """The bundle request failed, so the outcome of each of its files is unknown."""

    def __init__(self, error: ServerError) -> None:
        self.error = error


class Delivery:
    """Delivers contents as Sploot requires. The caller must never deliver the same content twice at the same time.

    An InternalServerError, ConnectionLost or InvalidResponse raised here concerns the content, because the server
    answered the lookup that followed; ServerUnavailable means that it did not. At most `upload_slots` requests carry
    contents at the same time.
    """

    def __init__(
        self, client: SplootClient, clock: Clock, upload_slots: WeightedSemaphore, tus_client: TusClient
    ) -> None:
        self._client = client
        self._tus_client = tus_client
        self._clock = clock
        self._upload_slots = upload_slots
        self._limits: Limits | None = None
        self._limits_until = -math.inf  # monotonic
        self._limits_lock = asyncio.Lock()
        self._known_tags: set[str] = set()
        self._new_tags_lock = asyncio.Lock()
        self._bundle_failures = 0  # consecutive, since the limits were fetched
        self._check_batcher = RequestBatcher(
            client.check_batch, acquire_slot=contextlib.nullcontext, get_batch_size=self._get_check_batch_size
        )
        self._bundle_batchers: dict[
            int, RequestBatcher[UploadJob, StoredAsset]
        ] = {}  # by priority, so that urgent files never wait for others

    async def limits(self) -> Limits:
        """Return the server's limits, cached for LIMITS_TTL_S.

        This is the first request of a run, and it is sent alone: two concurrent requests can make Sploot fail to
        create the row of a new user.
        """
        async with self._limits_lock:
            if self._limits is None or self._clock.monotonic() >= self._limits_until:
                try:
                    self._limits = await self._client.limits()
                except _UNKNOWN_OUTCOME_ERRORS as error:
                    raise _server_unavailable(error) from error
                self._limits_until = self._clock.monotonic() + LIMITS_TTL_S
                self._bundle_failures = 0
            return self._limits

    @contextlib.asynccontextmanager
    async def with_new_tags_serialized(self, tags: Sequence[str]) -> AsyncIterator[None]:
        """Allow only one upload with new tags at a time: two that create the same tag make Sploot reject one."""
        async with contextlib.AsyncExitStack() as held_lock:
            if not self._known_tags.issuperset(tags):
                await held_lock.enter_async_context(self._new_tags_lock)
                if self._known_tags.issuperset(tags):  # the upload before has created them
                    await held_lock.aclose()
            yield

    async def deliver(self, job: UploadJob) -> UploadResult:
        """Ensure that the library has the content."""
        if not self._has_batch_check:
            async with self._acquire_slot(job):
                with job.start_transfer() as transfer:
                    return await self._find(job) or await self._upload(job, transfer)
        if existing := await self._find(job):
            return existing
        if not self._fits_in_bundle(job):
            return await self._upload_single(job)
        try:
            return await self._finish_upload(job, self._upload_bundled(job))
        except _BundleFailed as failed:
            return await self._resolve_unknown_outcome(job, failed.error) or await self._upload_single(job)

    async def find(self, job: UploadJob) -> UploadResult | None:
        """Look the content up in the library. Raises ServerUnavailable if even that fails."""
        if self._has_batch_check:
            return await self._find(job)
        async with self._acquire_slot(job):
            return await self._find(job)

    @property
    def _has_batch_check(self) -> bool:
        return self._limits is not None and self._limits.check_batch_max > 0

    def _fits_in_bundle(self, job: UploadJob) -> bool:
        """Return whether the content can be uploaded in a bundle."""
        limits, size = self._limits, job.content.size
        if limits is None or not limits.bundle_files_max or self._bundle_failures >= BUNDLE_FAILURES_MAX:
            return False
        return (
            job.content.data is not None
            and size <= BUNDLE_FILE_BYTES_MAX
            and size + FORM_OVERHEAD_BYTES_MAX <= limits.bundle_bytes_max
        )

    @contextlib.asynccontextmanager
    async def _acquire_slot(self, job: UploadJob) -> AsyncIterator[None]:
        async with self._upload_slots.reserve(1, rank=job.priority):
            job.check_admission()
            yield

    async def _upload_single(self, job: UploadJob) -> UploadResult:
        async with self._acquire_slot(job):
            with job.start_transfer() as transfer:
                return await self._upload(job, transfer)

    async def _upload(self, job: UploadJob, transfer: Transfer) -> UploadResult:
        content, tags, on_progress = job.content, job.tags, transfer.record_progress
        if (path := self._get_tus_path(content)) is None:
            return await self._finish_upload(job, self._client.upload(content, tags=tags, on_progress=on_progress))
        upload = self._tus_client.upload(
            content, path, tags=tags, transfer=transfer, check_admission=job.check_admission
        )
        return replace(await self._finish_upload(job, upload), sent_bytes=transfer.sent_bytes)

    def _get_tus_path(self, content: Content) -> str | None:
        """Return the path of the tus endpoint if the content is to be uploaded in chunks.

        Large files are, and all videos: they are searched by their original name, which only tus transmits.
        """
        is_chunked = content.size >= TUS_BYTES_MIN or content.mime.startswith("video/")
        return get_tus_path(self._limits) if self._limits and is_chunked else None

    async def _finish_upload(self, job: UploadJob, upload: Awaitable[StoredAsset]) -> UploadResult:
        """Await an upload and return its result, after a lookup if the outcome is unknown."""
        try:
            stored = await upload
        except Rejected:
            self._limits_until = -math.inf  # the limits may have changed: fetch them again
            raise
        except _UNKNOWN_OUTCOME_ERRORS as error:
            if result := await self._resolve_unknown_outcome(job, error):
                return result
            raise
        if not stored.is_duplicate and len(self._known_tags) < KNOWN_TAGS_MAX:
            self._known_tags.update(job.tags)  # Sploot ignores the tags of a duplicate
        return UploadResult(stored.asset_id, stored.is_duplicate, has_embedding=False, sent_bytes=job.content.size)

    async def _upload_bundled(self, job: UploadJob) -> StoredAsset:
        """Upload the content in one request with other small contents that wait."""
        batcher = self._bundle_batchers.get(job.priority)
        if batcher is None:
            batcher = self._bundle_batchers[job.priority] = RequestBatcher(
                self._send_bundle,
                acquire_slot=lambda: self._upload_slots.reserve(1, rank=job.priority),
                get_batch_size=self._get_bundle_size,
            )
        return await batcher.submit(job, check_admission=job.check_admission)

    async def _send_bundle(self, jobs: Sequence[UploadJob]) -> Sequence[StoredAsset | Exception]:
        with contextlib.ExitStack() as transfers:
            files = create_form_parts(jobs, transfers)
            try:
                results = await self._client.upload_bundle(files)
            except _UNKNOWN_OUTCOME_ERRORS as error:
                self._bundle_failures += 1
                return [_BundleFailed(error)] * len(jobs)
            self._bundle_failures = 0
            return results

    async def _find(self, job: UploadJob) -> UploadResult | None:
        found = await self._check(job.content, check_admission=job.check_admission)
        if found is None:
            return None
        return UploadResult(found.asset_id, is_duplicate=True, has_embedding=self._has_embedding(found), sent_bytes=0)

    async def _check(
        self, content: Content, *, check_admission: Callable[[], None] = lambda: None
    ) -> ExistingAsset | None:
        try:
            if self._has_batch_check:
                return await self._check_batcher.submit(content.sha256, check_admission=check_admission)
            return await self._client.check(content.sha256)
        except _UNKNOWN_OUTCOME_ERRORS as error:
            raise _server_unavailable(error) from error

    async def _resolve_unknown_outcome(self, job: UploadJob, error: ServerError) -> UploadResult | None:
        """Look up whether an upload with an unknown outcome was stored; None if it was not.

        A content found here was stored by this upload, so it is not reported as a duplicate.
        """
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                found = await self._check(job.content)
        except TimeoutError:
            title = f"{error.title}, and the server has not responded since"
            raise ServerUnavailable(title, failure_id=error.failure_id) from error
        if found is None:
            return None
        has_embedding = self._has_embedding(found)
        return UploadResult(
            found.asset_id, is_duplicate=False, has_embedding=has_embedding, sent_bytes=job.content.size
        )

    def _has_embedding(self, found: ExistingAsset) -> bool:
        """Return whether the asset has an embedding for certain. Sploot also says so of a failed one."""
        return found.has_embedding and self._limits is not None and self._limits.has_reliable_embedding_states

    def _get_check_batch_size(self, waiting: Sequence[bytes]) -> int:
        return min(len(waiting), self._limits.check_batch_max if self._limits else 1)

    def _get_bundle_size(self, waiting: Sequence[UploadJob]) -> int:
        """Return how many of the first jobs fit into one bundle."""
        files_max = self._limits.bundle_files_max if self._limits else 1
        left = min(BUNDLE_BYTES_MAX, self._limits.bundle_bytes_max if self._limits else 0)
        count = 0
        for job in waiting[:files_max]:
            left -= job.content.size + FORM_OVERHEAD_BYTES_MAX
            if left < 0:
                break
            count += 1
        return max(1, count)


def _server_unavailable(error: ServerError) -> ServerUnavailable:
    return ServerUnavailable(error.title, error.hint, status=error.status, failure_id=error.failure_id)
