"""Upload workers: one per shard and one for urgent items, each from the claim of an item to its recorded result."""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain

from splootd.clock import Clock
from splootd.core.item import SHARDS, Leased
from splootd.core.settle import SETTLE_S
from splootd.errors import ItemError, StoreError, StoreFailed, StoreFull
from splootd.event_bus import WakeSignals
from splootd.file_reader import Content, MemoryBudget, get_buffered_bytes_max, hash_files, read_files
from splootd.logs import get_logger
from splootd.metrics import MetricsCollector
from splootd.remote.client import SplootClient
from splootd.remote.self_test import probe_with_images
from splootd.store.ledger import Ledger
from splootd.store.queue import Queue
from splootd.text import display_name
from splootd.upload.admission import AdmissionController, Permit, PermitRevoked
from splootd.upload.content_locks import KeyedLock
from splootd.upload.delivery import Delivery
from splootd.upload.result_handler import ResultHandler
from splootd.upload.upload_job import AttemptResult, Crashed, Failed, Released, UploadJob
from splootd.weighted_semaphore import WeightedSemaphore

TRUNCATED_SETTLE_S = 20.0  # a truncated file may still be being written; unchanged for so long it is uploaded as it is
DRAIN_TIMEOUT_S = 7.0  # for uploads in progress to finish, of the 10 s that a stop may take
RELEASE_TIMEOUT_S = 2.0
SCHEDULER_INTERVAL_MIN_S = 0.2  # between two queries for due items, however many events arrive
STORE_RETRY_DELAY_S = 5.0
DELAY_MAX_S = 3_600.0  # no item is delayed for longer: a later time was stored before the clock was set back

