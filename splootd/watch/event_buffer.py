"""Buffer the paths that a watch reports until they settle.

A path is all that is taken from an event. Its kind (created, modified, moved) is not: events arrive late, out of order
and merged, so `_classify` calls lstat for the current state. An editor that writes a temporary file and renames it over
the original, and a browser that renames `x.png.part` to `x.png`, then look the same as a plain write.
"""

import asyncio
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field

from splootd.clock import Clock
from splootd.core.item import FoundFile
from splootd.core.settle import Settler
from splootd.event_bus import WakeSignal
from splootd.store.upsert import Source
from splootd.watch.ignore import RULES_FILE, is_ignored_name
from splootd.watch.importer import Importer
from splootd.watch.walker import Tree, version_from_stat

CHANGED_PATHS_MAX = 20_000  # reported and not yet classified; more than that cause a full scan
NEW_FOLDERS_MAX = 1_000  # not yet scanned; more than that cause a full scan

# watchfiles drops IN_Q_OVERFLOW, so a lost event leaves no trace. A batch this large suggests that the kernel's queue
# (fs.inotify.max_queued_events, 16,384 by default) overflowed and that more changed than was reported.
OVERFLOW_PATHS = 1_000


@dataclass(slots=True)
class _Classified:
    files: list[FoundFile] = field(default_factory=list)
    folders: list[bytes] = field(default_factory=list)
    removed: list[bytes] = field(default_factory=list)
    has_new_rules: bool = False


class EventBuffer:
    """Collects the paths reported by the watch of `tree`, and notifies `scan_signal` when a scan is needed.

    `new_folders` have not been scanned yet. `needs_full_scan` requests a full scan, `needs_quick_scan` a check for
    lost events. `has_activity` is set by every report; the reader clears it.
    """

    def __init__(self, tree: Tree, importer: Importer, source: Source, clock: Clock, *, settle_s: float) -> None:
        self.scan_signal = WakeSignal()
        self.new_folders: set[bytes] = set()
        self.needs_full_scan = False
        self.needs_quick_scan = False
        self.has_activity = False
        self._tree = tree
        self._importer = importer
        self._source = source
        self._clock = clock
        self._settler = Settler(settle_s)
        self._changed_paths: set[bytes] = set()
        self._paths_signal = WakeSignal()

    def add_paths(self, paths: set[bytes]) -> None:
        """Record that something happened at these paths."""
        self.has_activity = True
        if len(paths) >= OVERFLOW_PATHS or self._tree.root in paths:  # the root may be deleted or renamed
            self.needs_quick_scan = True
            self.scan_signal.notify()
        if len(self._changed_paths) + len(paths) > CHANGED_PATHS_MAX:
            self._request_full_scan()
        else:
            self._changed_paths |= paths
            self._paths_signal.notify()

    async def run(self) -> None:
        """Classify reported paths and enqueue settled files until cancelled."""
        while True:
            snapshot = self._paths_signal.snapshot()
            paths, self._changed_paths = self._changed_paths, set()
            if paths:
                self._apply(await asyncio.to_thread(_classify, paths, self._tree))
            await self._enqueue_settled()
            due = self._settler.next_due()
            await self._paths_signal.wait(snapshot, None if due is None else max(0.0, due - self._clock.monotonic()))

    def _apply(self, classified: _Classified) -> None:
        for path in classified.removed:
            self._settler.forget(path)
            self._tree.folders.pop(path, None)
        for file in classified.files:
            self._settle(file)
        self.new_folders.update(classified.folders)
        if classified.has_new_rules or len(self.new_folders) > NEW_FOLDERS_MAX:
            self._request_full_scan()
        if classified.folders:
            self.scan_signal.notify()

    def _settle(self, file: FoundFile) -> None:
        age_s = self._clock.now() - file.version.mtime_ns / 1_000_000_000
        if not self._settler.observe(file.path, file.version, now=self._clock.monotonic(), age_s=age_s):
            self._request_full_scan()

    def _request_full_scan(self) -> None:
        self.needs_full_scan = True
        self.scan_signal.notify()

    async def _enqueue_settled(self) -> None:
        due = self._settler.due(self._clock.monotonic())
        if not due:
            return
        ready = []
        # No event reliably marks the end of a write: writes through mmap or by an SMB client produce none (inotify(7)).
        # So a file counts as complete only if lstat still returns the version that started its settle time.
        for file, path in zip(await asyncio.to_thread(_stat_files, due), due, strict=True):
            if file is None:
                self._settler.forget(path)
            elif file.version == self._settler.version(path):
                ready.append(file)
            else:
                self._settle(file)
        await self._importer.enqueue(ready, self._source)
        for file in ready:
            self._settler.forget(file.path)


def _stat_files(paths: Iterable[bytes]) -> list[FoundFile | None]:
    files: list[FoundFile | None] = []
    for path in paths:
        try:
            status = os.lstat(path)
        except OSError:
            files.append(None)
        else:
            files.append(FoundFile(path, version_from_stat(status)) if stat.S_ISREG(status.st_mode) else None)
    return files


def _classify(paths: Iterable[bytes], tree: Tree) -> _Classified:
    """Classify what is at these paths now. Leave out what a scan does not reach: below a symlink or ignored folder."""
    classified = _Classified()
    for path in paths:
        folder, _, name = path.rpartition(b"/")
        if (folder or b"/") not in tree.folders or path in tree.nested_folders:
            continue
        if name == RULES_FILE:
            classified.has_new_rules = True
        if is_ignored_name(name):
            continue
        try:
            status = os.lstat(path)
        except OSError:
            classified.removed.append(path)
            continue
        is_folder = stat.S_ISDIR(status.st_mode)
        if tree.rules.ignores(path, is_folder=is_folder):
            continue
        if is_folder:
            known = tree.folders.get(path)
            # A known path with another identity is another folder, moved or mounted there. No event names its files.
            if known is None or known.identity != (status.st_dev, status.st_ino):
                classified.folders.append(path)
        elif stat.S_ISREG(status.st_mode):
            classified.files.append(FoundFile(path, version_from_stat(status)))
    return classified
