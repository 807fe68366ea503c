"""Deliver contents: known? -> on the server? -> send. A content whose outcome is unknown is looked up again.

If the server supports it, lookups and small files of several upload workers share requests.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from splootd.clock import Clock
from splootd.core.error_code import ErrorCode
from splootd.core.limits import Limits
from splootd.core.upload_costs import UploadCosts
from splootd.errors import ItemError, Rejected, ServerError
from splootd.metrics import MetricsCollector
from splootd.remote.client import SplootClient
from splootd.remote.responses import EmbeddingStatus, ExistingAsset
from splootd.store.completion import Accepted
from splootd.store.ledger import Ledger, LedgerEntry
from splootd.upload.admission import AdmissionController, Permit
from splootd.upload.choose_transport import TransportKind, choose_transport
from splootd.upload.request_batcher import RequestBatcher
from splootd.upload.tag_gate import TagGate
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
from splootd.upload.upload_job import AttemptResult, Failed, Removed, UploadJob
from splootd.weighted_semaphore import WeightedSemaphore

LIMITS_TTL_S = 3_600.0
CHECK_CACHE_TTL_S = 10.0  # a content that the library reported within this time is not looked up again
RESOLVE_TIMEOUT_S = 20.0  # for the lookup that resolves an unknown outcome


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
        self._costs = UploadCosts()
        self._long_upload_slots = WeightedSemaphore(max(1, client.connections_max - 1))
        self._undecided: set[bytes] = set()  # contents that were sent, but are not known to be in the library
        self._limits: Limits | None = None
        self._limits_until = -math.inf  # monotonic
        self._limits_lock = asyncio.Lock()
        self._tag_gate = TagGate(clock)
        self._ledger_batcher = RequestBatcher(self._find_known, acquire_slot=contextlib.nullcontext, get_batch_size=len)
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
                    with self._timed_round_trip():
                        self._limits = await self._client.limits()
                except UNKNOWN_OUTCOME_ERRORS as error:
                    raise _server_unavailable(error) from error
                self._limits_until = self._clock.monotonic() + LIMITS_TTL_S
                self._bundle.enable()
            return self._limits

    async def deliver(self, job: UploadJob) -> AttemptResult:
        """Ensure that the library has the content, unless it was removed from there."""
        leased, sha256 = job.leased, job.content.sha256
        known = await self._ledger_batcher.submit(sha256)
        needs_request = leased.item.force or job.tags
        if known is not None and not needs_request and self._was_just_seen(known):
            self._metrics.record_item(0)
            # Not `embedded`, whatever the ledger says: the tracker asks, because it may have been removed since.
            return Accepted(leased, known.asset_id, sha256, duplicate=True, embedded=False)
        try:
            async with self._tag_gate.serialize_new(job.tags):
                result = await self._find_or_send(job, known)
                if result is not None and result.is_duplicate and job.tags:  # Sploot ignores the tags of a duplicate
                    await self._client.add_tags(result.asset_id, job.tags)
        except ItemError as error:
            return Failed(leased, error, sha256)
        self._admission.record_success()
        self._undecided.discard(sha256)
        return Removed(leased, sha256) if result is None else self._accept(job, result)

    async def deliver_by_path(self, jobs: Sequence[UploadJob]) -> Sequence[AttemptResult]:
        """Deliver new contents that were only hashed. A job without a result must be delivered with its data."""
        try:
            outcomes = await self.by_path.send(jobs)
        except SharedRequestFailed:
            return []
        except ItemError as error:
            return [Failed(job.leased, error, job.content.sha256) for job in jobs]
        # The tags of a duplicate are added to it, which takes a request for each: by the steps of one item.
        uploaded = [
            (job, each)
            for job, each in zip(jobs, outcomes, strict=True)
            if isinstance(each, UploadResult) and not (each.is_duplicate and job.tags)
        ]
        if uploaded:
            self._admission.record_success()
        return [self._accept(job, result) for job, result in uploaded]

    def _was_just_seen(self, known: LedgerEntry) -> bool:
        if known.removed_at is not None or known.last_seen_at is None:
            return False
        return 0 <= self._clock.now() - known.last_seen_at < CHECK_CACHE_TTL_S

    @property
    def _has_batch_check(self) -> bool:
        return self._limits is not None and self._limits.check_batch_max > 0

    async def _find_or_send(self, job: UploadJob, known: LedgerEntry | None) -> UploadResult | None:
        """Send the content if it is new, after a lookup where one is needed or pays.

        A known content without an asset was removed: None. A lookup takes a slot of its own, so that the uploads of
        other workers overlap with it.
        """
        must_look_up = known is not None or self._must_look_up(job)
        existing, force = await self._find(job) if must_look_up else None, job.leased.item.force
        entry = existing or known
        if entry is not None and (force or existing is None):
            existing = await self._find_by_id(entry.asset_id, force=force)
        if existing is not None or (known is not None and not force):
            return existing
        self._tag_gate.check(job.tags, job.content.path)
        limits = self._usable_limits
        kind = choose_transport(job.content, limits)
        if kind is TransportKind.BUNDLE:
            try:
                return await self._send(job, kind)
            except SharedRequestFailed as failed:
                if result := await self._resolve_unknown_outcome(job, failed.error):
                    return result
            kind = choose_transport(job.content, limits.without("bundle"))
        # Long uploads leave one connection to control requests, short ones take all.
        is_long = self._costs.is_long(job.content.size)
        long_slot = self._long_upload_slots.reserve(1, rank=job.priority) if is_long else contextlib.nullcontext()
        async with long_slot, self._acquire_slot(job):
            return await self._send(job, kind)

    def _must_look_up(self, job: UploadJob) -> bool:
        """Return whether to look the content up before it is sent.

        A content that may have been sent before is always looked up: while Sploot still processes the first upload,
        it fails on a second one of the same bytes.
        """
        item = job.leased.item
        if item.attempted or item.force or job.content.sha256 in self._undecided:
            return True
        return self._has_batch_check or self._costs.worth_checking(job.content.size)

    @property
    def _usable_limits(self) -> Limits:
        assert self._limits is not None
        return self._limits.without("bundle") if self._bundle.is_disabled else self._limits

    async def _send(self, job: UploadJob, kind: TransportKind) -> UploadResult:
        """Send the content and return its result, after a lookup if the outcome is unknown."""
        started_at = self._clock.monotonic()
        self._undecided.add(job.content.sha256)
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
        if kind is TransportKind.SINGLE:
            self._costs.record_upload(job.content.size, self._clock.monotonic() - started_at)
            self._costs.record_content(is_duplicate=outcome.is_duplicate)
        return outcome

    @contextlib.asynccontextmanager
    async def _acquire_slot(self, job: UploadJob) -> AsyncIterator[None]:
        async with self._upload_slots.reserve(1, rank=job.priority):
            self._admission.check(job.permit)
            yield

    async def _find(self, job: UploadJob) -> UploadResult | None:
        """Look the content up in the library. Raises ServerUnavailable if even that fails."""
        async with contextlib.nullcontext() if self._has_batch_check else self._acquire_slot(job):
            found = await self._look_up(_Lookup(job.content.sha256, job.permit))
        self._costs.record_content(is_duplicate=found is not None)
        if found is None:
            return None
        return self._found(found, is_duplicate=True, sent_bytes=0)

    async def _find_by_id(self, asset_id: str, *, force: bool) -> UploadResult | None:
        """Query an asset by its id; None if it was removed. A lookup by hash is no proof of that.

        If Sploot's database fails during a lookup by hash, the response says that the content does not exist.

        With `force`, delete the asset permanently and return None if it was removed or its embedding failed: a Sploot
        never repeats a failed embedding, and rejects a content for as long as it keeps a removed asset of it. Nothing
        is lost: the caller has just read a file with that content.
        """
        try:
            status = (await self._client.embedding_status(asset_id)).status
        except UNKNOWN_OUTCOME_ERRORS as error:
            raise _server_unavailable(error) from error
        if force and status in {EmbeddingStatus.UNKNOWN, EmbeddingStatus.FAILED}:
            await self._client.delete_permanently(asset_id)
            return None
        if status is EmbeddingStatus.UNKNOWN:
            return None
        has_embedding = status is EmbeddingStatus.READY
        return UploadResult(asset_id, is_duplicate=True, has_embedding=has_embedding, sent_bytes=0)

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
        return self._found(found, is_duplicate=False, sent_bytes=job.content.size)

    async def _look_up(self, lookup: _Lookup) -> ExistingAsset | None:
        try:
            if self._has_batch_check:
                return await self._check_batcher.submit(lookup)
            with self._metrics.utilization.track("sending"), self._timed_round_trip():
                return await self._client.check(lookup.sha256)
        except UNKNOWN_OUTCOME_ERRORS as error:
            raise _server_unavailable(error) from error

    @contextlib.contextmanager
    def _timed_round_trip(self) -> Iterator[None]:
        started_at = self._clock.monotonic()
        yield
        self._costs.record_round_trip(self._clock.monotonic() - started_at)

    async def _find_known(self, contents: Sequence[bytes]) -> Sequence[LedgerEntry | None]:
        known = await self._ledger.find(contents)
        return [known.get(sha256) for sha256 in contents]

    async def _check_batch(self, lookups: Sequence[_Lookup]) -> Sequence[ExistingAsset | None]:
        return await self._client.check_batch([lookup.sha256 for lookup in lookups])

    def _check_lookup(self, lookup: _Lookup) -> None:
        if lookup.permit is not None:
            self._admission.check(lookup.permit)

    def _get_check_batch_size(self, waiting: Sequence[_Lookup]) -> int:
        return min(len(waiting), self._limits.check_batch_max if self._limits else 1)

    def _found(self, found: ExistingAsset, *, is_duplicate: bool, sent_bytes: int) -> UploadResult:
        """Return the result for an asset that was found by hash.

        Sploot also reports a failed embedding as one that exists. It reports none if it never began, because the client
        of the upload had gone; a server with reliable states always begins.
        """
        is_reliable = self._limits is not None and self._limits.has_reliable_embedding_states
        return UploadResult(
            found.asset_id,
            is_duplicate,
            sent_bytes,
            has_embedding=found.has_embedding and is_reliable,
            is_embedding_requested=found.has_embedding or is_reliable,
        )

    def _accept(self, job: UploadJob, result: UploadResult) -> Accepted:
        self._metrics.record_item(result.sent_bytes)
        return Accepted(
            job.leased,
            result.asset_id,
            job.content.sha256,
            result.is_duplicate,
            result.has_embedding,
            result.is_embedding_requested,
        )


def _server_unavailable(error: ServerError) -> ServerUnavailable:
    return ServerUnavailable(error.title, error.hint, status=error.status, failure_id=error.failure_id)
