"""Scan one present folder, and repair what its watch loses.

Events are hints; the disk decides. inotify loses events silently in at least four ways:

- its queue overflows (IN_Q_OVERFLOW, which watchfiles does not report);
- files are created in a new folder before a watch is added to it;
- `max_user_watches` is reached, and the folders beyond it are not watched;
- a folder is renamed: watches follow the inode, so events continue under the old path, or get lost.

A full scan at the start and every `full_scan_interval_s` finds everything. A quick scan in between compares the
modification times of the folders, one lstat each, and reads only the folders in which a name was added or removed.
Folders without events are also listed from time to time, because not every file system keeps these times.
"""

import asyncio
import itertools
import os
from collections.abc import Callable, Collection, Container, Mapping
from dataclasses import dataclass
from typing import Protocol

from splootd.clock import IDLE_WAKE_S, Clock
from splootd.logs import get_logger
from splootd.store.folders import Folder, FolderStore
from splootd.store.upsert import Source
from splootd.text import display_path
from splootd.watch.event_buffer import EventBuffer
from splootd.watch.ignore import IgnoreRules
from splootd.watch.importer import Importer
from splootd.watch.inotify_info import is_watch_limit_reached, watch_limit_hint
from splootd.watch.mounts import is_network_filesystem
from splootd.watch.walker import FolderStamp, ReadError, ScanCounts, Tree, Walker, find_changed_folders

WATCH_FAILURE_WINDOW_S = 60.0  # a watch that fails twice within this time stays closed until the next full scan
REOPEN_INTERVAL_MIN_S = 1.0
REOPEN_TIME_DIVISOR = 20  # opening watches and the scan after it may take 1/20 of the time
LISTING_TIME_DIVISOR = 50  # listing folders without events may take 1/50 of the time
UNREADABLE_SHOWN_MAX = 3
UNBOUNDED = 1 << 62


@dataclass(frozen=True, slots=True)
class ScanSchedule:
    """Intervals of scans, in seconds."""

    settle_s: float = 2.0
    full_scan_interval_s: float = 3600.0
    quick_scan_interval_s: float = 60.0  # compares the root's inode and, after activity, the folders' times
    poll_interval_s: float = 20.0  # quick scans while not all folders are watched
    rescan_delay_s: float = 1.0  # from a scan to the one that finds what changed during it
    retry_interval_s: float = 10.0  # checks for a missing folder


class WatchUnavailable(Exception):
    """The system cannot watch this folder; the message names the cause and the fix."""


class Watch(Protocol):
    """An open watch of a folder tree."""

    def find_unwatched(self, folders: Mapping[bytes, FolderStamp]) -> set[bytes]:
        """Return those of the folders that it does not watch. Blocks."""

    def close(self) -> None:
        """Stop reporting changes, and let the system release the watch. Blocks."""


class OpenWatch(Protocol):
    """Opens a watch, or raises WatchUnavailable.

    The watch calls `on_change` with changed paths, and `on_failure` with an error message when it fails.
    """

    def __call__(
        self, tree: Tree, *, recursive: bool, on_change: Callable[[set[bytes]], None], on_failure: Callable[[str], None]
    ) -> Watch: ...


