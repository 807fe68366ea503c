"""The embedding job runner: claims jobs, analyzes their images and stores the results."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from sploot_server.domain.embedding import Embedder, EmbedderUnavailable, ImageAnalysis, UnreadableImage, WorkerCrashed
from sploot_server.domain.entities import BackendUnavailable, OriginalMissing
from sploot_server.domain.image_formats import filename_words, is_readable
from sploot_server.library.staged_analyses import StagedAnalyses
from sploot_server.library.template_matcher import TemplateMatcher
from sploot_server.library.thumbnails import Thumbnails
from sploot_server.pubsub.broker import Broker
from sploot_server.storage.blobs.files import BlobStore
from sploot_server.storage.interfaces import Job, JobStore

JOBS_PER_THREAD = 4  # per claim: fewer would idle threads at its end, more would delay urgent jobs
ATTEMPTS_MAX = 3
RETRY_DELAYS_MS = (2_000, 10_000)  # before the second and the third attempt
BACKOFF_S = (1, 5, 20, 60)  # after the first, second, ... consecutive failure of the worker or a backend
POLL_INTERVAL_S = 30.0  # in case a wake signal is lost
FAULTS = (ArithmeticError, LookupError, TypeError, ValueError)  # of this program, unlike those of the database

logger = structlog.get_logger()


class EmbeddingQueue:
    """Processes embedding jobs; `wake_workers` signals new ones to the workers of all processes."""

    def __init__(
        self,
        jobs: JobStore,
        blobs: BlobStore,
        embedder: Embedder,
        broker: Broker,
        now_ms: Callable[[], int],
        *,
        thumbnails: Thumbnails | None = None,
        staged: StagedAnalyses | None = None,
        matcher: TemplateMatcher | None = None,
    ) -> None:
        """Keep the thumbnails of analyzed images in `thumbnails`, if this process serves them.

        An analysis in `staged` by the embedder's model is used instead of a new one. `matcher` compares the analyzed
        images with the templates.
        """
        self._jobs = jobs
        self._blobs = blobs
        self._embedder = embedder
        self._broker = broker
        self._now_ms = now_ms
        self._thumbnails = thumbnails
        self._matcher = matcher
        self._wake_signal = asyncio.Event()
        self._failures_in_a_row = 0
        self._slots = asyncio.Semaphore(embedder.threads)
        self._claim_lock = asyncio.Lock()
        self._staged = staged

    def wake_workers(self) -> None:
        self._broker.publish_job_added()

    async def prioritize(self, asset_id: str, is_finished: Callable[[], Awaitable[bool]], *, timeout_s: float) -> None:
        """Make an asset's job urgent, reset its attempts, and wait until it completes, at most `timeout_s`."""
        # An event may belong to the previous attempt, completed before the requeue: only `is_finished` decides.
        with self._broker.subscribe(asset_id) as changed, contextlib.suppress(TimeoutError):
            if await self._jobs.requeue(asset_id, now_ms=self._now_ms()):
                self.wake_workers()
                async with asyncio.timeout(timeout_s):
                    while not await is_finished():
                        await changed.wait()
                        changed.clear()

    async def change_model(self, replace: Callable[[], Awaitable[None]]) -> None:
        """Let `replace` change the embedder's model between two claims, and queue what became stale."""
        async with self._claim_lock:
            await replace()
            await self._jobs.release_stale(self._embedder.model, now_ms=self._now_ms())
        self.wake_workers()

    async def run(self) -> None:
        """Process jobs until cancelled; requeue first what an earlier process or a failure left in processing."""
        with self._broker.on_job_added(self._wake_signal.set):
            await self._run_loop()

    async def _run_loop(self) -> None:
        while True:
            try:
                await self._jobs.release_stale(self._embedder.model, now_ms=self._now_ms())
                while True:
                    # Cleared before the claim: a job added during the claim sets it again and is not overlooked.
                    self._wake_signal.clear()
                    worked = await self.run_once()
                    if self._matcher is not None:
                        worked += await self._matcher.run_once()
                    self._failures_in_a_row = 0
                    if not worked:
                        if self._staged is not None:
                            await asyncio.to_thread(self._staged.discard, self._embedder.model)
                        await self._wait_for_work()
            except (EmbedderUnavailable, BackendUnavailable) as error:
                logger.warning("embeddings interrupted", error=str(error))
            except Exception:
                logger.exception("embeddings interrupted")
            await asyncio.sleep(BACKOFF_S[min(self._failures_in_a_row, len(BACKOFF_S) - 1)])
            self._failures_in_a_row += 1

    async def run_once(self) -> int:
        """Process one claim of due jobs and return their number. Raises EmbedderUnavailable or the store's errors."""
        async with self._claim_lock:
            return await self._run_claim()

    async def _run_claim(self) -> int:
        jobs = await self._jobs.claim(self._embedder.threads * JOBS_PER_THREAD, now_ms=self._now_ms())
        results = await asyncio.gather(*map(self._process_job, jobs), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        # One of the jobs that were lost together crashed the worker. Retried one at a time, only that job fails.
        for suspect in results:
            if isinstance(suspect, Job):
                await self._process_job(suspect, is_isolated=True)
        return len(jobs)

    async def _process_job(self, job: Job, *, is_isolated: bool = False) -> Job | None:
        """Analyze one image and store the result; return the job if it was lost together with others."""
        async with self._slots:
            try:
                analysis = await self._analyze(job)
            except (UnreadableImage, OriginalMissing) as error:
                await self._fail_permanently(job, str(error))
            except (EmbedderUnavailable, BackendUnavailable):
                raise  # not caused by this image: `_run_loop` backs off
            except WorkerCrashed as error:
                if not (error.is_isolated or is_isolated):
                    return job
                await self._retry_or_fail(job, str(error))
            except Exception as error:  # noqa: BLE001 - an unexpected error concerns this image only
                await self._retry_or_fail(job, f"The image could not be analyzed: {error}")
            else:
                if self._thumbnails is not None and analysis.thumbnail is not None:
                    await self._thumbnails.keep(job.asset_id, analysis.thumbnail)
                await self._complete(job, analysis)
        return None

    async def _complete(self, job: Job, analysis: ImageAnalysis) -> None:
        """Store the result. A fault in comparing it with other images concerns this image only."""
        try:
            await self._jobs.complete(job, analysis, self._embedder.model, now_ms=self._now_ms())
        except FAULTS as error:
            logger.exception("result not stored", asset=job.asset_id)
            await self._retry_or_fail(job, f"What was read from the image could not be stored: {error}")
        else:
            self._broker.publish_completion(job.asset_id)

    async def _analyze(self, job: Job) -> ImageAnalysis:
        """Analyze an image; for files that cannot be decoded, embed the words of the file name instead."""
        if is_readable(job.mime):
            if self._staged and (
                staged := await asyncio.to_thread(self._staged.get, job.checksum, self._embedder.model)
            ):
                return staged
            async with self._blobs.local_file(job.checksum) as path:
                return await self._embedder.analyze_image(path)
        name = filename_words(job.filename)
        vector = (await self._embedder.embed_query(name)).text if name else None
        return ImageAnalysis(name, vector, None, None)

    async def _retry_or_fail(self, job: Job, error_message: str) -> None:
        if job.attempts + 1 >= ATTEMPTS_MAX:
            await self._fail_permanently(job, error_message)
        else:
            logger.info(
                "embedding failed, retrying", asset=job.asset_id, attempts=job.attempts + 1, error=error_message
            )
            await self._jobs.reschedule(job, due_ms=self._now_ms() + RETRY_DELAYS_MS[job.attempts])

    async def _fail_permanently(self, job: Job, error_message: str) -> None:
        logger.warning("embedding failed", asset=job.asset_id, attempts=job.attempts + 1, error=error_message)
        await self._jobs.fail(job, error_message, now_ms=self._now_ms())
        self._broker.publish_completion(job.asset_id)

    async def _wait_for_work(self) -> None:
        due_ms = await self._jobs.next_due_ms()
        delay_s = POLL_INTERVAL_S if due_ms is None else (due_ms - self._now_ms()) / 1000
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(delay_s, 0.0), POLL_INTERVAL_S)):
                await self._wake_signal.wait()
