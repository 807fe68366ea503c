"""Upload workers: one per shard and one for urgent items, each from the claim of an item to its recorded result."""

import asyncio
import contextlib
import random
from collections.abc import Collection, Sequence
from functools import partial

from splootd.clock import Clock
from splootd.core.item import SHARDS, Leased
from splootd.core.limits import Limits
from splootd.core.settle import SETTLE_S
from splootd.errors import ItemError, StoreError, StoreFailed, StoreFull
from splootd.event_bus import WakeSignals
from splootd.file_reader import Content, MemoryBudget, read, stat_version_in_thread
from splootd.logs import get_logger
from splootd.metrics import MetricsCollector
from splootd.remote.client import SplootClient
from splootd.store.ledger import Ledger, LedgerEntry
from splootd.store.queue import Queue
from splootd.text import display_name
from splootd.upload.admission import AdmissionController, Permit
from splootd.upload.batch_upload import BatchUploader
from splootd.upload.content_locks import KeyedLock
from splootd.upload.delivery import Delivery, UploadJob, UploadResult
from splootd.upload.result_handler import ResultHandler
from splootd.upload.transports.by_path import PathUploader
from splootd.upload.transports.tus import TusClient
from splootd.weighted_semaphore import WeightedSemaphore

TRUNCATED_SETTLE_S = 20.0  # a truncated file may still be being written; unchanged for so long it is uploaded as it is
DRAIN_TIMEOUT_S = 7.0  # for uploads in progress to finish, of the 10 s that a stop may take
RELEASE_TIMEOUT_S = 2.0
CHECK_CACHE_TTL_S = 10.0  # a content that the library reported within this time is not looked up again
SCHEDULER_INTERVAL_MIN_S = 0.2  # between two queries for due items, however many events arrive
STORE_RETRY_DELAY_S = 5.0
DELAY_MAX_S = 3_600.0  # no item is delayed for longer: a later time was stored before the clock was set back

BATCH_SIZE_MAX = 8  # items that one worker claims together when lookups and small files share requests
PERMIT_REVOKED_MESSAGE = "uploads were held back before it was sent"
DAEMON_STOPPED_MESSAGE = "the daemon stopped during the upload"


class _PermitRevoked(Exception):
    """The permit became invalid between the claim and the upload."""


