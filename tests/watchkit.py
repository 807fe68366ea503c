"""Watching as tests meet it: real folders, a real store, and bells to wait on instead of time."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from storekit import Store

from splootd.bus import Bell
from splootd.clock import Clock
from splootd.config import Config
from splootd.core.item import Item
from splootd.protocol import Add, Added
from splootd.store.arrivals import Folder
from splootd.work.intake import Intake
from splootd.work.patrol import OpenWatch, Rhythm
from splootd.work.watcher import NotifyWatch, Watcher

LIMIT_S = 60.0
PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)
LONG_AGO_S = 1_500_000_000.0
BRISK = Rhythm(settle_s=0.05, look_s=3600.0, check_s=0.3, poll_s=0.1, again_s=0.1, away_s=0.05)


def put(path: Path | bytes, content: bytes = PNG, *, at: float | None = LONG_AGO_S) -> None:
    """A file last changed at `at`, by default so long ago that it has settled."""
    where = os.fsencode(path)
    with open(where, "wb") as stream:  # noqa: PTH123 - pathlib takes no bytes
        stream.write(content)
    if at is not None:
        os.utime(where, (at, at))


@dataclass
class Post:
    """A watcher and an intake at work on one store."""

    store: Store
    intake: Intake
    watcher: Watcher
    keys: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def add(self, *paths: Path, **options: object) -> Added:
        self.keys += 1
        return await self.intake.add(Add(tuple(map(str, paths)), **options), f"key {self.keys}")  # type: ignore[arg-type]  # options of Add

    async def watch(self, path: Path) -> Folder:
        """Add the folder, and wait until it has been looked at once and is under watch."""
        await self.add(path)
        folder = await self.folder(path)
        await self.until_state(folder, "watching", "polling")
        return folder

    async def folder(self, path: Path) -> Folder:
        (folder,) = [each for each in await self.store.arrivals.folders() if each.path == os.fsencode(path)]
        return folder

    async def until_state(self, folder: Folder, *states: str) -> str | None:
        """Wait for one of the states; its detail."""
        await until(self.watcher.news, lambda: self.watcher.health(folder.id)[0] in states)
        return self.watcher.health(folder.id)[1]

    async def until_named(self, *paths: Path | bytes) -> None:
        """Wait until the latest items are exactly those at the paths."""
        wanted = {os.fsencode(path) for path in paths}
        async with asyncio.timeout(LIMIT_S):
            while True:
                ticket = self.store.bells.news.ticket()
                if await self.paths() == wanted:
                    return
                await self.store.bells.news.wait(ticket, LIMIT_S)

    async def until_count(self, count: int) -> None:
        async with asyncio.timeout(LIMIT_S):
            while True:
                ticket = self.store.bells.news.ticket()
                if len(await self.paths()) >= count:
                    return
                await self.store.bells.news.wait(ticket, LIMIT_S)

    async def until_walked(self, added: Added) -> None:
        assert added.add is not None
        async with asyncio.timeout(LIMIT_S):
            while True:
                ticket = self.store.bells.news.ticket()
                if not (await self.store.listing.progress(added.add)).walking:
                    return
                await self.store.bells.news.wait(ticket, LIMIT_S)

    async def paths(self) -> set[bytes]:
        return {row[0] for row in await self.store.rows("SELECT path FROM items WHERE latest = 1")}

    async def items(self) -> list[Item]:
        return await self.store.listing.items(limit=1_000)

    async def rows(self) -> int:
        ((count,),) = await self.store.rows("SELECT count(*) FROM items")
        return int(count)


async def until(bell: Bell, holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while True:
            ticket = bell.ticket()
            if holds():
                return
            await bell.wait(ticket, LIMIT_S)


@contextlib.asynccontextmanager
async def manned(store: Store, *, rhythm: Rhythm = BRISK, open_watch: OpenWatch = NotifyWatch) -> AsyncIterator[Post]:
    """A post whose workers run."""
    clock = Clock()
    intake = Intake(store.arrivals, clock, settle_s=rhythm.settle_s)
    watcher = Watcher(store.arrivals, intake, clock, Config(), rhythm=rhythm, open_watch=open_watch)
    tasks = [asyncio.create_task(intake.run()), asyncio.create_task(watcher.run())]
    try:
        yield Post(store, intake, watcher)
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
