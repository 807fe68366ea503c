"""The daemon's store at work, as a process of its own: python -m lab.store_work KIND FOLDER SEED ITEMS.

Each line on standard output is an acknowledgement: it is printed when the call has returned, and `store_truth` holds
the store to it. `busy` does everything at once until so many items have ended, `tour` one thing after another, `open`
nothing but to open and close. Exits 74 when the store has given up.
"""

import asyncio
import contextlib
import itertools
import os
import random
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from lab.store_truth import digest, number_of, path_of, version_of
from storekit import Store, opened, origin

from splootd.core.fault import Fault
from splootd.core.item import SHARDS, Leased, Priority
from splootd.errors import StoreError, StoreFailed, StoreFull
from splootd.store.arrivals import Candidate

T = TypeVar("T")

OFFER_MAX = 40
OFFERERS = 3
RETRIES_MAX = 2
CHECKPOINT_PAGES = 60  # small, so that checkpoints happen all the time
TRY_AGAIN_S = 0.02
EX_IOERR = 74


def say(word: str, *numbers: object) -> None:
    os.write(1, " ".join([word, *map(str, numbers)]).encode() + b"\n")


class Work:
    """Everything that a daemon asks of its store, with a clock that counts."""

    def __init__(self, store: Store, rng: random.Random, items: int) -> None:
        self._store = store
        self._rng = rng
        self._items = items
        self._numbers = itertools.count(1)
        self._clock = itertools.count(1)
        self._ended: set[int] = set()
        self._all_ended = asyncio.Event()

    async def busy(self) -> None:
        await self._store.run(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._offering()) for _ in range(OFFERERS)]
            tasks += [group.create_task(self._lane(shard)) for shard in range(SHARDS)]
            tasks += [group.create_task(self._finishing()), group.create_task(self._store.database.run())]
            await self._all_ended.wait()
            for task in tasks:
                task.cancel()

    async def tour(self) -> None:
        """Every kind of write once, in an order that a reader can follow."""
        store, now = self._store, self._now
        add, _ = await store.arrivals.start_add(
            "key", priority=Priority.NORMAL, tags=["cat"], force=False, paths=[b"/memes"], now=now()
        )
        say("added", add)
        folder = await store.arrivals.watch(b"/memes", device=1, inode=2, priority=Priority.NORMAL, tags=[], now=now())
        say("watched", folder.id)
        await self._offer(range(1, 7))
        await store.arrivals.looked(folder.id, now=now())
        (root,) = await store.arrivals.roots_left()
        await store.arrivals.root_done(root.id, now=now())
        say("walked", root.id)
        for ending in (self._accept, self._accept, self._retry, self._bury, self._accept_ready):
            await ending(await self._next())
        await self._finish()
        await store.listing.set_setting("paused", "yes", now=now())
        say("set", "paused", "yes")
        await store.database.backup(store.database.path.with_name("backup.db"))
        say("backed_up")
        await self._offer(range(7, 10))
        await self._accept(await self._next())

    def _now(self) -> float:
        return float(next(self._clock))

    async def open(self) -> None:
        """Nothing else."""

    async def _next(self) -> Leased:
        for shard in range(SHARDS):
            if leased := await self._store.queue.claim(shard, now=self._now(), chance=0.0):
                return leased
        raise AssertionError("nothing to claim")

    async def _offering(self) -> None:
        while True:
            count = self._rng.randint(1, OFFER_MAX)
            batch = list(itertools.islice(self._numbers, count))
            batch = [number for number in batch if number <= self._items]
            if not batch:
                return
            await _insist(partial(self._offer, batch))

    async def _offer(self, numbers: "range | list[int]") -> None:
        found = [Candidate(path_of(number), version_of(number), None) for number in numbers]
        await self._store.arrivals.offer(found, origin(), still_there=lambda path, of: True, now=self._now())
        say("offered", *numbers)

    async def _lane(self, shard: int) -> None:
        while True:
            ticket = self._store.bells.work.ticket()
            leased = await _insist(lambda: self._store.queue.claim(shard, now=self._now(), chance=self._rng.random()))
            if leased is None:
                await self._store.bells.work.wait(ticket, TRY_AGAIN_S)
                await _insist(lambda: self._store.queue.promote(now=self._now()))
            else:
                await _insist(partial(self._ending(leased), leased))

    def _ending(self, leased: Leased) -> Callable[[Leased], Awaitable[None]]:
        draw = self._rng.random()
        if draw < 0.6:
            return self._accept
        if draw < 0.8:
            return self._accept_ready
        return self._retry if leased.item.attempts < RETRIES_MAX else self._bury

    # A store that has failed may have written: then the lease is over, and the answer changes nothing the second time.

    async def _accept(self, leased: Leased, *, embedded: bool = False) -> None:
        number = number_of(leased.item.path)
        ours = await self._store.queue.accept(
            leased,
            asset_id=f"a{number}",
            sha256=digest(number),
            duplicate=False,
            embedded=embedded,
            now=self._now(),
        )
        if ours:
            say("ready" if embedded else "accepted", number)
        if embedded:
            self._end(number)

    async def _accept_ready(self, leased: Leased) -> None:
        await self._accept(leased, embedded=True)

    async def _retry(self, leased: Leased) -> None:
        now = self._now()
        if await self._store.queue.retry(
            leased, fault=Fault.SERVER_FAULT, reason="It answered 500.", next_at=now, now=now
        ):
            say("retried", number_of(leased.item.path), leased.item.attempts + 1)

    async def _bury(self, leased: Leased) -> None:
        number = number_of(leased.item.path)
        if await self._store.queue.bury(leased, fault=Fault.REFUSED, reason="It answered 400.", now=self._now()):
            say("buried", number)
        self._end(number)

    async def _finishing(self) -> None:
        while True:
            ticket = self._store.bells.embedding.ticket()
            await _insist(self._finish)
            await self._store.bells.embedding.wait(ticket, TRY_AGAIN_S)

    async def _finish(self) -> None:
        due = await self._store.queue.due_embeddings(now=self._now(), limit=50)
        if not due:
            return
        await self._store.queue.finish([each.item_id for each in due], now=self._now())
        numbers = [int(each.asset_id[1:]) for each in due]
        say("ready", *numbers)
        for number in numbers:
            self._end(number)

    def _end(self, number: int) -> None:
        self._ended.add(number)
        if len(self._ended) >= self._items:
            self._all_ended.set()


async def _insist(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again until the store can: what it says on the way is told too."""
    while True:
        try:
            return await ask()
        except (StoreFull, StoreFailed) as error:
            say("full" if isinstance(error, StoreFull) else "failed", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TRY_AGAIN_S):
                    await asyncio.Event().wait()


async def main(kind: str, folder: Path, seed: int, items: int) -> None:
    async with opened(folder / "queue.db", boot=f"boot{os.getpid()}") as store:
        say("opened")
        await store.queue.recover(now=0.0)
        await getattr(Work(store, random.Random(seed), items), kind)()
    say("closed")


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
    except* StoreError as errors:
        say("ended", *errors.exceptions)
        sys.exit(EX_IOERR)
