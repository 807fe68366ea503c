"""Keeps watch over one folder whether it is there or not: missing is not emptied, and what comes back is looked at."""

import asyncio
import os
from collections.abc import Callable

from splootd.clock import Clock
from splootd.errors import SplootError
from splootd.logs import logger
from splootd.remote.answers import printable
from splootd.store.arrivals import Arrivals, Folder
from splootd.work.inbox import Taker
from splootd.work.patrol import OpenWatch, Patrol, Rhythm


class Lookout:
    """Patrols one folder for as long as `run` runs. `state` and `detail` are what `sploot folders` shows.

    `others` are watched folders inside this one. `news` is called when the state may have changed or a look has ended.
    """

    def __init__(
        self,
        folder: Folder,
        others: frozenset[bytes],
        *,
        arrivals: Arrivals,
        taker: Taker,
        clock: Clock,
        rhythm: Rhythm,
        open_watch: OpenWatch,
        news: Callable[[], None],
    ) -> None:
        self.folder = folder
        self.others = others
        self.state = "scanning"
        self.detail: str | None = None
        self._arrivals = arrivals
        self._taker = taker
        self._clock = clock
        self._rhythm = rhythm
        self._open_watch = open_watch
        self._news = news
        self._patrol: Patrol | None = None  # while the folder is there
        self._log = logger("watcher", folder=folder.path)

    def look_again(self) -> None:
        """Perhaps something was missed: check the folder soon, if it is there."""
        if self._patrol is not None:
            self._patrol.look_again()

    async def run(self) -> None:
        while True:
            try:
                if await self._find():
                    await self._go_on_patrol()
                else:
                    await asyncio.sleep(self._rhythm.away_s)
            except* (SplootError, OSError) as troubles:
                trouble = troubles.exceptions[0]
                self._say(self.state, f"watching was interrupted and begins again: {trouble}")
                self._log.warning("interrupted", error=str(trouble))
                await asyncio.sleep(self._rhythm.away_s)

    async def _go_on_patrol(self) -> None:
        self._say("scanning", None)
        self._patrol = Patrol(
            self.folder,
            self.others,
            arrivals=self._arrivals,
            taker=self._taker,
            clock=self._clock,
            rhythm=self._rhythm,
            open_watch=self._open_watch,
            say=self._say,
        )
        try:
            await self._patrol.run()
        finally:
            self._patrol = None

    async def _find(self) -> bool:
        """Whether the folder is there to be patrolled; where another one has taken its place, that one."""
        path = self.folder.path
        try:
            status, is_empty = await asyncio.to_thread(_meet, path)
        except PermissionError:
            self._say("unreadable", f"{_shown(path)} may not be read: give yourself the right to")
            return False
        except OSError:
            self._say("missing", f"{_shown(path)} is not there; nothing is concluded from that until it is back")
            return False
        if is_empty and status.st_dev != self.folder.device and status.st_ino != self.folder.inode:
            self._say(
                "missing", f"an empty folder of another disk is in its place: is the disk of {_shown(path)} there?"
            )
            return False
        if (status.st_dev, status.st_ino) != (self.folder.device, self.folder.inode):
            self._log.info("another folder is in its place")
            self.folder = await self._arrivals.watch(
                path,
                device=status.st_dev,
                inode=status.st_ino,
                priority=self.folder.priority,
                tags=self.folder.tags,
                after=self.folder.after,
                now=self._clock.now(),
            )
        return True

    def _say(self, state: str, detail: str | None) -> None:
        self.state, self.detail = state, detail
        self._news()


def _meet(path: bytes) -> tuple[os.stat_result, bool]:
    with os.scandir(path) as entries:
        is_empty = next(entries, None) is None
    return os.stat(path), is_empty  # noqa: PTH116 - pathlib takes no bytes


def _shown(path: bytes) -> str:
    return printable(os.fsdecode(path))
