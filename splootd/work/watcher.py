"""Watches all folders that are to be watched. The only module that knows watchfiles."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from watchfiles._rust_notify import RustNotify  # its documented backend: `awatch` does not say when it has begun

from splootd.bus import Bell
from splootd.clock import Clock
from splootd.config import Config
from splootd.errors import SplootError
from splootd.logs import logger
from splootd.store.arrivals import Arrivals, Folder
from splootd.work.inbox import Taker
from splootd.work.kernel import allow_more_instances, inotify_handle, is_remote, watched_inodes
from splootd.work.lookout import Lookout
from splootd.work.patrol import OpenWatch, Rhythm, Watch, WatchRefused
from splootd.work.stirring import Sleeper, is_listening
from splootd.work.walk import Stamp, Tree

DEBOUNCE_MS = 50
STEP_MS = 10  # how often watchfiles looks whether the kernel said anything
QUIET_MS = 1_000  # after which nothing is going on
LAST_MS = 100  # for what had been told before the kernel was asked to wake us
QUIET_STEP_MS = 250  # where it cannot be asked; a file has to rest for longer than that anyway
WATCHES_MAX = 32  # each has a thread and an inotify instance, of which a user has 128
TROUBLE_PAUSE_S = 10.0


class NotifyWatch:
    """A watch by watchfiles, on a thread of its own. WatchRefused when it cannot be opened.

    watchfiles holds the interpreter's lock while it opens: about 15 us a folder.
    """

    def __init__(
        self, tree: Tree, *, recursive: bool, told: Callable[[set[bytes]], None], died: Callable[[str], None]
    ) -> None:
        self._tree = tree
        self._told = told
        self._died = died
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._is_recursive = recursive
        if is_remote(tree.root):
            raise WatchRefused("it lies on another machine, from where no changes are reported")
        self._named = {tree.root} if recursive else {folder for folder in tree.folders if _is_utf8(folder)}
        self._notify, self._first = _open(tree.root, sorted(self._named), recursive=recursive)
        self._may_sleep = is_listening()
        self._sleeper: Sleeper | None = None
        self.is_asleep = False  # until the kernel wakes it
        threading.Thread(target=self._listen, name="watch", daemon=True).start()

    def missed(self, folders: Mapping[bytes, Stamp]) -> set[bytes]:
        """Which of the folders are not watched, by the kernel's own word where it gives one."""
        inodes = watched_inodes()
        root = folders.get(self._tree.root)
        if inodes is None or root is None or root.inode not in inodes:
            return set() if self._is_recursive else set(folders) - self._named
        return {folder for folder, stamp in folders.items() if stamp.inode not in inodes}

    def close(self) -> None:
        """No more is told. The thread ends within a step."""
        self._stop.set()
        if self._sleeper:
            self._sleeper.wake()

    def _listen(self) -> None:
        with self._notify:
            try:
                while not self._stop.is_set():
                    if self._is_quiet(STEP_MS, QUIET_MS):
                        self._sleep()
            except RuntimeError as error:
                self._call(self._died, _cause_of_death(error))
        if self._sleeper:
            with contextlib.suppress(RuntimeError):  # the loop has ended; so does the program
                self._loop.call_soon_threadsafe(self._sleeper.close)

    def _sleep(self) -> None:
        """Until something happens, or it is to end."""
        self._sleeper = self._sleeper or self._find_sleeper()
        if self._sleeper is None:
            while not self._stop.is_set() and self._is_quiet(QUIET_STEP_MS, QUIET_MS):
                pass
            return
        self._sleeper.arm()
        try:
            if self._is_quiet(STEP_MS, LAST_MS):
                self.is_asleep = True
                self._sleeper.sleep()
        finally:
            self.is_asleep = False
            self._sleeper.disarm()

    def _find_sleeper(self) -> Sleeper | None:
        handle = inotify_handle(self._first) if self._may_sleep else None
        return None if handle is None else Sleeper(handle)

    def _is_quiet(self, step_ms: int, for_ms: int) -> bool:
        """Pass on what is heard; whether nothing was for so long. Looks every `step_ms`."""
        heard = self._notify.watch(DEBOUNCE_MS, step_ms, for_ms, self._stop)
        if not isinstance(heard, str):
            self._call(self._told, {os.fsencode(path) for _, path in heard})
        return heard == "timeout"

    def _call(self, function: Callable[..., None], argument: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits for news
            self._loop.call_soon_threadsafe(self._pass_on, function, argument)

    def _pass_on(self, function: Callable[..., None], argument: object) -> None:
        if not self._stop.is_set():
            function(argument)


def _open(root: bytes, folders: list[bytes], *, recursive: bool) -> tuple[RustNotify, int]:
    """A watch of the folders, and the inode of the root, which is the first of them."""
    try:
        first = Path(os.fsdecode(root)).stat().st_ino
        notify = RustNotify(
            [os.fsdecode(folder) for folder in folders],
            debug=False,
            force_polling=False,
            poll_delay_ms=0,
            recursive=recursive,
            # Also lets it watch as much as it can when the system allows no more; `missed` tells the rest.
            ignore_permission_denied=True,
        )
    except UnicodeEncodeError:
        raise WatchRefused("its name is not UTF-8, which cannot be watched") from None
    except (OSError, RuntimeError) as error:
        if "Too many open files" in str(error):
            raise WatchRefused(f"the system opens no more watches; {allow_more_instances()}") from error
        raise WatchRefused(f"the system does not watch it ({error})") from error
    return notify, first


def _cause_of_death(error: RuntimeError) -> str:
    if "Unable to decode path" in str(error):  # watchfiles' own words, and its end
        return "a file in it has a name that is not UTF-8, which cannot be watched"
    return str(error)


def _is_utf8(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True


class Intake(Taker, Protocol):
    """Takes in what is found; `folders` rings when another folder is to be watched."""

    folders: Bell


class Watcher:
    """Has a lookout at each watched folder. `news` rings when a state may have changed, or a look has ended."""

    def __init__(
        self,
        arrivals: Arrivals,
        intake: Intake,
        clock: Clock,
        config: Config,
        *,
        rhythm: Rhythm | None = None,
        open_watch: OpenWatch = NotifyWatch,
    ) -> None:
        self.news = Bell()
        self._arrivals = arrivals
        self._intake = intake
        self._clock = clock
        self._rhythm = rhythm or Rhythm(settle_s=config.settle_s, look_s=config.look_interval_s)
        self._open_watch = open_watch
        self._lookouts: dict[int, Lookout] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._log = logger("watcher")

    def health(self, folder_id: int) -> tuple[str, str | None]:
        """State and detail of a folder: watching, polling, missing, unreadable, scanning."""
        lookout = self._lookouts.get(folder_id)
        return (lookout.state, lookout.detail) if lookout else ("scanning", None)

    def unwatch(self, path: bytes) -> None:
        """The folder at `path` is no longer in the store: leave it."""
        self._intake.folders.ring()

    def look_again(self) -> None:
        """Perhaps something was missed: check every folder soon."""
        for lookout in self._lookouts.values():
            lookout.look_again()

    async def run(self) -> None:
        """Follow the list of watched folders until cancelled."""
        try:
            while True:
                ticket = self._intake.folders.ticket()
                timeout_s = None
                try:
                    await self.run_once()
                except SplootError as error:
                    self._log.warning("folders unknown", error=error.title)
                    timeout_s = TROUBLE_PAUSE_S
                await self._intake.folders.wait(ticket, timeout_s)
        finally:
            await self._leave(list(self._tasks))

    async def run_once(self) -> None:
        """Take up what is to be watched, and leave what is not any more."""
        folders = await self._arrivals.folders()
        paths = [folder.path for folder in folders]
        wanted = {
            folder.id: (folder, frozenset(path for path in paths if _is_below(path, folder.path))) for folder in folders
        }
        await self._leave(
            [
                folder_id
                for folder_id, lookout in self._lookouts.items()
                if folder_id not in wanted or not _is_as_wanted(lookout, *wanted[folder_id])
            ]
        )
        # What an add finds belongs to the add, so it walks a new folder first; what it misses, the first look sees.
        still_walked = {root.folder_id for root in await self._arrivals.roots_left()}
        for folder, others in wanted.values():
            if folder.id not in self._lookouts and folder.id not in still_walked:
                self._take_up(folder, others)
        self.news.ring()

    def _take_up(self, folder: Folder, others: frozenset[bytes]) -> None:
        self._lookouts[folder.id] = lookout = Lookout(
            folder,
            others,
            arrivals=self._arrivals,
            taker=self._intake,
            clock=self._clock,
            rhythm=self._rhythm,
            open_watch=self._open_watch if len(self._lookouts) < WATCHES_MAX else _refuse,
            news=self.news.ring,
        )
        self._tasks[folder.id] = asyncio.create_task(lookout.run(), name=f"lookout {folder.id}")

    async def _leave(self, folder_ids: list[int]) -> None:
        tasks = [self._tasks.pop(folder_id) for folder_id in folder_ids]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for folder_id in folder_ids:
            del self._lookouts[folder_id]


def _is_below(path: bytes, folder: bytes) -> bool:
    return path != folder and path.startswith(folder.rstrip(b"/") + b"/")


def _is_as_wanted(lookout: Lookout, folder: Folder, others: frozenset[bytes]) -> bool:
    has = lookout.folder
    wanted = (folder.priority, folder.tags, folder.after, others)
    return (has.priority, has.tags, has.after, lookout.others) == wanted


def _refuse(tree: Tree, *, recursive: bool, told: Callable[[set[bytes]], None], died: Callable[[str], None]) -> Watch:
    raise WatchRefused(f"{WATCHES_MAX} folders are watched already")