class FolderScanner:
    """Scans and watches one folder while its path refers to the same inode. `set_state` receives state and detail."""

    def __init__(
        self,
        folder: Folder,
        nested_folders: frozenset[bytes],
        *,
        folder_store: FolderStore,
        importer: Importer,
        clock: Clock,
        schedule: ScanSchedule,
        open_watch: OpenWatch,
        set_state: Callable[[str, str | None], None],
    ) -> None:
        self._folder = folder
        self._folder_store = folder_store
        self._importer = importer
        self._clock = clock
        self._schedule = schedule
        self._open_watch = open_watch
        self._set_state = set_state
        self._log = get_logger("watcher", folder=folder.path)
        self._source = Source(
            None, folder.id, folder.priority, folder.tags, force=False, after_upload=folder.after_upload
        )
        self._tree = Tree(folder.path, nested_folders, {}, IgnoreRules(folder.path))
        self._buffer = EventBuffer(self._tree, importer, self._source, clock, settle_s=schedule.settle_s)
        self._watch: Watch | None = None
        self._has_folder_symlinks = False
        self._watch_error: str | None = None  # why `_watch` is None
        self._failure: str | None = None  # from `on_failure`, not handled yet
        self._unwatched: set[bytes] = set()  # not watched by a newly opened watch either
        self._unwatched_reason = ""
        self._unreadable: dict[bytes, ReadError] = {}  # by the folder to scan again
        self._listing_interval_s = schedule.poll_interval_s
        self._listing_at = 0.0
        self._failed_at = float("-inf")
        self._full_scan_done_at = float("-inf")
        self._full_scan_at = self._quick_scan_at = self._reopen_at = self._retry_at = 0.0

    def request_full_scan(self) -> None:
        """Scan the whole folder soon, unless it was replaced: something was mounted or unmounted there."""
        self._buffer.needs_full_scan = True
        self._buffer.scan_signal.notify()

    def request_rescan(self) -> None:
        """Check soon whether the folder was replaced, and run a quick scan."""
        self._buffer.has_activity = self._buffer.needs_quick_scan = True
        self._buffer.scan_signal.notify()

    async def run(self) -> None:
        """Scan and watch until the folder is missing or replaced by another one."""
        # Watch first, scan afterwards: a file created between a scan and the watch would be found by neither.
        initial_scan = self._create_walker([self._tree.root], rules=self._tree.rules, folders_only=True)
        await asyncio.to_thread(initial_scan.next_files, UNBOUNDED, float("inf"))
        self._record_folders(initial_scan)
        await self._reopen_watch()
        try:
            async with asyncio.TaskGroup() as group:
                buffer_task = group.create_task(self._buffer.run())
                await self._scan_loop()
                buffer_task.cancel()
        finally:
            await self._close_watch()

    async def _scan_loop(self) -> None:
        await self._full_scan()
        while True:
            snapshot = self._buffer.scan_signal.snapshot()
            await self._read_buffer()
            if self._clock.monotonic() >= min(self._full_scan_at, self._quick_scan_at):
                if not await asyncio.to_thread(is_same_folder, self._folder):
                    return
                if self._clock.monotonic() >= self._full_scan_at:
                    await self._full_scan()
            if self._buffer.new_folders:
                await self._scan_new_folders()
            if self._clock.monotonic() >= self._quick_scan_at:
                await self._quick_scan()
            self._report_state()
            left_s = min(self._full_scan_at, self._quick_scan_at) - self._clock.monotonic()
            await self._buffer.scan_signal.wait(snapshot, max(0.0, left_s))

    async def _read_buffer(self) -> None:
        now, rescan_delay_s = self._clock.monotonic(), self._schedule.rescan_delay_s
        if self._failure:
            await self._handle_watch_failure(self._failure)
        if self._buffer.needs_full_scan:
            self._full_scan_at = min(self._full_scan_at, max(now, self._full_scan_done_at + rescan_delay_s))
            self._buffer.needs_full_scan = False
        if self._buffer.needs_quick_scan:
            self._quick_scan_at = min(self._quick_scan_at, now + rescan_delay_s)
            self._buffer.needs_quick_scan = False

    async def _full_scan(self) -> None:
        """Scan everything; ignore what earlier scans recorded."""
        walker, counts = self._create_walker([self._tree.root], rules=IgnoreRules(self._tree.root)), ScanCounts()
        if self._watch_error and self._clock.monotonic() >= self._retry_at:
            await self._reopen_watch()
        await self._importer.enqueue_walk(walker, self._source, counts)
        self._tree.folders, self._tree.rules, self._unreadable = {}, walker.rules, {}
        self._has_folder_symlinks = False
        self._record_folders(walker)
        self._unwatched.clear()
        await self._folder_store.mark_scanned(self._folder.id, now=self._clock.now())
        self._full_scan_done_at = self._clock.monotonic()
        self._full_scan_at = self._full_scan_done_at + self._schedule.full_scan_interval_s
        self._schedule_quick_scan(self._schedule.quick_scan_interval_s)
        await self._repair_watch()
        self._log.debug("scan finished", **counts.by_outcome)
        self._report_state()

    async def _scan_new_folders(self) -> None:
        """Scan new folders now, and once more soon for files created before the kernel watched them."""
        new_folders = sorted(self._buffer.new_folders)
        self._buffer.new_folders.clear()
        await self._scan_folders(new_folders)
        self._buffer.has_activity = True
        self._quick_scan_at = min(self._quick_scan_at, self._clock.monotonic() + self._schedule.rescan_delay_s)

    async def _quick_scan(self) -> None:
        """Scan folders whose modification time changed, if there was activity or events are not available.

        Scan unreadable folders again, and from time to time those without events: not every file system changes the
        time of a folder when a file appears in it.
        """
        self._schedule_quick_scan(
            self._schedule.poll_interval_s if self._is_polling else self._schedule.quick_scan_interval_s
        )
        await self._scan_folders(list(self._unreadable), known=self._tree.folders)
        if not (self._buffer.has_activity or self._is_polling):
            return
        self._buffer.has_activity = False
        start = self._clock.monotonic()
        if self._is_polling and start >= self._listing_at:
            await self._scan_folders(list(self._unwatched or self._tree.folders), known=self._tree.folders)
            now = self._clock.monotonic()
            self._listing_interval_s = max(self._schedule.poll_interval_s, LISTING_TIME_DIVISOR * (now - start))
            self._listing_at = start + self._listing_interval_s
        changed_folders, missing_folders = await asyncio.to_thread(
            find_changed_folders, dict(self._tree.folders), self._tree.root
        )
        for folder in missing_folders:
            self._tree.folders.pop(folder, None)
        await self._scan_folders(changed_folders, known=self._tree.folders)
        await self._repair_watch()

    async def _scan_folders(self, folders: list[bytes], known: Container[bytes] = ()) -> None:
        if not folders:
            return
        walker = self._create_walker(folders, rules=self._tree.rules, known=known)
        await self._importer.enqueue_walk(walker, self._source, ScanCounts())
        for folder in folders:
            self._tree.folders.pop(folder, None)
            self._unreadable.pop(folder, None)
        self._record_folders(walker)

    def _record_folders(self, walker: Walker) -> None:
        self._tree.folders.update(walker.folders)
        for folder in walker.folders:
            self._unreadable.pop(folder, None)
        self._unreadable.update(walker.errors)
        self._has_folder_symlinks = self._has_folder_symlinks or walker.has_folder_symlinks
        if any(stamp.mtime_ns == 0 for stamp in walker.folders.values()):
            self._buffer.has_activity = True  # racy time (see stamp_from_stat): scan it once more

    def _create_walker(
        self, roots: list[bytes], *, rules: IgnoreRules, known: Container[bytes] = (), folders_only: bool = False
    ) -> Walker:
        skip = (self._tree.nested_folders, known)
        return Walker(roots, rules=rules, now=self._clock.now(), skip=skip, folders_only=folders_only)

    def _schedule_quick_scan(self, delay_s: float) -> None:
        """Schedule the next quick scan; align the usual interval with the daemon's other idle wake-ups."""
        self._quick_scan_at = self._clock.monotonic() + (
            self._clock.next_idle_wake_s() if delay_s == IDLE_WAKE_S else delay_s
        )

    async def _repair_watch(self) -> None:
        """Reopen the watch if it misses a folder; poll the folders that a new watch misses too."""
        if self._watch is None or not await self._find_unwatched() - self._unwatched:
            return
        start = self._clock.monotonic()
        if start >= self._reopen_at:
            await self._reopen_watch()
            self._unwatched = await self._find_unwatched()
            if self._unwatched:
                self._unwatched_reason = await asyncio.to_thread(explain_unwatched, self._unwatched)
            await self._scan_folders([self._tree.root])  # for what happened between the two watches
            self._reopen_at = start + max(
                REOPEN_INTERVAL_MIN_S, REOPEN_TIME_DIVISOR * (self._clock.monotonic() - start)
            )
        self._buffer.has_activity = True
        self._schedule_quick_scan(self._schedule.rescan_delay_s)

    async def _find_unwatched(self) -> set[bytes]:
        return await asyncio.to_thread(self._watch.find_unwatched, dict(self._tree.folders)) if self._watch else set()

    async def _reopen_watch(self) -> None:
        await self._close_watch()  # first: two open watches would share what `max_user_watches` allows
        self._watch_error = None
        self._retry_at = self._clock.monotonic() + self._schedule.full_scan_interval_s
        try:
            self._watch = self._open_watch(
                self._tree,
                recursive=self._can_watch_recursively,
                on_change=self._buffer.add_paths,
                on_failure=self._on_watch_failure,
            )
        except WatchUnavailable as error:
            self._watch_error = str(error)
            self._log.warning("watch unavailable", error=self._watch_error)

    async def _close_watch(self) -> None:
        watch, self._watch = self._watch, None
        if watch:
            await asyncio.to_thread(watch.close)
        self._failure = None

    def _on_watch_failure(self, message: str) -> None:
        self._failure = message
        self._buffer.scan_signal.notify()

    async def _handle_watch_failure(self, message: str) -> None:
        await self._close_watch()
        now = self._clock.monotonic()
        if now - self._failed_at < WATCH_FAILURE_WINDOW_S:
            self._watch_error = message
            self._retry_at = now + self._schedule.full_scan_interval_s
        else:
            await self._reopen_watch()
        self._failed_at = now
        self._full_scan_at = now
        self._log.warning("watch failed", error=message)

    @property
    def _can_watch_recursively(self) -> bool:
        """Whether one recursive watch will do.

        It follows symlinks: one link to / would watch the whole disk. And it ends at the first unreadable folder.
        """
        return not (self._has_folder_symlinks or self._unreadable)

    @property
    def _is_polling(self) -> bool:
        return self._watch is None or bool(self._unwatched)

    def _report_state(self) -> None:
        interval = f"every {round(self._listing_interval_s, 1):g} s"
        if self._watch_error:
            self._set_state("polling", f"{self._watch_error}; scanned {interval} instead")
        elif self._unwatched:
            unwatched_count, total = len(self._unwatched), len(self._tree.folders)
            self._set_state(
                "polling",
                f"{unwatched_count} of {total} folders cannot be watched and are scanned {interval};"
                f" {self._unwatched_reason}",
            )
        else:
            self._set_state("watching", describe_unreadable(self._unreadable))


def explain_unwatched(folders: Collection[bytes]) -> str:
    """Return why these folders are not watched, and the remedy if there is one. Blocks."""
    example = min(folders)
    if is_watch_limit_reached(example):
        return watch_limit_hint(len(folders))
    if is_network_filesystem(example):
        return f"{display_path(example)} is on a network file system, which does not report changes"
    return f"{display_path(example)} is one of them"


def describe_unreadable(errors: Mapping[bytes, ReadError]) -> str | None:
    """Return a message about the first few read errors; None without any."""
    messages = [
        f"cannot read {display_path(error.path)}: {error.reason}"
        for error in itertools.islice(errors.values(), UNREADABLE_SHOWN_MAX)
    ]
    if len(errors) > UNREADABLE_SHOWN_MAX:
        messages.append(f"and {len(errors) - UNREADABLE_SHOWN_MAX} more")
    return "; ".join(messages) or None


def is_same_folder(folder: Folder) -> bool:
    """Return whether the path still refers to the watched folder's inode and is readable."""
    try:
        with os.scandir(folder.path):
            status = os.stat(folder.path)  # noqa: PTH116 - pathlib takes no bytes
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == (folder.device, folder.inode)
