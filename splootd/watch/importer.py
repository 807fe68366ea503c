"""Import files into the queue: from `sploot add`, from scans, and from the watcher after they settled."""

import asyncio
import contextlib
import itertools
import os
import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from splootd.clock import Clock
from splootd.core.item import FoundFile, Priority
from splootd.core.post_upload_action import PostUploadAction
from splootd.errors import SplootError
from splootd.event_bus import WakeSignal
from splootd.logs import get_logger
from splootd.protocol import Add, AddReply, PathOutcome
from splootd.store.folders import FolderStore
from splootd.store.imports import ImportRoot, ImportStore
from splootd.store.upsert import EnqueueResult, Source, UpsertResult
from splootd.watch.ignore import IgnoreRules
from splootd.watch.path_check import (
    PathArgument,
    check_path,
    find_moved_roots,
    get_files,
    get_folders,
    is_inside,
    map_to_roots,
)
from splootd.watch.scan_cache import ScanCache
from splootd.watch.walker import ScanCounts, Walker, is_probably_media, is_still_there

BATCH_MAX = 500  # files in one commit
BATCH_TIME_S = 0.05  # commit a partial batch after this time, so that a slow disk does not delay the first files
REPLY_TIMEOUT_S = 0.4  # `add` waits this long for its scans; then it replies with `scanning`
DRY_RUN_TIMEOUT_S = 30.0
CONCURRENT_SCANS_MAX = 4
RETRY_DELAY_S = 10.0


