"""The daemon's store at work, as a process of its own: python -m lab.store_work KIND FOLDER SEED ITEMS.

Each line on standard output is an acknowledgement: it is printed when the call has returned, and `store_truth` checks
it. `busy` runs all operations concurrently until ITEMS items have ended, `tour` runs them one after another, `open`
only opens and closes, `migrate` does so with a made-up next version. Exits 74 when the store has given up.
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

from lab.store_truth import digest, next_version, number_of, path_of, version_of
from store_fixtures import Store, open_store, source

from splootd.core.error_code import ErrorCode
from splootd.core.item import SHARDS, FoundFile, Leased, Priority
from splootd.errors import StoreError, StoreFailed, StoreFull

T = TypeVar("T")

ENQUEUE_MAX = 40
PRODUCERS = 3
RETRIES_MAX = 2
CHECKPOINT_PAGES = 60  # small, so that there are many checkpoints
TRY_AGAIN_S = 0.02
EX_IOERR = 74


def report(word: str, *numbers: object) -> None:
    os.write(1, " ".join([word, *map(str, numbers)]).encode() + b"\n")


class Work:
    """The operations of a daemon on its store, with a clock that counts calls."""

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
            tasks = [group.create_task(self._produce()) for _ in range(PRODUCERS)]
            tasks += [group.create_task(self._upload(shard)) for shard in range(SHARDS)]
            tasks += [group.create_task(self._finish_all()), group.create_task(self._store.database.run())]
            await self._all_ended.wait()
            for task in tasks:
                task.cancel()

    async def tour(self) -> None:
        """Run every kind of write once, in a fixed order."""
        store, now = self._store, self._now
        import_id, _ = await store.import_store.start_import(
            "key", priority=Priority.NORMAL, tags=["cat"], force=False, paths=[b"/memes"], now=now()
        )
        report("imported", import_id)
        folder = await store.folder_store.watch(
            b"/memes", device=1, inode=2, priority=Priority.NORMAL, tags=[], now=now()
        )
        report("watched", folder.id)
        await self._enqueue(range(1, 7))
        await store.folder_store.mark_scanned(folder.id, now=now())
        (root,) = await store.import_store.unfinished_roots()
        await store.import_store.finish_root(root.id, now=now())
        report("scanned", root.id)
        for ending in (self._accept, self._accept, self._retry, self._discard, self._accept_ready):
            await ending(await self._next())
        await self._finish()
        await store.settings_store.set("paused", "yes", now=now())
        report("set", "paused", "yes")
        await store.database.backup(store.database.path.with_name("backup.db"))
        report("backed_up")
        await self._enqueue(range(7, 10))
        await self._accept(await self._next())

    def _now(self) -> float:
        return float(next(self._clock))

    async def open(self) -> None:
        """Run no operation."""

    async def migrate(self) -> None:
        """Run no operation. `main` opens the database with the made-up next version."""

    async def _next(self) -> Leased:
        for shard in range(SHARDS):
            if leased := await self._store.queue.claim(shard, now=self._now(), chance=0.0):
                return leased
        raise AssertionError("nothing to claim")

    async def _produce(self) -> None:
        while True:
            count = self._rng.randint(1, ENQUEUE_MAX)
            batch = list(itertools.islice(self._numbers, count))
            batch = [number for number in batch if number <= self._items]
            if not batch:
                return
            await _repeat(partial(self._enqueue, batch))

    async def _enqueue(self, numbers: "range | list[int]") -> None:
        files = [FoundFile(path_of(number), version_of(number)) for number in numbers]
        await self._store.import_store.enqueue(files, source(), is_still_there=lambda path, of: True, now=self._now())
        report("enqueued", *numbers)

    async def _upload(self, shard: int) -> None:
        while True:
            snapshot = self._store.wake_signals.work.snapshot()
            leased = await _repeat(lambda: self._store.queue.claim(shard, now=self._now(), chance=self._rng.random()))
            if leased is None:
                await self._store.wake_signals.work.wait(snapshot, TRY_AGAIN_S)
                await _repeat(lambda: self._store.queue.make_due(now=self._now()))
            else:
                await _repeat(partial(self._ending(leased), leased))

    def _ending(self, leased: Leased) -> Callable[[Leased], Awaitable[None]]:
        draw = self._rng.random()
        if draw < 0.6:
            return self._accept
        if draw < 0.8:
            return self._accept_ready
        return self._retry if leased.item.attempts < RETRIES_MAX else self._discard

    # A failed write may have been committed. Its lease is then invalid, and the repeated completion changes nothing.

    async def _accept(self, leased: Leased, *, embedded: bool = False) -> None:
        number = number_of(leased.item.path)
        still_leased = await self._store.queue.accept(
            leased,
            asset_id=f"a{number}",
            sha256=digest(number),
            duplicate=False,
            embedded=embedded,
            now=self._now(),
        )
        if still_leased:
            report("ready" if embedded else "accepted", number)
        if embedded:
            self._end(number)

    async def _accept_ready(self, leased: Leased) -> None:
        await self._accept(leased, embedded=True)

    async def _retry(self, leased: Leased) -> None:
        now = self._now()
        if await self._store.queue.retry(
            leased, error_code=ErrorCode.SERVER_ERROR, error_message="It answered 500.", next_at=now, now=now
        ):
            report("retried", number_of(leased.item.path), leased.item.attempts + 1)

    async def _discard(self, leased: Leased) -> None:
        number = number_of(leased.item.path)
        if await self._store.queue.discard(
            leased, error_code=ErrorCode.REJECTED, error_message="It answered 400.", now=self._now()
        ):
            report("discarded", number)
        self._end(number)

    async def _finish_all(self) -> None:
        while True:
            snapshot = self._store.wake_signals.embedding.snapshot()
            await _repeat(self._finish)
            await self._store.wake_signals.embedding.wait(snapshot, TRY_AGAIN_S)

    async def _finish(self) -> None:
        due = await self._store.queue.due_embeddings(now=self._now(), limit=50)
        if not due:
            return
        await self._store.queue.finish([each.item_id for each in due], now=self._now())
        numbers = [int(each.asset_id[1:]) for each in due]
        report("ready", *numbers)
        for number in numbers:
            self._end(number)

    def _end(self, number: int) -> None:
        self._ended.add(number)
        if len(self._ended) >= self._items:
            self._all_ended.set()


async def _repeat(operation: Callable[[], Awaitable[T]]) -> T:
    """Repeat an operation until the store succeeds. Errors on the way are reported too."""
    while True:
        try:
            return await operation()
        except (StoreFull, StoreFailed) as error:
            report("full" if isinstance(error, StoreFull) else "failed", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TRY_AGAIN_S):
                    await asyncio.Event().wait()


async def main(kind: str, folder: Path, seed: int, items: int) -> None:
    versions = next_version() if kind == "migrate" else contextlib.nullcontext()
    with versions:
        await run(kind, folder, seed, items)


async def run(kind: str, folder: Path, seed: int, items: int) -> None:
    async with open_store(folder / "queue.db", instance_id=f"instance{os.getpid()}") as store:
        report("opened")
        await store.queue.release_stale(now=0.0)
        await getattr(Work(store, random.Random(seed), items), kind)()
    report("closed")


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
    except* StoreError as errors:
        report("ended", *errors.exceptions)
        sys.exit(EX_IOERR)
