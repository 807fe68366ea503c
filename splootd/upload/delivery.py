"""Deliver contents: known? -> on the server? -> send. A content whose outcome is unknown is looked up again.

If the server supports it, lookups and small files of several upload workers share requests.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from splootd.clock import Clock
from splootd.core.error_code import ErrorCode
from splootd.core.item import Version
from splootd.core.limits import Limits
from splootd.errors import ItemError, Rejected, ServerError
from splootd.file_reader import stat_version
from splootd.metrics import MetricsCollector
from splootd.remote.client import SplootClient
from splootd.remote.responses import ExistingAsset
from splootd.store.completion import Accepted
from splootd.store.ledger import Ledger, LedgerEntry
from splootd.text import display_name
from splootd.upload.admission import AdmissionController, Permit
from splootd.upload.choose_transport import TransportKind, choose_transport
from splootd.upload.request_batcher import RequestBatcher
from splootd.upload.transports.bundle import BundleTransport
from splootd.upload.transports.by_path import PathTransport
from splootd.upload.transports.single import SingleTransport
from splootd.upload.transports.transport import (
    UNKNOWN_OUTCOME_ERRORS,
    SharedRequestFailed,
    Transport,
    UploadResult,
)
from splootd.upload.transports.tus import TusTransport
from splootd.upload.upload_job import AttemptResult, Changed, Failed, Removed, UploadJob
from splootd.weighted_semaphore import WeightedSemaphore

LIMITS_TTL_S = 3_600.0
CHECK_CACHE_TTL_S = 10.0  # a content that the library reported within this time is not looked up again
RESOLVE_TIMEOUT_S = 20.0  # for the lookup that resolves an unknown outcome
KNOWN_TAGS_MAX = 10_000


class ServerUnavailable(ServerError):
    """The server failed on a request that must succeed for any content, such as a lookup by hash."""

    error_code = ErrorCode.SERVER_UNAVAILABLE


@dataclass(frozen=True, slots=True)
class _Lookup:
    """A content to look up, while `permit` is valid; None: in any case."""

    sha256: bytes
    permit: Permit | None


class Delivery:
    """Delivers contents as Sploot requires. The caller must never deliver the same content twice at the same time.

    An InternalServerError, ConnectionLost or InvalidResponse in a result concerns the content, because the server
    answered the lookup that followed; ServerUnavailable means that it did not. At most `upload_slots` requests carry
    contents at the same time.
    """

    def __init__(
        self,
        client: SplootClient,
        ledger: Ledger,
        admission: AdmissionController,
        *,
        clock: Clock,
        metrics: MetricsCollector,
        upload_slots: WeightedSemaphore,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._admission = admission
        self._clock = clock
        self._metrics = metrics
        self._upload_slots = upload_slots
        self.by_path = PathTransport(client, upload_slots, admission, metrics, clock)
        self._bundle = BundleTransport(client, upload_slots, admission, metrics)
        self._transports: dict[TransportKind, Transport] = {
            TransportKind.BY_PATH: self.by_path,
            TransportKind.BUNDLE: self._bundle,
            TransportKind.TUS: TusTransport(client, ledger, admission, metrics, clock),
            TransportKind.SINGLE: SingleTransport(client, metrics),
        }
        self._limits: Limits | None = None
        self._limits_until = -math.inf  # monotonic
        self._limits_lock = asyncio.Lock()
        self._known_tags: set[str] = set()
        self._new_tags_lock = asyncio.Lock()
        self._check_batcher = RequestBatcher(
            self._check_batch,
            acquire_slot=contextlib.nullcontext,
            get_batch_size=self._get_check_batch_size,
            check_admission=self._check_lookup,
        )

    async def limits(self, permit: Permit) -> Limits:
        """Return the server's limits, cached for LIMITS_TTL_S. Raises PermitRevoked.

        This is the first request of a run, and it is sent alone: two concurrent requests can make Sploot fail to
        create the row of a new user. If it fails, the waiting callers lose their permits.
        """
        async with self._limits_lock:
            self._admission.check(permit)
            if self._limits is None or self._clock.monotonic() >= self._limits_until:
                try:
                    self._limits = await self._client.limits()
                except UNKNOWN_OUTCOME_ERRORS as error:
                    raise _server_unavailable(error) from error
                self._limits_until = self._clock.monotonic() + LIMITS_TTL_S
                self._bundle.enable()
            return self._limits

    async def deliver(self, job: UploadJob) -> AttemptResult:
        """Ensure that the library has the content, unless it was removed from there."""
        leased, sha256 = job.leased, job.content.sha256
        known = None if leased.item.force else await self._ledger.get(sha256)
        if known is not None and self._was_just_seen(known):
            self._metrics.record_item(0)
            return Accepted(leased, known.asset_id, sha256, duplicate=True, embedded=known.was_embedded)
        try:
            result = await self._find_or_send(job, is_known=known is not None)
        except ItemError as error:
            return Failed(leased, error, sha256)
        self._admission.record_success()
        if result is None:
            return Removed(leased, sha256)
        if known is None:
            (confirmed,) = await self._confirm([(job, result)])
            return confirmed
        self._metrics.record_item(0)
        return _accepted(job, result)

    async def deliver_by_path(self, jobs: Sequence[UploadJob]) -> Sequence[AttemptResult]:
        """Deliver new contents that were only hashed. A job without a result must be delivered with its data."""
        try:
            outcomes = await self.by_path.send(jobs)
        except SharedRequestFailed:
            return []
        except ItemError as error:
            return [Failed(job.leased, error, job.content.sha256) for job in jobs]
        uploaded = [(job, each) for job, each in zip(jobs, outcomes, strict=True) if isinstance(each, UploadResult)]
        if uploaded:
            self._admission.record_success()
        return await self._confirm(uploaded)

    def _was_just_seen(self, known: LedgerEntry) -> bool:
        if known.removed_at is not None or known.last_seen_at is None:
            return False
        return 0 <= self._clock.now() - known.last_seen_at < CHECK_CACHE_TTL_S

    @property
    def _has_batch_check(self) -> bool:
        return self._limits is not None and self._limits.check_batch_max > 0

    async def _find_or_send(self, job: UploadJob, *, is_known: bool) -> UploadResult | None:
        """Look the content up and send it if it is new. A known content without an asset was removed: None.

        A lookup that is a request of its own shares the slot of the upload.
        """
        tags = () if is_known else job.tags
        async with self._new_tags_serialized(tags), contextlib.AsyncExitStack() as slot:
            if not self._has_batch_check:
                await slot.enter_async_context(self._acquire_slot(job))
            if (existing := await self._find(job)) or is_known:
                return existing
            limits = self._usable_limits
            while True:
                kind = choose_transport(job.content, limits)
                if self._has_batch_check and kind is not TransportKind.BUNDLE:
                    await slot.enter_async_context(self._acquire_slot(job))
                try:
                    return await self._send(job, kind)
                except SharedRequestFailed as failed:
                    if result := await self._resolve_unknown_outcome(job, failed.error):
                        return result
                    limits = limits.without("bundle")

    @property
    def _usable_limits(self) -> Limits:
        assert self._limits is not None
        return self._limits.without("bundle") if self._bundle.is_disabled else self._limits

    async def _send(self, job: UploadJob, kind: TransportKind) -> UploadResult:
        """Send the content and return its result, after a lookup if the outcome is unknown."""
        try:
            (outcome,) = await self._transports[kind].send([job])
            if isinstance(outcome, ServerError):
                raise outcome
        except Rejected:
            self._limits_until = -math.inf  # the limits may have changed: fetch them again
            raise
        except UNKNOWN_OUTCOME_ERRORS as error:
            if result := await self._resolve_unknown_outcome(job, error):
                return result
            raise
        if not outcome.is_duplicate and len(self._known_tags) < KNOWN_TAGS_MAX:
            self._known_tags.update(job.tags)  # Sploot ignores the tags of a duplicate
        return outcome

    @contextlib.asynccontextmanager
    async def _new_tags_serialized(self, tags: Sequence[str]) -> AsyncIterator[None]:
        """Allow only one upload with new tags at a time: two that create the same tag make Sploot reject one."""
        async with contextlib.AsyncExitStack() as held_lock:
            if not self._known_tags.issuperset(tags):
                await held_lock.enter_async_context(self._new_tags_lock)
                if self._known_tags.issuperset(tags):  # the upload before has created them
                    await held_lock.aclose()
            yield

    @contextlib.asynccontextmanager
    async def _acquire_slot(self, job: UploadJob) -> AsyncIterator[None]:
        async with self._upload_slots.reserve(1, rank=job.priority):
            self._admission.check(job.permit)
            yield

    async def _find(self, job: UploadJob) -> UploadResult | None:
        """Look the content up in the library. Raises ServerUnavailable if even that fails."""
        found = await self._look_up(_Lookup(job.content.sha256, job.permit))
        if found is None:
            return None
        return UploadResult(found.asset_id, is_duplicate=True, has_embedding=self._has_embedding(found), sent_bytes=0)

    async def _resolve_unknown_outcome(self, job: UploadJob, error: ServerError) -> UploadResult | None:
        """Look up whether an upload with an unknown outcome was stored; None if it was not.

        A content found here was stored by this upload, so it is not reported as a duplicate.
        """
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                found = await self._look_up(_Lookup(job.content.sha256, None))
        except TimeoutError:
            title = f"{error.title}, and the server has not responded since"
            raise ServerUnavailable(title, failure_id=error.failure_id) from error
        if found is None:
            return None
        sent_bytes, has_embedding = job.content.size, self._has_embedding(found)
        return UploadResult(found.asset_id, is_duplicate=False, sent_bytes=sent_bytes, has_embedding=has_embedding)

    async def _look_up(self, lookup: _Lookup) -> ExistingAsset | None:
        try:
            if self._has_batch_check:
                return await self._check_batcher.submit(lookup)
            with self._metrics.utilization.track("sending"):
                return await self._client.check(lookup.sha256)
        except UNKNOWN_OUTCOME_ERRORS as error:
            raise _server_unavailable(error) from error

    async def _check_batch(self, lookups: Sequence[_Lookup]) -> Sequence[ExistingAsset | None]:
        return await self._client.check_batch([lookup.sha256 for lookup in lookups])

    def _check_lookup(self, lookup: _Lookup) -> None:
        if lookup.permit is not None:
            self._admission.check(lookup.permit)

    def _get_check_batch_size(self, waiting: Sequence[_Lookup]) -> int:
        return min(len(waiting), self._limits.check_batch_max if self._limits else 1)

    def _has_embedding(self, found: ExistingAsset) -> bool:
        """Return whether the asset has an embedding for certain. Sploot also says so of a failed one."""
        return found.has_embedding and self._limits is not None and self._limits.has_reliable_embedding_states

    async def _confirm(self, uploaded: Sequence[tuple[UploadJob, UploadResult]]) -> Sequence[AttemptResult]:
        """Accept uploaded contents, except those whose files changed in the meantime.

        A file that is gone by now is accepted: its content is in the library.
        """
        if not uploaded:
            return []
        versions = await asyncio.to_thread(_stat_versions, [job.content.path for job, _ in uploaded])
        results: list[AttemptResult] = []
        for (job, result), version in zip(uploaded, versions, strict=True):
            self._metrics.record_item(result.sent_bytes)
            if version is None or version == job.content.version:
                results.append(_accepted(job, result))
            else:
                error_message = f"{display_name(job.content.path)} changed during the upload; its new version follows"
                results.append(Changed(job.leased, version, error_message))
        return results


def _accepted(job: UploadJob, result: UploadResult) -> Accepted:
    return Accepted(job.leased, result.asset_id, job.content.sha256, result.is_duplicate, result.has_embedding)


def _stat_versions(paths: Sequence[bytes]) -> list[Version | None]:
    """Return the current version of each file, or None if there is no readable file."""
    versions: list[Version | None] = []
    for path in paths:
        try:
            versions.append(stat_version(path))
        except ItemError:
            versions.append(None)
    return versions


def _server_unavailable(error: ServerError) -> ServerUnavailable:
    return ServerUnavailable(error.title, error.hint, status=error.status, failure_id=error.failure_id)
