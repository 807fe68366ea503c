"""Monitor one watched folder, present or missing.

A missing folder is not an empty one: an unmounted disk must not mark thousands of queued files as missing. So while the
folder is missing nothing is scanned, and when it returns it is scanned in full.
"""

import asyncio
import os
from collections.abc import Callable

from splootd.clock import Clock
from splootd.errors import SplootError
from splootd.logs import get_logger
from splootd.store.folders import Folder, FolderStore
from splootd.text import display_path
from splootd.watch.folder_problem import find_problem
from splootd.watch.folder_scanner import FolderScanner, OpenWatch, ScanSchedule
from splootd.watch.importer import Importer


class FolderMonitor:
    """Runs a scanner on one folder while the folder is present. `sploot folders` shows `state` and `detail`.

    `nested_folders` are watched folders inside this one; they have monitors of their own. `on_state_change` is called
    when the state may have changed or a scan has finished.
    """

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
        on_state_change: Callable[[], None],
    ) -> None:
        self.folder = folder
        self.nested_folders = nested_folders
        self.state = "scanning"
        self.detail: str | None = None
        self._folder_store = folder_store
        self._importer = importer
        self._clock = clock
        self._schedule = schedule
        self._open_watch = open_watch
        self._on_state_change = on_state_change
        self._scanner: FolderScanner | None = None  # None while the folder is missing
        self._log = get_logger("watcher", folder=folder.path)

    def request_rescan(self) -> None:
        """Check the folder soon for changes that no event reported, unless it is missing."""
        if self._scanner is not None:
            self._scanner.request_rescan()

    def request_full_scan(self) -> None:
        """Scan the whole folder soon, unless it is missing."""
        if self._scanner is not None:
            self._scanner.request_full_scan()

    async def run(self) -> None:
        """Monitor the folder until cancelled; restart after errors."""
        while True:
            try:
                if await self._check_presence():
                    await self._run_scanner()
                else:
                    await asyncio.sleep(self._schedule.retry_interval_s)
            except* (SplootError, OSError) as errors:
                error = errors.exceptions[0]
                self._set_state(
                    self.state, f"watching failed ({error}); retries every {self._schedule.retry_interval_s:g} s"
                )
                self._log.warning("monitor failed", error=str(error))
                await asyncio.sleep(self._schedule.retry_interval_s)

    async def _run_scanner(self) -> None:
        self._set_state("scanning", None)
        self._scanner = FolderScanner(
            self.folder,
            self.nested_folders,
            folder_store=self._folder_store,
            importer=self._importer,
            clock=self._clock,
            schedule=self._schedule,
            open_watch=self._open_watch,
            set_state=self._set_state,
        )
        try:
            await self._scanner.run()
        finally:
            self._scanner = None

    async def _check_presence(self) -> bool:
        """Return whether the folder can be scanned; adopt a folder that replaced it."""
        path = self.folder.path
        try:
            status, is_empty = await asyncio.to_thread(_stat_folder, path)
        except OSError as error:
            problem = await asyncio.to_thread(find_problem, path, error)
            self._set_state(problem.state, problem.detail)
            return False
        # An unmounted disk leaves its empty mount point behind, which belongs to another file system. The device number
        # alone does not show that: many file systems get another one at each mount, with the same inode for the root.
        if is_empty and status.st_dev != self.folder.device and status.st_ino != self.folder.inode:
            self._set_state(
                "missing", f"{display_path(path)} is an empty mount point; mount its disk to continue watching"
            )
            return False
        if (status.st_dev, status.st_ino) != (self.folder.device, self.folder.inode):
            self._log.info("folder replaced", device=status.st_dev, inode=status.st_ino)
            self.folder = await self._folder_store.watch(
                path,
                device=status.st_dev,
                inode=status.st_ino,
                priority=self.folder.priority,
                tags=self.folder.tags,
                after_upload=self.folder.after_upload,
                now=self._clock.now(),
            )
        return True

    def _set_state(self, state: str, detail: str | None) -> None:
        self.state, self.detail = state, detail
        self._on_state_change()


def _stat_folder(path: bytes) -> tuple[os.stat_result, bool]:
    with os.scandir(path) as entries:
        is_empty = next(entries, None) is None
    return os.stat(path), is_empty  # noqa: PTH116 - pathlib takes no bytes
