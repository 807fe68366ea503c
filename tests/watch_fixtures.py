"""Fixtures for the watcher: real folders, a real store, and wake signals to wait for instead of sleeping."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from store_fixtures import Store

from splootd.clock import Clock
from splootd.config import Config
from splootd.core.item import Item
from splootd.event_bus import WakeSignal
from splootd.protocol import Add, AddReply
from splootd.store.folders import Folder
from splootd.watch.folder_scanner import OpenWatch, ScanSchedule
from splootd.watch.importer import Importer
from splootd.watch.watcher import NotifyWatch, Watcher

LIMIT_S = 60.0
PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)
LONG_AGO_S = 1_500_000_000.0
FAST_SCHEDULE = ScanSchedule(
    settle_s=0.05,
    full_scan_interval_s=3600.0,
    quick_scan_interval_s=0.3,
    poll_interval_s=0.1,
    rescan_delay_s=0.1,
    retry_interval_s=0.05,
)


def put(path: Path | bytes, content: bytes = PNG, *, at: float | None = LONG_AGO_S) -> None:
    """Write a file with the modification time `at`, by default long enough ago to be settled."""
    raw_path = os.fsencode(path)
    with open(raw_path, "wb") as stream:  # noqa: PTH123 - pathlib takes no bytes
        stream.write(content)
    if at is not None:
        os.utime(raw_path, (at, at))


@dataclass
class WatchHarness:
    """A running watcher and importer on one store."""

    store: Store
    importer: Importer
    watcher: Watcher
    keys: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def add(self, *paths: Path, **options: object) -> AddReply:
        self.keys += 1
        return await self.importer.add(Add(tuple(map(str, paths)), **options), f"key {self.keys}")  # type: ignore[arg-type]  # options of Add

    async def watch(self, path: Path) -> Folder:
        """Add the folder, and wait until it has been scanned once and is watched."""
        await self.add(path)
        folder = await self.folder(path)
        await self.until_state(folder, "watching", "polling")
        return folder

    async def folder(self, path: Path) -> Folder:
        (folder,) = [each for each in await self.store.folder_store.folders() if each.path == os.fsencode(path)]
        return folder

    async def until_state(self, folder: Folder, *states: str) -> str | None:
        """Wait for one of the states; return its detail."""
        await until(self.watcher.state_changed, lambda: self.watcher.health(folder.id)[0] in states)
        return self.watcher.health(folder.id)[1]

    async def until_paths(self, *paths: Path | bytes) -> None:
        """Wait until the paths of the latest items are exactly these."""
        wanted = {os.fsencode(path) for path in paths}
        async with asyncio.timeout(LIMIT_S):
            while True:
                snapshot = self.store.wake_signals.events.snapshot()
                if await self.paths() == wanted:
                    return
                await self.store.wake_signals.events.wait(snapshot, LIMIT_S)

    async def until_count(self, count: int) -> None:
        async with asyncio.timeout(LIMIT_S):
            while True:
                snapshot = self.store.wake_signals.events.snapshot()
                if len(await self.paths()) >= count:
                    return
                await self.store.wake_signals.events.wait(snapshot, LIMIT_S)

    async def until_scanned(self, added: AddReply) -> None:
        assert added.import_id is not None
        async with asyncio.timeout(LIMIT_S):
            while True:
                snapshot = self.store.wake_signals.events.snapshot()
                if not (await self.store.read_queries.progress(added.import_id)).scanning:
                    return
                await self.store.wake_signals.events.wait(snapshot, LIMIT_S)

    async def paths(self) -> set[bytes]:
        return {row[0] for row in await self.store.rows("SELECT path FROM items WHERE latest = 1")}

    async def items(self) -> list[Item]:
        return await self.store.read_queries.items(limit=1_000)

    async def rows(self) -> int:
        ((count,),) = await self.store.rows("SELECT count(*) FROM items")
        return int(count)


async def until(wake_signal: WakeSignal, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while True:
            snapshot = wake_signal.snapshot()
            if condition():
                return
            await wake_signal.wait(snapshot, LIMIT_S)


@contextlib.asynccontextmanager
async def running_watcher(
    store: Store, *, schedule: ScanSchedule = FAST_SCHEDULE, open_watch: OpenWatch = NotifyWatch
) -> AsyncIterator[WatchHarness]:
    """Run a watcher and an importer on the store."""
    clock = Clock()
    importer = Importer(store.import_store, store.folder_store, clock, settle_s=schedule.settle_s)
    watcher = Watcher(
        store.import_store, store.folder_store, importer, clock, Config(), schedule=schedule, open_watch=open_watch
    )
    tasks = [asyncio.create_task(importer.run()), asyncio.create_task(watcher.run())]
    try:
        yield WatchHarness(store, importer, watcher)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results), results
