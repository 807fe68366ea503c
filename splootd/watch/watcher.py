"""Run a monitor for each watched folder, and adapt watchfiles to `Watch`. Only this module imports watchfiles."""

import asyncio
import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from watchfiles._rust_notify import RustNotify  # not `awatch`: that does not report when the watch is established

from splootd.clock import Clock
from splootd.config import Config
from splootd.errors import SplootError
from splootd.event_bus import WakeSignal
from splootd.logs import get_logger
from splootd.store.folders import Folder, FolderStore
from splootd.store.imports import ImportStore
from splootd.watch.folder_monitor import FolderMonitor
from splootd.watch.folder_scanner import OpenWatch, ScanSchedule, Watch, WatchUnavailable
from splootd.watch.importer import Importer
from splootd.watch.inotify_info import inotify_fds, instance_limit_hint, watched_inodes
from splootd.watch.mounts import MountMonitor, find_network_folders, is_network_filesystem, parse_mounts, read_mountinfo
from splootd.watch.path_check import is_inside
from splootd.watch.walker import FolderStamp, Tree

POLL_INTERVAL_S = 0.25  # files settle for longer than that anyway
CLOSE_TIMEOUT_S = 2.0
CLOSE_POLL_S = 0.001
WATCHES_MAX = 32  # each uses a thread of watchfiles and one of the user's 128 inotify instances
RETRY_DELAY_S = 10.0