class Uploader:
    """Runs the upload workers. Call `run`, and `drain` before the daemon stops."""

    def __init__(
        self,
        queue: Queue,
        ledger: Ledger,
        client: SplootClient,
        admission: AdmissionController,
        *,
        budget: MemoryBudget,
        clock: Clock,
        wake_signals: WakeSignals,
        metrics: MetricsCollector,
        settle_s: float = SETTLE_S,
    ) -> None:
        self._queue = queue
        self._ledger = ledger
        self._upload_slots = WeightedSemaphore(client.upload_connections_max)
        self._delivery = Delivery(client, clock, self._upload_slots, TusClient(client, ledger, clock))
        self._path_uploader = PathUploader(client, self._upload_slots, clock)
        self._client = client
        self._admission = admission
        self._budget = budget
        self._clock = clock
        self._wake_signals = wake_signals
        self._metrics = metrics
        self._result_handler = ResultHandler(queue, ledger, admission, clock, metrics, settle_s=settle_s)
        self._log = get_logger("uploader")
        self._content_locks = KeyedLock()
        self._batch_uploader = BatchUploader(
            ledger,
            self._result_handler,
            self._path_uploader,
            self._content_locks,
            admission,
            budget=budget,
            metrics=metrics,
        )
        self._limits_lock = asyncio.Lock()
        self._active_workers: set[asyncio.Task[object]] = set()
        self._is_draining = False

    async def run(self) -> None:
        """Run one worker per shard, the worker for urgent items, and the scheduler of delayed items."""
        async with asyncio.TaskGroup() as group:
            for shard in range(SHARDS):
                group.create_task(self._run_worker(shard), name=f"upload worker {shard}")
            group.create_task(self._run_worker(None), name="urgent worker")
            group.create_task(self._run_scheduler(), name="scheduler")

    async def run_once(self, shard: int | None) -> bool:
        """Upload the next batch of `shard`, or of urgent items of all shards if None. Return False if there is none."""
        async with self._admission.acquire() as permit:
            batch = [] if self._is_draining else await self._claim_with_retry(shard, permit)
            if not batch:
                return False
            for leased in batch:
                self._metrics.urgent_latency.record_claim(leased.item, self._clock.now())
            worker = asyncio.current_task()
            assert worker is not None
            self._active_workers.add(worker)
            try:
                await self._process_batch(batch, permit)
            finally:
                self._active_workers.discard(worker)
        return True

    async def drain(self) -> None:
        """Stop claiming, wait DRAIN_TIMEOUT_S for uploads in progress, then release the rest to the queue."""
        self._is_draining = True
        self._wake_signals.work.notify()
        if in_flight := set(self._active_workers):
            _, late = await asyncio.wait(in_flight, timeout=DRAIN_TIMEOUT_S)
            for worker in late:
                worker.cancel()
            if late:
                await asyncio.wait(late, timeout=RELEASE_TIMEOUT_S)

    def set_concurrency(self, concurrency: int) -> None:
        """Limit the number of concurrent uploads. Uploads in progress finish."""
        self._upload_slots.resize(concurrency)

    async def _run_worker(self, shard: int | None) -> None:
        while not self._is_draining:
            # Taken before the claim: a signal between an empty claim and the wait must not be lost.
            snapshot = self._wake_signals.work.snapshot()
            try:
                if not await self.run_once(shard):
                    await self._wake_signals.work.wait(snapshot, None)
            except StoreFull as error:
                self._log.warning("disk full, claiming paused", error=error.title)
                await asyncio.sleep(STORE_RETRY_DELAY_S)

    async def _run_scheduler(self) -> None:
        """Make delayed items claimable when they are due. After a long silence wake the workers as a precaution."""
        while True:
            snapshot = self._wake_signals.events.snapshot()
            now, due = self._clock.now(), await self._queue.next_due()
            if due is not None and (due <= now or due > now + DELAY_MAX_S):
                with contextlib.suppress(StoreFull):
                    await self._queue.make_due(now=max(now, due))
            else:
                idle_s = self._clock.next_idle_wake_s()
                if not await self._wake_signals.events.wait(
                    snapshot, idle_s if due is None else min(due - now, idle_s)
                ):
                    self._wake_signals.work.notify()
                    continue
            await asyncio.sleep(SCHEDULER_INTERVAL_MIN_S)

    async def _claim_with_retry(self, shard: int | None, permit: Permit) -> Sequence[Leased]:
        """Claim items; retry if the outcome of the COMMIT is unknown.

        The failed claim may have leased items without returning them. The next claim releases these first, so retrying
        is safe.
        """
        while True:
            try:
                return await self._claim(shard, permit)
            except StoreFailed as error:
                self._log.warning("claim outcome unknown, retrying", error=error.title)
                await asyncio.sleep(STORE_RETRY_DELAY_S)

    async def _claim(self, shard: int | None, permit: Permit) -> Sequence[Leased]:
        limit = 1 if self._admission.is_probe(permit) else self._batch_size  # a probe risks one item only
        with self._metrics.utilization.track("writing"):
            if shard is None:
                return await self._queue.claim_urgent_batch(limit=limit, now=self._clock.now())
            return await self._queue.claim_batch(shard, limit=limit, now=self._clock.now(), chance=random.random())

    @property
    def _batch_size(self) -> int:
        """The number of items to claim together: several only if they can share requests."""
        if files_max := self._path_uploader.files_max:
            return files_max
        limits = self._client.last_limits
        return BATCH_SIZE_MAX if limits and limits.check_batch_max and limits.bundle_files_max else 1

    async def _process_batch(self, batch: Sequence[Leased], permit: Permit) -> None:
        """Upload a claimed batch: by path in shared requests if possible, the remaining items concurrently."""
        remaining = {leased.item.id: leased for leased in batch}
        try:
            if self._path_uploader.files_max:
                limits = await self._get_limits(permit)
                await self._batch_uploader.upload(
                    remaining,
                    limits,
                    partial(self._check_admission, permit),
                    lambda leased, content: self._create_job(leased, content, permit),
                )
        except asyncio.CancelledError:
            await self._release_batch(remaining.values(), DAEMON_STOPPED_MESSAGE)
            raise
        except _PermitRevoked:
            await self._release_batch(remaining.values(), PERMIT_REVOKED_MESSAGE)
            return
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - each remaining item records its own error below
            self._log.warning("batch failed, uploading one by one", error=str(error))
        results = await asyncio.gather(
            *(self._process_item(each, permit) for each in remaining.values()), return_exceptions=True
        )
        # `return_exceptions`, so that every item has recorded its result before the first exception is raised. A plain
        # gather would return at once and leave the others running without a permit.
        for failed in filter(None, results):
            raise failed

    async def _release_batch(self, batch: Collection[Leased], error_message: str) -> None:
        await asyncio.gather(*(self._result_handler.release(leased, error_message) for leased in batch))

    async def _process_item(self, leased: Leased, permit: Permit) -> None:
        """Upload one item and record its result, also after an unexpected exception."""
        try:
            await self._upload(leased, permit)
        except _PermitRevoked:
            await self._result_handler.release(leased, PERMIT_REVOKED_MESSAGE)
        except asyncio.CancelledError:
            await self._result_handler.release(leased, DAEMON_STOPPED_MESSAGE)
            raise
        except ItemError as error:
            await self._result_handler.handle_error(leased, error)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug met by one file must not stop the others
            self._log.exception("internal error during upload", item=leased.item.id, path=leased.item.path)
            await self._result_handler.internal_error(leased, error)

    async def _upload(self, leased: Leased, permit: Permit) -> None:
        item = leased.item
        limits = await self._get_limits(permit)
        async with contextlib.AsyncExitStack() as closing:
            with self._metrics.utilization.track("reading"):
                reading = read(item.path, item.version, budget=self._budget, limits=limits, priority=item.priority)
                content = await closing.enter_async_context(reading)
            complete_at = item.version.mtime_ns / 1e9 + TRUNCATED_SETTLE_S
            if not content.is_complete and 0 < complete_at - self._clock.now() <= TRUNCATED_SETTLE_S:
                await self._result_handler.snooze_truncated(leased, complete_at)
                return
            async with self._content_locks.acquire(content.sha256):
                known = None if item.force else await self._ledger.get(content.sha256)
                if known is None:
                    await self._send(leased, content, permit)
                else:
                    await self._check_known_content(leased, content, known, permit)

    async def _check_known_content(self, leased: Leased, content: Content, known: LedgerEntry, permit: Permit) -> None:
        """Record a content that the ledger knows: accept it if the library still has it, skip it if it was removed."""
        now = self._clock.now()
        if (
            known.removed_at is None
            and known.last_seen_at is not None
            and 0 <= now - known.last_seen_at < CHECK_CACHE_TTL_S
        ):
            result: UploadResult | None = UploadResult(
                known.asset_id, is_duplicate=True, has_embedding=known.was_embedded, sent_bytes=0
            )
        else:
            try:
                result = await self._delivery.find(self._create_job(leased, content, permit))
            except ItemError as error:
                await self._result_handler.handle_error(leased, error, content=content.sha256)
                return
            self._admission.record_success()
        if result is None:
            await self._result_handler.skip_removed(leased, content.sha256)
        else:
            await self._result_handler.accept(leased, result, content.sha256)
            self._metrics.record_item(0)

    async def _send(self, leased: Leased, content: Content, permit: Permit) -> None:
        try:
            result = await self._deliver(leased, content, permit)
        except ItemError as error:
            await self._result_handler.handle_error(leased, error, content=content.sha256)
            return
        self._admission.record_success()
        self._metrics.record_item(result.sent_bytes)
        version = content.version
        with contextlib.suppress(ItemError):  # a file that is gone by now was uploaded all the same
            version = await stat_version_in_thread(content.path)
        if version != content.version:
            error_message = f"{display_name(content.path)} changed during the upload; its new version follows"
            await self._result_handler.snooze_changed(leased, version, error_message)
            return
        await self._result_handler.accept(leased, result, content.sha256)

    async def _deliver(self, leased: Leased, content: Content, permit: Permit) -> UploadResult:
        async with self._delivery.with_new_tags_serialized(leased.item.tags):
            return await self._delivery.deliver(self._create_job(leased, content, permit))

    def _create_job(self, leased: Leased, content: Content, permit: Permit) -> UploadJob:
        item = leased.item
        transfer = partial(self._metrics.transfer, content.path, content.size, retries=item.attempts)
        return UploadJob(content, item.tags, item.priority, partial(self._check_admission, permit), transfer)

    async def _get_limits(self, permit: Permit) -> Limits:
        """Return the server's limits. One worker fetches them; if that fails, the waiting ones lose their permits."""
        async with self._limits_lock:
            self._check_admission(permit)
            return await self._delivery.limits()

    def _check_admission(self, permit: Permit) -> None:
        if self._is_draining or not self._admission.is_valid(permit):
            raise _PermitRevoked
