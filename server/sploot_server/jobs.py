"""The loop that makes embeddings: claim a few, read them, store what came of it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from sploot_server.assets import Job, JobStore
from sploot_server.blobs import BlobStore
from sploot_server.embedding import Embedder, Lost, Reading, Unavailable, Unreadable
from sploot_server.formats import is_readable, words_of
from sploot_server.model import Unreachable
from sploot_server.notify import Notifier

CLAIM_PER_THREAD = 4  # threads idle a little at the end of each claim; urgent jobs wait for it
ATTEMPTS_MAX = 3
RETRY_MS = (2_000, 10_000)  # before the second and the third attempt
PAUSES_S = (1, 5, 20, 60)  # after the first, second, ... fault in a row that is no picture's
LOOK_S_MAX = 30.0  # look by itself this often, should the bell be missed

logger = structlog.get_logger()


class EmbeddingQueue:
    """Works through the waiting jobs. `ring` tells all who do that there are new ones."""

    def __init__(
        self, jobs: JobStore, blobs: BlobStore, embedder: Embedder, news: Notifier, now_ms: Callable[[], int]
    ) -> None:
        self._jobs = jobs
        self._blobs = blobs
        self._embedder = embedder
        self._news = news
        self._now_ms = now_ms
        self._bell = asyncio.Event()
        self._faults = 0
        self._slots = asyncio.Semaphore(embedder.threads)

    def ring(self) -> None:
        self._news.publish_work()

    async def hurry(self, asset_id: str, has_ended: Callable[[], Awaitable[bool]], *, wait_s: float) -> None:
        """Put an asset before all others, attempts counted afresh; wait until it has ended, but not over `wait_s`.

        News may be of the attempt before, which had ended but was not told yet; so `has_ended` is asked.
        """
        with self._news.subscribe(asset_id) as news, contextlib.suppress(TimeoutError):
            if await self._jobs.retry(asset_id, now_ms=self._now_ms()):
                self.ring()
                async with asyncio.timeout(wait_s):
                    while not await has_ended():
                        await news.wait()
                        news.clear()

    async def run(self) -> None:
        """Until cancelled. Whatever was in hand at a fault, or in an earlier process, waits again first."""
        with self._news.hear_work(self._bell.set):
            await self._work()

    async def _work(self) -> None:
        while True:
            try:
                await self._jobs.release(self._embedder.model, now_ms=self._now_ms())
                while True:
                    self._bell.clear()
                    worked = await self.run_once()
                    self._faults = 0
                    if not worked:
                        await self._wait()
            except (Unavailable, Unreachable) as error:
                logger.warning("embeddings interrupted", reason=str(error))
            except Exception:
                logger.exception("embeddings interrupted")
            await asyncio.sleep(PAUSES_S[min(self._faults, len(PAUSES_S) - 1)])
            self._faults += 1

    async def run_once(self) -> int:
        """Work on what is due, at most one claim; how many jobs that were. Raises Unavailable or the store's errors."""
        jobs = await self._jobs.claim(self._embedder.threads * CLAIM_PER_THREAD, now_ms=self._now_ms())
        outcomes = await asyncio.gather(*map(self._attempt, jobs), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        for suspect in outcomes:  # one of them broke the worker: alone, only the guilty one does it again
            if isinstance(suspect, Job):
                await self._attempt(suspect, alone=True)
        return len(jobs)

    async def _attempt(self, job: Job, *, alone: bool = False) -> Job | None:
        """Read one picture and store the outcome; the job itself if it was lost together with others."""
        async with self._slots:
            try:
                reading = await self._reading(job)
            except Unreadable as error:
                await self._give_up(job, str(error))
            except (Unavailable, Unreachable):
                raise  # not this picture's fault: see `run`
            except Lost as error:
                if not (error.alone or alone):
                    return job
                await self._fail(job, str(error))
            except Exception as error:  # noqa: BLE001 - whatever the worker met, it concerns this picture only
                await self._fail(job, f"The picture could not be read: {error}")
            else:
                await self._jobs.complete(job, reading, self._embedder.model, now_ms=self._now_ms())
                self._news.publish_end(job.asset_id)
        return None

    async def _reading(self, job: Job) -> Reading:
        """What is in the picture; of what cannot be looked into, what it is called."""
        if is_readable(job.mime):
            async with self._blobs.local(job.checksum) as picture:
                return await self._embedder.read(picture)
        name = words_of(job.filename)
        vector = (await self._embedder.query(name)).text if name else None
        return Reading(name, vector, None, None)

    async def _fail(self, job: Job, reason: str) -> None:
        if job.attempts + 1 >= ATTEMPTS_MAX:
            await self._give_up(job, reason)
        else:
            logger.info(
                "embedding failed, will try again", asset=job.asset_id, attempts=job.attempts + 1, reason=reason
            )
            await self._jobs.put_back(job, due_ms=self._now_ms() + RETRY_MS[job.attempts])

    async def _give_up(self, job: Job, reason: str) -> None:
        logger.warning("embedding given up", asset=job.asset_id, attempts=job.attempts + 1, reason=reason)
        await self._jobs.fail(job, reason, now_ms=self._now_ms())
        self._news.publish_end(job.asset_id)

    async def _wait(self) -> None:
        due_ms = await self._jobs.next_due_ms()
        pause_s = LOOK_S_MAX if due_ms is None else (due_ms - self._now_ms()) / 1000
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(pause_s, 0.0), LOOK_S_MAX)):
                await self._bell.wait()