class _PollThread:
    """Polls all open watches on one thread, which ends after the last of them is closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: set[NotifyWatch] = set()
        self._thread: threading.Thread | None = None

    def add(self, watch: "NotifyWatch") -> None:
        with self._lock:
            self._watches.add(watch)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
                self._thread.start()

    def remove(self, watch: "NotifyWatch") -> None:
        with self._lock:
            self._watches.discard(watch)

    def _run(self) -> None:
        while True:
            time.sleep(POLL_INTERVAL_S)
            with self._lock:
                watches = list(self._watches)
                if not watches:
                    self._thread = None
                    return
            for watch in watches:
                watch.poll()


_poll_thread = _PollThread()


class _StopAfterTwoSteps:
    """Stops `RustNotify.watch` at its third step. It has no call that only polls.

    With changes it returns at the second step, when their number has not grown since the first.
    """

    def __init__(self) -> None:
        self._step = 0

    def is_set(self) -> bool:
        self._step += 1
        return self._step > 2


class NotifyWatch:
    """Watches a folder tree with watchfiles. Raises WatchUnavailable if it cannot be opened.

    Opening blocks the event loop even from a thread: watchfiles holds the GIL meanwhile, for about 15 us per folder.
    """

    def __init__(
        self, tree: Tree, *, recursive: bool, on_change: Callable[[set[bytes]], None], on_failure: Callable[[str], None]
    ) -> None:
        self._tree = tree
        self._on_change = on_change
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._is_closed = False
        self._is_recursive = recursive
        if is_network_filesystem(tree.root):
            raise WatchUnavailable("network file systems do not report changes")
        self._watched_folders = (
            {tree.root} if recursive else {folder for folder in tree.folders if _can_be_opened(folder)}
        )
        earlier_fds = inotify_fds()
        self._notify = _open_notify(sorted(self._watched_folders), recursive=recursive)
        # Only the event loop opens watches, so the new descriptor is that of this watch. There seems to be none if its
        # number was that of a watch which was just being closed.
        self._fd = next(iter(inotify_fds() - earlier_fds), None)
        # On some file systems, such as overlayfs, stat returns other inode numbers than the kernel's list. If the root
        # is not in the new list, which is empty only at `max_user_watches`, the list is of no use.
        inodes, root = self._watched_inodes(), tree.folders.get(tree.root)
        self._has_inodes = inodes is not None and (not inodes or (root is not None and root.inode in inodes))
        _poll_thread.add(self)

    def find_unwatched(self, folders: Mapping[bytes, FolderStamp]) -> set[bytes]:
        """Return those of the folders that are not watched, according to the kernel where it lists its watches."""
        unreported = find_network_folders(folders, self._tree.root, parse_mounts(read_mountinfo()))
        inodes = self._watched_inodes()
        if inodes is None or not self._has_inodes:
            return unreported if self._is_recursive else unreported | (set(folders) - self._watched_folders)
        # The roots of many file systems have the same inode number, so a disk mounted in the tree may seem watched.
        wanted = Counter(inode for _, inode in {stamp.identity for stamp in folders.values()})
        return unreported | {folder for folder, stamp in folders.items() if wanted[stamp.inode] > inodes[stamp.inode]}

    def close(self) -> None:
        """Stop reporting changes. Blocks until the kernel has removed the watches, about 20 us per folder."""
        self._is_closed = True
        _poll_thread.remove(self)
        self._notify.close()  # ends a thread of watchfiles, which removes the watches
        end = time.monotonic() + CLOSE_TIMEOUT_S
        while self._fd in inotify_fds() and time.monotonic() < end:
            time.sleep(CLOSE_POLL_S)

    def poll(self) -> None:
        """Report what changed since the last poll. Called by the poll thread, every POLL_INTERVAL_S."""
        try:
            events = self._notify.watch(0, 0, 0, _StopAfterTwoSteps())
        except RuntimeError as error:
            _poll_thread.remove(self)
            self._call_in_loop(self._on_failure, _failure_message(error))
            return
        if not isinstance(events, str):
            self._call_in_loop(self._on_change, {os.fsencode(path) for _, path in events})

    def _watched_inodes(self) -> Counter[int] | None:
        return None if self._fd is None else watched_inodes(self._fd)

    def _call_in_loop(self, function: Callable[..., None], argument: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._call_unless_closed, function, argument)

    def _call_unless_closed(self, function: Callable[..., None], argument: object) -> None:
        if not self._is_closed:
            function(argument)


def _open_notify(folders: list[bytes], *, recursive: bool) -> RustNotify:
    try:
        return RustNotify(
            [os.fsdecode(folder) for folder in folders],
            debug=False,
            force_polling=False,
            poll_delay_ms=0,
            recursive=recursive,
            # At `max_user_watches` this also keeps the watches added so far; `find_unwatched` reports the others.
            ignore_permission_denied=True,
        )
    except UnicodeEncodeError:
        raise WatchUnavailable("a folder whose name is not UTF-8 cannot be watched") from None
    except (OSError, RuntimeError) as error:
        if "Too many open files" in str(error):  # EMFILE at max_user_instances; watchfiles gives only the text
            raise WatchUnavailable(f"the limit of inotify instances is reached; {instance_limit_hint()}") from error
        raise WatchUnavailable(f"the system cannot watch it ({error})") from error


def _failure_message(error: RuntimeError) -> str:
    if "Unable to decode path" in str(error):  # watchfiles ends its whole watch at such a name
        return "it contains a file whose name is not UTF-8, so it cannot be watched"
    return str(error)


def _can_be_opened(folder: bytes) -> bool:
    """Return whether watchfiles accepts this folder among others: it fails at one that was deleted since the scan."""
    try:
        return Path(folder.decode()).is_dir()
    except UnicodeDecodeError:
        return False


class Watcher:
    """Runs one monitor per watched folder. `state_changed` is notified when a folder's state may have changed."""

    def __init__(
        self,
        import_store: ImportStore,
        folder_store: FolderStore,
        importer: Importer,
        clock: Clock,
        config: Config,
        *,
        schedule: ScanSchedule | None = None,
        open_watch: OpenWatch = NotifyWatch,
    ) -> None:
        self.state_changed = WakeSignal()
        self._import_store = import_store
        self._folder_store = folder_store
        self._importer = importer
        self._clock = clock
        self._schedule = schedule or ScanSchedule(
            settle_s=config.settle_s, full_scan_interval_s=config.rescan_interval_s
        )
        self._open_watch = open_watch
        self._monitors: dict[int, FolderMonitor] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._mount_monitor = MountMonitor(self._scan_changed_mounts)
        self._log = get_logger("watcher")

    def health(self, folder_id: int) -> tuple[str, str | None]:
        """Return state and detail of a folder: watching, polling, missing, unreadable or scanning."""
        monitor = self._monitors.get(folder_id)
        return (monitor.state, monitor.detail) if monitor else ("scanning", None)

    def unwatch(self, path: bytes) -> None:
        """Stop watching the folder at `path`, which is no longer in the store."""
        self._importer.folders_changed.notify()

    def request_rescan(self) -> None:
        """Check every folder soon for changes that no event reported."""
        for monitor in self._monitors.values():
            monitor.request_rescan()

    async def run(self) -> None:
        """Keep monitors in step with the list of watched folders until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._mount_monitor.run())
            group.create_task(self._run_monitors())

    async def _run_monitors(self) -> None:
        try:
            while True:
                snapshot = self._importer.folders_changed.snapshot()
                timeout_s = None
                try:
                    await self.run_once()
                except SplootError as error:
                    self._log.warning("cannot read watched folders, retrying", error=error.title)
                    timeout_s = RETRY_DELAY_S
                await self._importer.folders_changed.wait(snapshot, timeout_s)
        finally:
            await self._stop_monitors(list(self._tasks))

    def _scan_changed_mounts(self, mount_points: set[bytes]) -> None:
        for monitor in self._monitors.values():
            root = monitor.folder.path
            if any(is_inside(each, root) or is_inside(root, each) for each in mount_points):
                monitor.request_full_scan()

    async def run_once(self) -> None:
        """Start monitors of new folders; stop those of removed or changed ones."""
        folders = await self._folder_store.folders()
        paths = [folder.path for folder in folders]
        wanted = {
            folder.id: (folder, frozenset(path for path in paths if is_inside(path, folder.path)) - {folder.path})
            for folder in folders
        }
        await self._stop_monitors(
            [
                folder_id
                for folder_id, monitor in self._monitors.items()
                if folder_id not in wanted or not _has_same_settings(monitor, *wanted[folder_id])
            ]
        )
        # An import scans a new folder first, so that its files count for the import. The monitor's first full scan
        # finds what the import missed.
        scanning_folder_ids = {root.folder_id for root in await self._import_store.unfinished_roots()}
        for folder, nested_folders in wanted.values():
            if folder.id not in self._monitors and folder.id not in scanning_folder_ids:
                self._start_monitor(folder, nested_folders)
        self.state_changed.notify()

    def _start_monitor(self, folder: Folder, nested_folders: frozenset[bytes]) -> None:
        self._monitors[folder.id] = monitor = FolderMonitor(
            folder,
            nested_folders,
            folder_store=self._folder_store,
            importer=self._importer,
            clock=self._clock,
            schedule=self._schedule,
            open_watch=self._open_watch if len(self._monitors) < WATCHES_MAX else _reject_watch,
            on_state_change=self.state_changed.notify,
        )
        self._tasks[folder.id] = asyncio.create_task(monitor.run(), name=f"monitor {folder.id}")

    async def _stop_monitors(self, folder_ids: list[int]) -> None:
        tasks = [self._tasks.pop(folder_id) for folder_id in folder_ids]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for folder_id in folder_ids:
            del self._monitors[folder_id]


def _has_same_settings(monitor: FolderMonitor, folder: Folder, nested_folders: frozenset[bytes]) -> bool:
    current = monitor.folder
    wanted = (folder.priority, folder.tags, folder.after_upload, nested_folders)
    return (current.priority, current.tags, current.after_upload, monitor.nested_folders) == wanted


def _reject_watch(
    tree: Tree, *, recursive: bool, on_change: Callable[[set[bytes]], None], on_failure: Callable[[str], None]
) -> Watch:
    raise WatchUnavailable(f"the limit of {WATCHES_MAX} watched folders is reached")
