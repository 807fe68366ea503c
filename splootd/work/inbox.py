"""What a watch tells of, until it has come to rest: names are sifted, files settle, new folders are noted."""

import asyncio
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from splootd.bus import Bell
from splootd.clock import Clock
from splootd.core.settle import Settler
from splootd.store.arrivals import Origin
from splootd.work.ignore import RULES_FILE, is_ignored_name
from splootd.work.walk import Found, Tally, Tree, Walk, version_of

CHANGES_MAX = 20_000  # paths told of and not looked at yet; beyond that the whole folder is to be looked at
FRESH_MAX = 1_000  # new folders not looked into yet; beyond that likewise
FLOOD = 1_000  # so many paths at once may be what was left when the kernel's queue ran over


class Taker(Protocol):
    """Takes in the files that are found."""

    async def walk(self, walk: Walk, origin: Origin, tally: Tally) -> None: ...

    async def offer(self, found: Sequence[Found], origin: Origin) -> Tally: ...


@dataclass(slots=True)
class _Sifted:
    files: list[Found] = field(default_factory=list)
    folders: list[bytes] = field(default_factory=list)
    vanished: list[bytes] = field(default_factory=list)
    has_new_rules: bool = False


class Inbox:
    """Collects the paths that a watch of `tree` tells of; `called` rings when there is something to look at.

    `fresh` are folders that have not been looked into; `wants_look` says that only a full look will do, `wants_check`
    that something may have been lost, and `is_active` that anything was told since it was last cleared.
    """

    def __init__(self, tree: Tree, taker: Taker, origin: Origin, clock: Clock, *, settle_s: float) -> None:
        self.called = Bell()
        self.fresh: set[bytes] = set()
        self.wants_look = False
        self.wants_check = False
        self.is_active = False
        self._tree = tree
        self._taker = taker
        self._origin = origin
        self._clock = clock
        self._settler = Settler(settle_s)
        self._told: set[bytes] = set()
        self._bell = Bell()

    def tell(self, paths: set[bytes]) -> None:
        """Something happened at these paths."""
        self.is_active = True
        if len(paths) >= FLOOD or self._tree.root in paths:  # the folder itself may have gone
            self.wants_check = True
            self.called.ring()
        if len(self._told) + len(paths) > CHANGES_MAX:
            self._call_for_look()
        else:
            self._told |= paths
            self._bell.ring()

    async def run(self) -> None:
        """Sift what was told, and offer what has settled, until cancelled."""
        while True:
            ticket = self._bell.ticket()
            told, self._told = self._told, set()
            if told:
                self._note(await asyncio.to_thread(_sift, told, self._tree))
            await self._offer_settled()
            due = self._settler.next_due()
            await self._bell.wait(ticket, None if due is None else max(0.0, due - self._clock.monotonic()))

    def _note(self, sifted: _Sifted) -> None:
        for path in sifted.vanished:
            self._settler.forget(path)
            self._tree.folders.pop(path, None)
        for found in sifted.files:
            self._settle(found)
        self.fresh.update(sifted.folders)
        if sifted.has_new_rules or len(self.fresh) > FRESH_MAX:
            self._call_for_look()
        if sifted.folders:
            self.called.ring()

    def _settle(self, found: Found) -> None:
        age_s = self._clock.now() - found.version.mtime_ns / 1_000_000_000
        if not self._settler.saw(found.path, found.version, now=self._clock.monotonic(), age_s=age_s):
            self._call_for_look()

    def _call_for_look(self) -> None:
        self.wants_look = True
        self.called.ring()

    async def _offer_settled(self) -> None:
        due = self._settler.due(self._clock.monotonic())
        if not due:
            return
        ready = []
        for found, path in zip(await asyncio.to_thread(_look, due), due, strict=True):
            if found is None:
                self._settler.forget(path)
            elif found.version == self._settler.version(path):
                ready.append(found)
            else:
                self._settle(found)
        await self._taker.offer(ready, self._origin)
        for found in ready:
            self._settler.forget(found.path)


def _look(paths: Iterable[bytes]) -> list[Found | None]:
    found: list[Found | None] = []
    for path in paths:
        try:
            status = os.lstat(path)
        except OSError:
            found.append(None)
        else:
            found.append(Found(path, version_of(status)) if stat.S_ISREG(status.st_mode) else None)
    return found


def _sift(told: Iterable[bytes], tree: Tree) -> _Sifted:
    """What lies at these paths now. What a walk would not see, below a link or an ignored folder, is left out."""
    sifted = _Sifted()
    for path in told:
        folder, _, name = path.rpartition(b"/")
        if (folder or b"/") not in tree.folders or path in tree.others:
            continue
        if name == RULES_FILE:
            sifted.has_new_rules = True
        if is_ignored_name(name):
            continue
        try:
            status = os.lstat(path)
        except OSError:
            sifted.vanished.append(path)
            continue
        is_folder = stat.S_ISDIR(status.st_mode)
        if tree.rules.ignores(path, is_folder=is_folder):
            continue
        if is_folder:
            known = tree.folders.get(path)
            if known is None or known.inode != status.st_ino:
                sifted.folders.append(path)
        elif stat.S_ISREG(status.st_mode):
            sifted.files.append(Found(path, version_of(status)))
    return sifted