class Importer:
    """Turns files into queue items.

    `add` commits its paths to the store before it scans them, so after a crash the next daemon continues the scans.
    """

    def __init__(self, import_store: ImportStore, folder_store: FolderStore, clock: Clock, *, settle_s: float) -> None:
        self.folders_changed = WakeSignal()  # a watched folder was scanned for its import, and a monitor can start
        self._import_store = import_store
        self._folder_store = folder_store
        self._clock = clock
        self._settle_s = settle_s
        self._import_registered = WakeSignal()
        self._scan_finished = WakeSignal()
        # Without the lock a scan could start between the commit of its root and the creation of its counts: `add`
        # would then wait for counts that no scan updates.
        self._register_lock = asyncio.Lock()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._scan_counts: dict[int, ScanCounts] = {}  # by root id, until the reply to its `add`
        self._scan_cache = ScanCache()
        self._log = get_logger("importer")

    async def run(self) -> None:
        """Scan unfinished imports, of an earlier daemon and of `add`, at most CONCURRENT_SCANS_MAX at a time."""
        try:
            while True:
                snapshot = self._import_registered.snapshot()
                await self._start_imports()
                await self._import_registered.wait(snapshot, None)
        finally:
            tasks = list(self._running.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _start_imports(self) -> None:
        async with self._register_lock:
            remaining = await self._import_store.unfinished_roots()
        waiting = (root for root in remaining if root.id not in self._running)
        for root in itertools.islice(waiting, CONCURRENT_SCANS_MAX - len(self._running)):
            self._running[root.id] = asyncio.create_task(self._run_import(root))

    async def _run_import(self, root: ImportRoot) -> None:
        """Scan one root to its end; start over after a store error."""
        try:
            while True:
                try:
                    return await self._scan_root(root)
                except SplootError as error:
                    self._log.warning("import scan interrupted, retrying", path=root.path, error=error.title)
                    await asyncio.sleep(RETRY_DELAY_S)
        finally:
            del self._running[root.id]
            self._import_registered.notify()

    async def _scan_root(self, root: ImportRoot) -> None:
        counts = self._scan_counts.get(root.id) or ScanCounts()
        source = await self._import_store.get_source(root.import_id, root.folder_id)
        await self.enqueue_walk(
            Walker([root.path], rules=IgnoreRules(root.path), now=self._clock.now()), source, counts
        )
        await self._import_store.finish_root(root.id, now=self._clock.now())
        counts.is_done = True
        self._scan_finished.notify()
        if root.folder_id is not None:
            self.folders_changed.notify()
        self._log.info("import scan finished", path=root.path, import_id=root.import_id, **counts.by_outcome)

    async def enqueue_walk(self, walker: Walker, source: Source, counts: ScanCounts) -> None:
        """Enqueue the files that `walker` finds, one commit per batch."""
        cache_epoch, is_watched = await self._folder_store.cache_epoch(), source.folder_id is not None
        uses_cache = not source.reads_all_files
        if uses_cache:
            walker.lookup_fingerprint = self._scan_cache.lookup(cache_epoch=cache_epoch, is_watched=is_watched)
        dirty_folders: set[bytes] = set()
        while not walker.is_done:
            unchanged_before = walker.unchanged_files
            files = await asyncio.to_thread(walker.next_files, BATCH_MAX, BATCH_TIME_S)
            counts.by_outcome += Counter(known=walker.unchanged_files - unchanged_before)
            results = await self._enqueue_batch(self._with_settle_times(files), source)
            counts.by_outcome.update(each.outcome.value for each in results)
            dirty_folders.update(each.path.rpartition(b"/")[0] or b"/" for each in results if not each.is_up_to_date)
        if uses_cache:
            self._scan_cache.update(
                walker.fingerprints, dirty_folders=dirty_folders, cache_epoch=cache_epoch, is_watched=is_watched
            )
        counts.by_outcome += Counter(unreadable=walker.unreadable)
        counts.error_messages += walker.error_messages

    async def enqueue(self, files: Collection[FoundFile], source: Source) -> None:
        """Enqueue the images and videos among settled files of a watched folder."""
        media = await asyncio.to_thread(_filter_media, files)
        for start in range(0, len(media), BATCH_MAX):
            await self._enqueue_batch(media[start : start + BATCH_MAX], source)

    async def _enqueue_batch(self, files: Sequence[FoundFile], source: Source) -> list[EnqueueResult]:
        if not files:
            return []
        return await self._import_store.enqueue(files, source, is_still_there=is_still_there, now=self._clock.now())

    def _with_settle_times(self, files: Collection[FoundFile]) -> list[FoundFile]:
        """Delay each file that changed less than `settle_s` ago by the rest of that time."""
        # A modification time in the future gives a negative age: clamp it, or the file would wait until then.
        now, settle_s = self._clock.now(), self._settle_s
        ages_s = (max(0.0, now - each.version.mtime_ns / 1_000_000_000) for each in files)
        return [
            each._replace(settles_at=now + settle_s - age_s) if age_s < settle_s else each
            for each, age_s in zip(files, ages_s, strict=True)
        ]

    async def add(self, request: Add, key: str) -> AddReply:
        """Enqueue the paths of a request. A repeated request with the same `key` adds nothing.

        Return when all paths are committed to the store, the files among them are queued, and the folders are scanned
        or REPLY_TIMEOUT_S has passed. Raise RequestError if the request continues an import that does not exist.
        """
        settled_before = self._clock.now() - self._settle_s
        roots = [each.path for each in await self._folder_store.folders()]
        arguments = await asyncio.to_thread(_check_paths, request.paths, roots, settled_before)
        if request.dry_run:
            return await self._dry_run(arguments, force=request.force)
        files = self._with_settle_times(get_files(arguments))
        import_id, results, scan_counts = await self._register_import(
            request, key, get_folders(arguments), files[:BATCH_MAX]
        )
        try:
            results += await self._enqueue_remaining(files[BATCH_MAX:], import_id)
            await self._wait_for_scans(scan_counts.values())
        finally:
            for root in scan_counts:
                self._scan_counts.pop(root.id, None)
        return _build_reply(
            import_id,
            arguments,
            {result.path: result for result in results},
            Counter(result.outcome.value for result in results),
            {root.path: counts for root, counts in scan_counts.items()},
        )

    async def _register_import(
        self, request: Add, key: str, folders: Sequence[PathArgument], files: Sequence[FoundFile]
    ) -> tuple[int, list[EnqueueResult], dict[ImportRoot, ScanCounts]]:
        """Commit the folders to watch and scan, and the first files in the same transaction.

        Return the import id, the results for the files, and counts for each root that will be scanned.
        """
        priority = Priority.from_label(request.priority)
        if request.watch and folders:
            await self._watch_folders(folders, priority, request)
        async with self._register_lock:
            import_id, results = await self._import_store.start_import(
                key,
                import_id=request.import_id,
                priority=priority,
                tags=request.tags,
                force=request.force,
                after_upload=_parse_post_upload_action(request),
                paths=[folder.path for folder in folders],
                files=files,
                is_still_there=is_still_there,
                now=self._clock.now(),
            )
            remaining = await self._import_store.unfinished_roots() if folders else []
            scan_counts = {
                root: self._scan_counts.setdefault(root.id, ScanCounts())
                for root in remaining
                if root.import_id == import_id
            }
        if folders:
            self._import_registered.notify()
        return import_id, results, scan_counts

    async def _watch_folders(self, folders: Sequence[PathArgument], priority: Priority, request: Add) -> None:
        """Watch the folders, outermost first; skip a folder inside one that is watched with the same settings."""
        after_upload = _parse_post_upload_action(request)
        covered = [
            each.path
            for each in await self._folder_store.folders()
            if (each.priority, each.tags, each.after_upload) == (priority, request.tags, after_upload)
        ]
        for folder in folders:
            if folder.version is None or any(is_inside(folder.path, path) for path in covered):
                continue
            covered.append(folder.path)
            await self._folder_store.watch(
                folder.path,
                device=folder.version.device,
                inode=folder.version.inode,
                priority=priority,
                tags=request.tags,
                after_upload=after_upload,
                now=self._clock.now(),
            )

    async def _enqueue_remaining(self, files: Sequence[FoundFile], import_id: int) -> list[EnqueueResult]:
        """Enqueue the files that did not fit into the first commit of an `add`."""
        results: list[EnqueueResult] = []
        if files:
            source = await self._import_store.get_source(import_id, None)
            for start in range(0, len(files), BATCH_MAX):
                results += await self._enqueue_batch(files[start : start + BATCH_MAX], source)
        return results

    async def _wait_for_scans(self, scan_counts: Collection[ScanCounts]) -> None:
        end = self._clock.monotonic() + REPLY_TIMEOUT_S
        while True:
            snapshot, left_s = self._scan_finished.snapshot(), end - self._clock.monotonic()
            if all(counts.is_done for counts in scan_counts) or left_s <= 0:
                return
            await self._scan_finished.wait(snapshot, left_s)

    async def _dry_run(self, arguments: Sequence[PathArgument], *, force: bool) -> AddReply:
        """Predict what `add` would do; stop scanning after DRY_RUN_TIMEOUT_S."""
        end = self._clock.monotonic() + DRY_RUN_TIMEOUT_S
        counts_by_path: dict[bytes, ScanCounts] = {}
        for folder in get_folders(arguments):
            walker, counts = Walker([folder.path], rules=IgnoreRules(folder.path), now=self._clock.now()), ScanCounts()
            counts_by_path[folder.path] = counts
            while not walker.is_done and self._clock.monotonic() < end:
                files = await asyncio.to_thread(walker.next_files, BATCH_MAX, BATCH_TIME_S)
                counts.by_outcome += await self._predict(files, force=force)
            counts.by_outcome["unreadable"] = walker.unreadable
            counts.error_messages, counts.is_done = walker.error_messages, walker.is_done
        direct_counts = await self._predict(get_files(arguments), force=force)
        return _build_reply(None, arguments, {}, direct_counts, counts_by_path)

    async def _predict(self, files: Sequence[FoundFile], *, force: bool) -> Counter[str]:
        """Return the number of files by predicted outcome."""
        counts: Counter[str] = Counter()
        for start in range(0, len(files), BATCH_MAX):
            outcomes = await self._import_store.dry_run(
                self._with_settle_times(files[start : start + BATCH_MAX]),
                force=force,
                is_still_there=is_still_there,
                now=self._clock.now(),
            )
            counts.update(outcome.value for outcome in outcomes)
        return counts


def _check_paths(names: Sequence[str], roots: Sequence[bytes], settled_before: float) -> list[PathArgument]:
    moved_roots = find_moved_roots(roots)
    return [map_to_roots(check_path(name, settled_before=settled_before), moved_roots) for name in names]


def _parse_post_upload_action(request: Add) -> PostUploadAction | None:
    return PostUploadAction.parse(os.fsencode(request.after_upload))


def _filter_media(files: Collection[FoundFile]) -> list[FoundFile]:
    media = []
    for each in files:
        with contextlib.suppress(OSError):  # the next scan reports the error
            if is_probably_media(each.path, each.version):
                media.append(each)
    return media


def _describe_outcome(path: PathArgument, result: EnqueueResult | None, counts: ScanCounts | None) -> str | None:
    """Return the message about one path; None if there is nothing to say."""
    if counts is not None:
        return "; ".join(counts.error_messages) or None
    if result is not None and result.outcome is UpsertResult.REMOVED:
        return (
            f"{path.name} was removed from the library. To upload it again: sploot add --force {shlex.quote(path.name)}"
        )
    return path.detail


def _build_reply(
    import_id: int | None,
    arguments: Sequence[PathArgument],
    results_by_path: Mapping[bytes, EnqueueResult],
    direct_counts: Counter[str],
    counts_by_path: Mapping[bytes, ScanCounts],
) -> AddReply:
    counts = Counter(each.outcome for each in arguments if each.detail) + direct_counts
    for scan_counts in counts_by_path.values():
        counts += scan_counts.by_outcome
    outcomes = []
    for each in arguments:
        result, path_counts = results_by_path.get(each.path), counts_by_path.get(each.path)
        outcomes.append(
            PathOutcome(
                each.name,
                result.outcome.value if result else each.outcome,
                _describe_outcome(each, result, path_counts),
                result.item_id if result else None,
            )
        )
    return AddReply(
        import_id,
        dict(counts),
        tuple(outcomes),
        not all(scan_counts.is_done for scan_counts in counts_by_path.values()),
    )