HASHING_CONCURRENCY_MAX = 2  # batches: enough to keep the processors busy, few enough for urgent items to get a thread
SINGLE_BATCH_MAX = 4  # items that one worker claims together: the last shard alone keeps all connections busy
SHARED_BATCH_MAX = 8  # the same if lookups and small files share requests
PERMIT_REVOKED_MESSAGE = "uploads were held back before it was sent"
DAEMON_STOPPED_MESSAGE = "the daemon stopped during the upload"


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
        self._upload_slots = WeightedSemaphore(client.connections_max)
        self._delivery = Delivery(
            client, ledger, admission, clock=clock, metrics=metrics, upload_slots=self._upload_slots
        )
        self._client = client
        self._admission = admission
        self._budget = budget
        self._clock = clock
        self._wake_signals = wake_signals
        self._metrics = metrics
        self._result_handler = ResultHandler(queue, ledger, admission, clock, metrics, settle_s=settle_s)
        self._log = get_logger("uploader")
        self._content_locks = KeyedLock()
        self._hashing_slots = WeightedSemaphore(HASHING_CONCURRENCY_MAX)
        self._active_workers: set[asyncio.Task[object]] = set()

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
            if self._admission.is_self_test(permit):
                await self._run_self_test()
                return True
            batch = [] if self._admission.is_draining else await self._claim_with_retry(shard, permit)
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

    async def _run_self_test(self) -> None:
        """Probe the server with images of our own. If it accepts one, the contents that failed are at fault."""
        try:
            await probe_with_images(self._client)
        except ItemError as error:
            self._log.warning("self-test failed", error=error.title)
            self._admission.record_self_test_error(error)
        else:
            self._admission.record_success()

    async def drain(self) -> None:
        """Stop claiming, wait DRAIN_TIMEOUT_S for uploads in progress, then release the rest to the queue."""
        self._admission.is_draining = True
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
        while not self._admission.is_draining:
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
        """The number of items to claim together: more if they can share requests."""
        if files_max := self._delivery.by_path.files_max:
            return files_max
        limits = self._client.last_limits
        return SHARED_BATCH_MAX if limits and limits.check_batch_max and limits.bundle_files_max else SINGLE_BATCH_MAX

    async def _process_batch(self, batch: Sequence[Leased], permit: Permit) -> None:
        """Upload a claimed batch: by path in shared requests if possible, the remaining items in parts."""
        alone = await self._process_by_path(batch, permit) if self._delivery.by_path.files_max else batch
        parts = deque(self._split_by_memory(alone))
        try:
            while parts:
                await self._process_part(parts.popleft(), permit)
        except asyncio.CancelledError as error:
            await self._result_handler.record(*(self._to_result(each, error) for each in chain(*parts)))
            raise

    def _split_by_memory(self, batch: Sequence[Leased]) -> Iterator[list[Leased]]:
        """Split a batch into parts that take no more memory together than the largest buffered file."""
        part: list[Leased] = []
        for leased in batch:
            size = sum(each.item.version.size for each in (*part, leased))
            if part and size > get_buffered_bytes_max(self._budget):
                yield part
                part = []
            part.append(leased)
        if part:
            yield part

    async def _process_by_path(self, batch: Sequence[Leased], permit: Permit) -> Sequence[Leased]:
        """Upload the items that can share a request, and record their results. Return the other items."""
        alone: list[Leased] = []
        parts = deque(self._delivery.by_path.split_into_requests(batch))
        try:
            while parts:
                alone += await self._upload_by_path(parts[0], permit)
                parts.popleft()
        except (PermitRevoked, asyncio.CancelledError) as error:
            await self._result_handler.record(*(self._to_result(each, error) for each in chain(alone, *parts)))
            if isinstance(error, asyncio.CancelledError):
                raise
            return []
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - each remaining item records its own error
            self._log.warning("batch failed, uploading one by one", error=str(error))
        return [*chain(alone, *parts)]

    async def _process_part(self, part: Sequence[Leased], permit: Permit) -> None:
        """Take the items of a part through the steps: read together, then each: known? -> on the server? -> send."""
        async with contextlib.AsyncExitStack() as held_memory:
            try:
                limits, priority = await self._delivery.limits(permit), part[0].item.priority
                with self._metrics.utilization.track("reading"):
                    files = [(leased.item.path, leased.item.version) for leased in part]
                    reading = read_files(files, budget=self._budget, limits=limits, priority=priority)
                    contents = await held_memory.enter_async_context(reading)
            except BaseException as error:
                await self._result_handler.record(*(self._to_result(each, error) for each in part))
                if isinstance(error, asyncio.CancelledError):
                    raise
                return
            deliveries = (
                self._deliver(leased, content, permit) for leased, content in zip(part, contents, strict=True)
            )
            # `return_exceptions`, so that every item has recorded its result before the first exception is raised. A
            # plain gather would return at once and leave the others running without a permit.
            for failed in filter(None, await asyncio.gather(*deliveries, return_exceptions=True)):
                raise failed

    async def _deliver(self, leased: Leased, content: Content | Exception, permit: Permit) -> None:
        """Deliver one content and record its result, also after an unexpected exception."""
        if isinstance(content, Exception):
            await self._result_handler.record(self._to_result(leased, content))
            return
        try:
            if incomplete := self._check_complete(leased, content):
                await self._result_handler.record(incomplete)
                return
            async with self._content_locks.acquire(content.sha256):
                result = await self._delivery.deliver(UploadJob(leased, content, permit))
                await self._result_handler.record(result)
        except asyncio.CancelledError as error:
            await self._result_handler.record(self._to_result(leased, error))
            raise
        except Exception as error:  # noqa: BLE001 - a bug met by one file must not stop the others
            await self._result_handler.record(self._to_result(leased, error))

    def _to_result(self, leased: Leased, error: BaseException) -> AttemptResult:
        """Return the result of an attempt that `error` ended. Raises StoreFailed: no result can be recorded then."""
        match error:
            case PermitRevoked():
                return Released(leased, PERMIT_REVOKED_MESSAGE)
            case asyncio.CancelledError():
                return Released(leased, DAEMON_STOPPED_MESSAGE)
            case StoreFull():
                return Released(leased, error.title)
            case ItemError():
                return Failed(leased, error)
            case Exception() if not isinstance(error, StoreError):
                self._log.error("internal error", item=leased.item.id, path=leased.item.path, exc_info=error)
                return Crashed(leased, error)
        raise error

    def _check_complete(self, leased: Leased, content: Content) -> Released | None:
        """Release a truncated file that may still be being written."""
        complete_at = leased.item.version.mtime_ns / 1e9 + TRUNCATED_SETTLE_S
        if content.is_complete or not 0 < complete_at - self._clock.now() <= TRUNCATED_SETTLE_S:
            return None
        error_message = f"{display_name(leased.item.path)} is incomplete: it may still be being written"
        return Released(leased, error_message, next_at=complete_at)

    async def _upload_by_path(self, part: Sequence[Leased], permit: Permit) -> Sequence[Leased]:
        """Take the new contents of `part` through the same steps in one request. Return the items without a result.

        Errors, truncated or forced files, and contents that are known or in progress need the steps of one item.
        """
        limits, priority = await self._delivery.limits(permit), part[0].item.priority
        files = [(leased.item.path, leased.item.version) for leased in part]
        async with self._hashing_slots.reserve(1, priority):
            with self._metrics.utilization.track("reading"):
                contents = await hash_files(files, budget=self._budget, limits=limits, priority=priority)
        jobs = [
            UploadJob(leased, content, permit)
            for leased, content in zip(part, contents, strict=True)
            if isinstance(content, Content) and content.is_complete and not leased.item.force
        ]
        known = await self._ledger.find([job.content.sha256 for job in jobs])
        async with contextlib.AsyncExitStack() as held_locks:
            new: list[UploadJob] = []
            for job in jobs:
                if job.content.sha256 not in known and self._content_locks.is_free(job.content.sha256):
                    await held_locks.enter_async_context(self._content_locks.acquire(job.content.sha256))
                    new.append(job)
            results = await self._delivery.deliver_by_path(new) if new else []
            await self._result_handler.record(*results)
        recorded = {result.leased.item.id for result in results}
        return [leased for leased in part if leased.item.id not in recorded]
