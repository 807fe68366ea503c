"""Looks after one folder that is there: events are hints, what counts is what a look at the disk shows.

What the system's watch loses is mended here. A full look comes at the start and from time to time; in between, the
modification times of the folders tell cheaply whether a name came or went that no event told of.
"""

import asyncio
import os
import stat
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Protocol

from splootd.clock import BEAT_S, Clock
from splootd.logs import logger
from splootd.store.arrivals import Arrivals, Folder, Origin
from splootd.work.ignore import Rules
from splootd.work.inbox import Inbox, Taker
from splootd.work.kernel import allow_more_watches
from splootd.work.walk import Stamp, Tally, Tree, Walk, changed

DEATHS_APART_S = 60.0  # a watch that dies again so soon is not opened before the next full look
REOPEN_S = 1.0
REOPEN_COST = 20  # opening may take one part in so many of the time
UNBOUNDED = 1 << 62


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often a folder is looked at, in seconds."""

    settle_s: float = 2.0
    look_s: float = 3600.0  # everything in it
    check_s: float = 60.0  # whether it is still the same folder and, after activity, the times of the folders in it
    poll_s: float = 20.0  # the times of the folders in it, where not all are watched
    again_s: float = 1.0  # what was just found, a second time
    away_s: float = 10.0  # whether a missing folder is back


class WatchRefused(Exception):
    """The system does not watch this folder; the text says why and what to do."""


class Watch(Protocol):
    """The system's watch of a folder, for as long as it is not closed."""

    def missed(self, folders: Mapping[bytes, Stamp]) -> set[bytes]:
        """Which of the folders it does not watch. Blocks."""

    def close(self) -> None: ...


class OpenWatch(Protocol):
    """Opens a watch that calls `told` with paths, and `died` with a sentence when it ends by itself. WatchRefused."""

    def __call__(
        self, tree: Tree, *, recursive: bool, told: Callable[[set[bytes]], None], died: Callable[[str], None]
    ) -> Watch: ...


