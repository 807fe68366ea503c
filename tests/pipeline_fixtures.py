"""The upload pipeline for tests: a real store, a scripted server, real files, and a clock that can jump."""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from scripted_sploot import ScriptedSploot
from store_fixtures import Store, open_store

from splootd.clock import Clock
from splootd.core.item import FoundFile, Item, Priority, State, shard_for
from splootd.credentials import Credentials
from splootd.embeddings.embedding_tracker import EmbeddingTracker
from splootd.embeddings.push_subscriptions import PushSubscriptions
from splootd.file_reader import MemoryBudget, stat_version
from splootd.metrics import MetricsCollector
from splootd.remote.client import SplootClient
from splootd.store.upsert import Source
from splootd.upload.admission import AdmissionController
from splootd.upload.uploader import SINGLE_BATCH_MAX, Uploader

LIMIT_S = 60.0
HEAD = b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
END = b"\xff\xd9"


def jpeg(label: object, size: int = 0) -> bytes:
    """Return bytes that begin and end like a JPEG, different for each `label`."""
    content = HEAD + str(label).encode() + END
    return content if len(content) >= size else content[:-2] + bytes(size - len(content)) + END


class JumpClock(Clock):
    """A clock that runs normally and can be moved forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> float:
        return super().now() + self.ahead_s

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


@dataclass
class PipelineHarness:
    """An uploader and a tracker between a store and a scripted server."""

    folder: Path
    store: Store
    sploot: ScriptedSploot
    client: SplootClient
    clock: JumpClock
    credentials: Credentials
    admission: AdmissionController
    metrics: MetricsCollector
    budget: MemoryBudget
    uploader: Uploader
    push_subscriptions: PushSubscriptions
    tracker: EmbeddingTracker
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def add(
        self,
        name: str,
        content: bytes | None = None,
        *,
        priority: Priority = Priority.NORMAL,
        tags: tuple[str, ...] = (),
        force: bool = False,
    ) -> int:
        """Write a file with an old mtime into the folder, queue it, and return the item's id."""
        path = self.folder / name
        path.write_bytes(jpeg(name) if content is None else content)
        os.utime(path, (1e9, 1e9))
        return await self.queue(path, priority=priority, tags=tags, force=force)

    async def queue(
        self,
        path: Path,
        *,
        priority: Priority = Priority.NORMAL,
        tags: tuple[str, ...] = (),
        force: bool = False,
    ) -> int:
        raw = os.fsencode(path)
        (result,) = await self.store.import_store.enqueue(
            [FoundFile(raw, stat_version(raw))],
            Source(None, None, priority, tags, force),
            is_still_there=lambda *_: True,
            now=self.clock.now(),
        )
        return result.item_id

    def start(self, *, track: bool = False) -> None:
        """Start the uploader, and with `track` the tracker, whose polls are seconds apart."""
        workers = (self.uploader, self.tracker) if track else (self.uploader,)
        self.tasks = [asyncio.create_task(worker.run()) for worker in workers]

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        for task in self.tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def take(self, item_id: int) -> Item:
        """Let a worker process the next item of the item's shard alone, and return the item afterwards."""
        item = await self.store.item(item_id)
        with mock.patch("splootd.upload.uploader.SINGLE_BATCH_MAX", 1):
            async with asyncio.timeout(LIMIT_S):
                await self.uploader.run_once(shard_for(item.path))
        return await self.store.item(item_id)

    async def cancelled_anywhere(self, item_id: int, *, every: int, steps_max: int = 400) -> Item:
        """Cancel the worker after `every` steps of the loop, after twice as many, and so on, until the item is done.

        After each cancellation no memory is held, no attempt was counted, and the breaker is closed.
        """
        for steps in range(0, steps_max, every):
            worker = asyncio.create_task(self.uploader.run_once((await self.store.item(item_id)).shard))
            for _ in range(steps):
                await asyncio.sleep(0)
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
            item = await self.store.item(item_id)
            assert self.budget.in_use == 0
            assert self.admission.breaker.state == "closed"
            if item.state not in (State.PENDING, State.UPLOADING):  # else claimed without a result
                return item
            assert item.attempts == 0
        return await self.take(item_id)

    async def later(self, seconds: float) -> None:
        """Move the clock forward and wake the workers."""
        self.clock.ahead_s += seconds
        await self.store.queue.make_due(now=self.clock.now())
        self.admission.changed.notify()
        self.store.wake_signals.events.notify()
        self.store.wake_signals.embedding.notify()

    async def until(self, condition: Callable[[dict[State, int]], bool]) -> dict[State, int]:
        """Wait until `condition` holds for the counts by state, and return them."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                snapshot = self.store.wake_signals.events.snapshot()
                counts = dict.fromkeys(State, 0) | dict((await self.store.read_queries.counts()).by_state)
                if condition(counts):
                    return counts
                self._raise_failures()
                await self.store.wake_signals.events.wait(snapshot, LIMIT_S)

    async def until_through(self) -> dict[State, int]:
        """Wait until nothing is left to upload."""
        return await self.until(lambda counts: not counts[State.PENDING] and not counts[State.UPLOADING])

    async def first_claims(self) -> int:
        """Return the number of items that the workers of all shards claim at once."""
        shards = Counter(item.shard for item in await self.store.read_queries.items(limit=1000))
        return sum(min(count, SINGLE_BATCH_MAX) for count in shards.values())

    async def errors(self, item_id: int) -> list[str]:
        """Return the error codes of the item's attempts, oldest first."""
        return [str(attempt.error_code) for attempt in reversed(await self.store.read_queries.attempts(item_id))]

    def _raise_failures(self) -> None:
        """Raise the exception of a task that has failed."""
        for task in self.tasks:
            if task.done():
                task.result()


@contextlib.asynccontextmanager
async def open_pipeline(
    folder: Path,
    *,
    memory_bytes: int = 100_000_000,
    token: str = "",
    token_command: str = "",
    socket: Path | None = None,
) -> AsyncIterator[PipelineHarness]:
    """Open a pipeline to the scripted server, or to the server that listens on `socket`."""
    async with contextlib.AsyncExitStack() as closing:
        store = await closing.enter_async_context(open_store(folder / "queue.db"))
        sploot, clock = ScriptedSploot(), JumpClock()
        await closing.enter_async_context(sploot.serve(folder / "s"))
        credentials = Credentials(folder / "token", clock, token=token, token_command=token_command)
        client = SplootClient("local", credentials=credentials, connections=4, socket=socket or folder / "s")
        closing.push_async_callback(client.close)
        admission, metrics, budget = (
            AdmissionController(clock, credentials),
            MetricsCollector(clock),
            MemoryBudget(memory_bytes),
        )
        uploader = Uploader(
            store.queue,
            store.ledger,
            client,
            admission,
            budget=budget,
            clock=clock,
            wake_signals=store.wake_signals,
            metrics=metrics,
            settle_s=0.0,
        )
        push_subscriptions = PushSubscriptions(store.wake_signals.embedding)
        tracker = EmbeddingTracker(
            store.queue, client, admission, clock, store.wake_signals, subscriptions=push_subscriptions
        )
        (folder / "memes").mkdir()
        pipeline = PipelineHarness(
            folder / "memes",
            store,
            sploot,
            client,
            clock,
            credentials,
            admission,
            metrics,
            budget,
            uploader,
            push_subscriptions,
            tracker,
        )
        closing.push_async_callback(pipeline.stop)
        yield pipeline
