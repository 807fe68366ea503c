"""The walk of an item as tests meet it: a real store, a scripted server, real files, and a clock that can jump."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from scripted import Scripted
from storekit import Store, opened

from splootd.clock import Clock
from splootd.core.item import Item, Priority, State, shard_of
from splootd.credentials import Credentials
from splootd.gate import Gate
from splootd.metrics import Traffic
from splootd.remote.api import Server
from splootd.remote.inbox import Inbox
from splootd.store.arrivals import Candidate, Origin
from splootd.work.files import MemoryBudget, look
from splootd.work.tracker import Tracker
from splootd.work.uploader import Uploader

LIMIT_S = 60.0
HEAD = b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
END = b"\xff\xd9"


def jpeg(label: object, size: int = 0) -> bytes:
    """Something that begins and ends as a JPEG does, different for each `label`."""
    content = HEAD + str(label).encode() + END
    return content if len(content) >= size else content[:-2] + bytes(size - len(content)) + END


class JumpClock(Clock):
    """Both times go on as ever, and can be put forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> float:
        return super().now() + self.ahead_s

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


@dataclass
class Walk:
    """One uploader and one tracker, between a store and a scripted server."""

    folder: Path
    store: Store
    sploot: Scripted
    server: Server
    clock: JumpClock
    credentials: Credentials
    gate: Gate
    traffic: Traffic
    budget: MemoryBudget
    uploader: Uploader
    inbox: Inbox
    tracker: Tracker
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
        """Put a file into the folder, last changed long ago, and queue it; gives the item's id."""
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
        (arrival,) = await self.store.arrivals.offer(
            [Candidate(raw, look(raw), None)],
            Origin(None, None, priority, tags, force),
            still_there=lambda *_: True,
            now=self.clock.now(),
        )
        return arrival.item_id

    def start(self, *, track: bool = False) -> None:
        """Let the uploader run, and the tracker too, whose questions are seconds apart."""
        workers = (self.uploader, self.tracker) if track else (self.uploader,)
        self.tasks = [asyncio.create_task(worker.run()) for worker in workers]

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        for task in self.tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def take(self, item_id: int) -> Item:
        """Let one lane take the next item of the item's shard, and see what has become of it."""
        item = await self.store.item(item_id)
        async with asyncio.timeout(LIMIT_S):
            await self.uploader.run_once(shard_of(item.path))
        return await self.store.item(item_id)

    async def cancelled_anywhere(self, item_id: int, *, every: int, steps_max: int = 400) -> Item:
        """Cancel its lane after `every` steps of the loop, after twice as many, and so on, until the item is through.

        Meanwhile it holds no memory, has lost no try, and has opened no breaker.
        """
        for steps in range(0, steps_max, every):
            lane = asyncio.create_task(self.uploader.run_once((await self.store.item(item_id)).shard))
            for _ in range(steps):
                await asyncio.sleep(0)
            lane.cancel()
            await asyncio.gather(lane, return_exceptions=True)
            item = await self.store.item(item_id)
            assert self.budget.taken == 0
            assert self.gate.breaker.mood == "closed"
            if item.state not in (State.PENDING, State.UPLOADING):  # a claim without an answer: the next one undoes it
                return item
            assert item.attempts == 0
        return await self.take(item_id)

    async def later(self, seconds: float) -> None:
        """Let time pass, and wake whoever waits for a time."""
        self.clock.ahead_s += seconds
        await self.store.queue.promote(now=self.clock.now())
        self.gate.bell.ring()
        self.store.bells.news.ring()
        self.store.bells.embedding.ring()

    async def until(self, condition: Callable[[dict[State, int]], bool]) -> dict[State, int]:
        """Wait until the counts by state are so."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                ticket = self.store.bells.news.ticket()
                counts = dict.fromkeys(State, 0) | dict((await self.store.listing.counts()).by_state)
                if condition(counts):
                    return counts
                self._look_after_the_workers()
                await self.store.bells.news.wait(ticket, LIMIT_S)

    async def until_through(self) -> dict[State, int]:
        """Wait until nothing is left to upload."""
        return await self.until(lambda counts: not counts[State.PENDING] and not counts[State.UPLOADING])

    async def shards(self) -> int:
        """How many shards have items, which is how many lanes get to work at once."""
        return len({item.shard for item in await self.store.listing.items(limit=1000)})

    async def story(self, item_id: int) -> list[str]:
        """The faults of its tries, oldest first."""
        return [str(attempt.fault) for attempt in reversed(await self.store.listing.attempts(item_id))]

    def _look_after_the_workers(self) -> None:
        for task in self.tasks:
            if task.done():
                task.result()


@contextlib.asynccontextmanager
async def walking(
    folder: Path,
    *,
    memory_bytes: int = 100_000_000,
    token: str = "",
    token_command: str = "",
    socket: Path | None = None,
) -> AsyncIterator[Walk]:
    """A walk to the scripted server, or to whatever server listens on `socket`."""
    async with contextlib.AsyncExitStack() as closing:
        store = await closing.enter_async_context(opened(folder / "queue.db"))
        sploot, clock = Scripted(), JumpClock()
        await closing.enter_async_context(sploot.serving(folder / "s"))
        credentials = Credentials(folder / "token", clock, token=token, token_command=token_command)
        server = Server("local", credentials=credentials, connections=4, socket=socket or folder / "s")
        closing.push_async_callback(server.close)
        gate, traffic, budget = Gate(clock, credentials), Traffic(clock), MemoryBudget(memory_bytes)
        uploader = Uploader(
            store.queue,
            store.ledger,
            server,
            gate,
            budget=budget,
            clock=clock,
            bells=store.bells,
            traffic=traffic,
            settle_s=0.0,
        )
        inbox = Inbox(store.bells.embedding)
        tracker = Tracker(store.queue, server, gate, clock, store.bells, inbox=inbox)
        (folder / "memes").mkdir()
        walk = Walk(
            folder / "memes",
            store,
            sploot,
            server,
            clock,
            credentials,
            gate,
            traffic,
            budget,
            uploader,
            inbox,
            tracker,
        )
        closing.push_async_callback(walk.stop)
        yield walk