class Patrol:
    """One stay at a folder, for as long as it is the same one. `say` is told state and detail, as people see them."""

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
        say: Callable[[str, str | None], None],
    ) -> None:
        self._folder = folder
        self._arrivals = arrivals
        self._taker = taker
        self._clock = clock
        self._rhythm = rhythm
        self._open_watch = open_watch
        self._say = say
        self._log = logger("watcher", folder=folder.path)
        self._origin = Origin(None, folder.id, folder.priority, folder.tags, force=False, after=folder.after)
        self._tree = Tree(folder.path, others, {}, Rules(folder.path))
        self._inbox = Inbox(self._tree, taker, self._origin, clock, settle_s=rhythm.settle_s)
        self._watch: Watch | None = None
        self._is_recursive = True
        self._refusal: str | None = None  # why there is no watch
        self._obituary: str | None = None  # of the watch that has just died
        self._unwatched: set[bytes] = set()  # what even a fresh watch left out
        self._unreadable: str | None = None
        self._died_at = float("-inf")
        self._looked_at = float("-inf")
        self._look_at = self._check_at = self._reopen_at = self._retry_at = 0.0

    def look_again(self) -> None:
        """Check soon whether it is still the same folder, and what has changed in it."""
        self._inbox.is_active = self._inbox.wants_check = True
        self._inbox.called.ring()

    async def run(self) -> None:
        """Returns when the folder is gone, or another one is in its place."""
        scout = self._walk([self._tree.root], rules=self._tree.rules, folders_only=True)
        await asyncio.to_thread(scout.take, UNBOUNDED, float("inf"))
        self._learn(scout.folders)
        # The system's watch follows links and could end up watching the whole disk: then each folder by itself.
        self._is_recursive = not scout.has_folder_links
        self._open()
        try:
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(self._inbox.run())
                await self._rounds()
                listening.cancel()
        finally:
            self._close()

    async def _rounds(self) -> None:
        await self._look()
        while True:
            ticket = self._inbox.called.ticket()
            self._read_inbox()
            if self._clock.monotonic() >= self._look_at:
                await self._look()
            if self._inbox.fresh:
                await self._look_into_fresh()
            if self._clock.monotonic() >= self._check_at:
                if not await asyncio.to_thread(is_here, self._folder):
                    return
                await self._check()
            self._report()
            left_s = min(self._look_at, self._check_at) - self._clock.monotonic()
            await self._inbox.called.wait(ticket, max(0.0, left_s))

    def _read_inbox(self) -> None:
        now, again_s = self._clock.monotonic(), self._rhythm.again_s
        if self._obituary:
            self._after_death(self._obituary)
            self._obituary = None
        if self._inbox.wants_look:
            self._look_at = min(self._look_at, max(now, self._looked_at + again_s))
            self._inbox.wants_look = False
        if self._inbox.wants_check:
            self._check_at = min(self._check_at, now + again_s)
            self._inbox.wants_check = False

    async def _look(self) -> None:
        """A full look: nothing that was known of the folder counts."""
        walk, tally = self._walk([self._tree.root], rules=Rules(self._tree.root)), Tally()
        if self._refusal and self._clock.monotonic() >= self._retry_at:
            self._open()
        await self._taker.walk(walk, self._origin, tally)
        self._tree.folders, self._tree.rules = {}, walk.rules
        self._learn(walk.folders)
        self._is_recursive = self._is_recursive and not walk.has_folder_links
        self._unwatched.clear()
        self._unreadable = "; ".join(tally.sentences) or None
        await self._arrivals.looked(self._folder.id, now=self._clock.now())
        self._looked_at = self._clock.monotonic()
        self._look_at = self._looked_at + self._rhythm.look_s
        self._check_again(self._rhythm.check_s)
        await self._mend_watch()
        self._log.debug("looked", **tally.counts)
        self._report()

    async def _look_into_fresh(self) -> None:
        """New folders, now; and soon again, for what came into them before they were watched."""
        fresh = sorted(self._inbox.fresh)
        self._inbox.fresh.clear()
        await self._take_in(fresh)
        self._inbox.is_active = True
        self._check_at = min(self._check_at, self._clock.monotonic() + self._rhythm.again_s)

    async def _check(self) -> None:
        """Look into the folders whose times have changed, if there was a sign of life or none can be had."""
        self._check_again(self._rhythm.poll_s if self._is_polling else self._rhythm.check_s)
        if not (self._inbox.is_active or self._is_polling):
            return
        self._inbox.is_active = False
        altered, vanished = await asyncio.to_thread(changed, dict(self._tree.folders))
        for folder in vanished:
            self._tree.folders.pop(folder, None)
        await self._take_in(altered, known=self._tree.folders)
        await self._mend_watch()

    async def _take_in(self, folders: list[bytes], known: Container[bytes] = ()) -> None:
        if not folders:
            return
        walk = self._walk(folders, rules=self._tree.rules, known=known)
        await self._taker.walk(walk, self._origin, Tally())
        for folder in folders:
            self._tree.folders.pop(folder, None)
        self._learn(walk.folders)

    def _learn(self, folders: Mapping[bytes, Stamp]) -> None:
        self._tree.folders.update(folders)
        if any(stamp.mtime_ns == 0 for stamp in folders.values()):
            self._inbox.is_active = True  # its time tells nothing yet: it has to be looked into once more

    def _walk(
        self, starts: list[bytes], *, rules: Rules, known: Container[bytes] = (), folders_only: bool = False
    ) -> Walk:
        skip = (self._tree.others, known)
        return Walk(starts, rules=rules, now=self._clock.now(), skip=skip, folders_only=folders_only)

    def _check_again(self, after_s: float) -> None:
        """When that is about a minute, at a beat."""
        self._check_at = self._clock.monotonic() + (self._clock.idle_s() if after_s == BEAT_S else after_s)

    async def _mend_watch(self) -> None:
        """Open the watch anew when it leaves out a folder; what even a new one leaves out is polled."""
        if self._watch is None or not await self._missed() - self._unwatched:
            return
        start = self._clock.monotonic()
        if start >= self._reopen_at:
            self._open()
            self._reopen_at = start + max(REOPEN_S, REOPEN_COST * (self._clock.monotonic() - start))
            self._unwatched = await self._missed()
        self._inbox.is_active = True
        self._check_again(self._rhythm.again_s)

    async def _missed(self) -> set[bytes]:
        return await asyncio.to_thread(self._watch.missed, dict(self._tree.folders)) if self._watch else set()

    def _open(self) -> None:
        former, self._watch, self._refusal = self._watch, None, None
        self._retry_at = self._clock.monotonic() + self._rhythm.look_s
        try:
            self._watch = self._open_watch(
                self._tree, recursive=self._is_recursive, told=self._inbox.tell, died=self._note_death
            )
        except WatchRefused as refusal:
            self._refusal = str(refusal)
            self._log.warning("not watched", reason=self._refusal)
        if former:
            former.close()  # only now, so that there is no moment without a watch

    def _close(self) -> None:
        if self._watch:
            self._watch.close()
            self._watch = None

    def _note_death(self, sentence: str) -> None:
        self._obituary = sentence
        self._inbox.called.ring()

    def _after_death(self, sentence: str) -> None:
        self._close()
        now = self._clock.monotonic()
        if now - self._died_at < DEATHS_APART_S:
            self._refusal = sentence
            self._retry_at = now + self._rhythm.look_s
        else:
            self._open()
        self._died_at = now
        self._look_at = now
        self._log.warning("watch died", reason=sentence)

    @property
    def _is_polling(self) -> bool:
        return self._watch is None or bool(self._unwatched)

    def _report(self) -> None:
        every = f"every {self._rhythm.poll_s:g} s"
        if self._refusal:
            self._say("polling", f"{self._refusal}; it is looked at {every} instead")
        elif self._unwatched:
            missing, all_told = len(self._unwatched), len(self._tree.folders)
            remedy = allow_more_watches(missing)
            self._say(
                "polling", f"{missing} of {all_told} folders cannot be watched and are looked at {every}; {remedy}"
            )
        else:
            self._say("watching", self._unreadable)


def is_here(folder: Folder) -> bool:
    """Whether the very folder that is watched is still at its path, and can be read."""
    try:
        status = os.stat(folder.path)  # noqa: PTH116 - pathlib takes no bytes
    except OSError:
        return False
    is_same = stat.S_ISDIR(status.st_mode) and (status.st_dev, status.st_ino) == (folder.device, folder.inode)
    return is_same and os.access(folder.path, os.R_OK | os.X_OK)
