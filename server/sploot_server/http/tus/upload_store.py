"""Unfinished uploads on disk: acknowledged bytes are durable and survive a restart of the server.

`partial/<id>` holds the bytes. The first line of `partial/<id>.state` is the committed offset with a fixed number of
digits, so that it can be overwritten in place within one sector; the rest is JSON that changes only at the end. Bytes
beyond the offset are uncommitted and are overwritten by the next request. The modification time of the state file is
the time of the last progress, from which the expiry follows.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import re
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import structlog

from sploot_server.domain.entities import LibraryError
from sploot_server.http.tus.upload_lock import UploadLock, UploadLocked, UploadLocks
from sploot_server.http.tus.upload_writer import OFFSET_DIGITS, UploadWriter

EXPIRY_S = 7 * 24 * 3600.0  # without progress
FINISHED_EXPIRY_S = 24 * 3600.0  # the outcome of a finished upload can be queried for this time
ORPHAN_AGE_MIN_S = 3600.0  # a younger file without a state may belong to an upload being created
UNFINISHED_PER_OWNER_MAX = 200  # beyond it, the upload without progress for the longest time is removed
FINISHED_PER_OWNER_MAX = 200  # beyond it, the outcome of the oldest is removed
CLEANUP_INTERVAL_S = 3600.0
ID = re.compile(r"[0-9a-f]{32}")

logger = structlog.get_logger()


class UploadNotFound(LibraryError):
    """The upload does not exist or has expired."""

    def __init__(self) -> None:
        super().__init__("The upload does not exist or has expired; start a new upload")


@dataclass(frozen=True, slots=True)
class UploadOutcome:
    """Outcome of a complete upload: its asset, and whether the upload created it."""

    asset_id: str
    created: bool


@dataclass(frozen=True, slots=True)
class Upload:
    """Committed state of an upload. `metadata` is the header as the client sent it; `length` and `offset` are bytes."""

    id: str
    owner: str
    length: int
    metadata: str
    filename: str
    tags: Sequence[str]
    checksum: str | None  # of the whole file, if the client sent one
    outcome: UploadOutcome | None = None
    offset: int = 0
    expires_s: float = 0.0  # since the epoch

    @property
    def is_complete(self) -> bool:
        return self.offset == self.length


class UploadStore:
    """Uploads in one folder, which several servers may share: a file lock gives each upload one writer at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks = UploadLocks()
        self._finished: dict[str, deque[str]] = {}  # ids by owner, the oldest first

    def open(self) -> None:
        """Create the folder and remove expired uploads."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.remove_expired()

    async def run(self) -> None:
        """Remove expired uploads once an hour, until cancelled."""
        while True:
            await asyncio.sleep(CLEANUP_INTERVAL_S)
            if removed := await asyncio.to_thread(self.remove_expired):
                logger.info("uploads expired", count=removed)

    def remove_expired(self) -> int:
        """Remove expired uploads and orphaned files; return the number of expired uploads. Blocks."""
        removed, finished = 0, []
        for state in self._folder.glob("*.state"):
            upload = self._load_unexpired(state.stem)
            if upload is not None and upload.outcome is not None:
                finished.append(upload)
            elif upload is None and state.stem not in self._locks:
                self._remove(state.stem)
                removed += 1
        self._finished.clear()  # other servers may have finished some
        for upload in sorted(finished, key=lambda each: each.expires_s):
            self._add_finished(upload)
        for orphan in [*self._folder.glob("*.new"), *filter(self._is_orphan, self._data_files())]:
            with contextlib.suppress(FileNotFoundError):  # another server removed it
                if orphan.stat().st_mtime < time.time() - ORPHAN_AGE_MIN_S:
                    orphan.unlink()
        return removed

    async def create(
        self, owner: str, *, length: int, metadata: str, filename: str, tags: Sequence[str], checksum: str | None
    ) -> Upload:
        """Create an upload, which is durable on return."""
        upload = Upload(secrets.token_hex(16), owner, length, metadata, filename, tags, checksum)
        await asyncio.to_thread(self._create, upload)
        return await self.find(upload.id, owner)

    async def find(self, upload_id: str, owner: str) -> Upload:
        """Return an upload. Raise UploadNotFound, also for an upload of another owner."""
        upload = await asyncio.to_thread(self._load, upload_id)
        if upload.owner != owner or upload.expires_s <= time.time():
            raise UploadNotFound
        return upload

    async def count_unfinished_bytes(self, owner: str) -> int:
        """Return the total length of the unfinished uploads of an owner, the bytes not yet received included."""
        return await asyncio.to_thread(lambda: sum(each.length for each in self._unfinished(owner)))

    @contextlib.asynccontextmanager
    async def lock(self, upload_id: str) -> AsyncIterator[UploadLock]:
        """Hold the exclusive lock of an upload. Raise UploadLocked or UploadNotFound."""
        async with self._locks.acquire(upload_id) as upload_lock:
            fd = self._lock_state_file(upload_id)
            try:
                yield upload_lock
            finally:
                os.close(fd)

    def open_writer(self, upload: Upload, algorithm: str | None) -> UploadWriter:
        """Return a writer at the committed offset; with an `algorithm` of hashlib it hashes the new bytes."""
        return UploadWriter(self.data_path(upload), self._state_path(upload.id), upload.offset, algorithm)

    def data_path(self, upload: Upload) -> Path:
        """Return the path of the data file, which does not change any more once the upload is complete."""
        return self._folder / upload.id

    async def read_head(self, upload: Upload, size_bytes: int) -> bytes:
        """Return the first bytes, committed or not."""
        with await asyncio.to_thread((self._folder / upload.id).open, "rb", buffering=0) as file:
            return await asyncio.to_thread(file.read, size_bytes)

    async def finish(self, upload: Upload, outcome: UploadOutcome) -> None:
        """Store the outcome and remove the bytes."""
        await asyncio.to_thread(self._finish, replace(upload, outcome=outcome))

    async def remove(self, upload: Upload) -> None:
        await asyncio.to_thread(self._remove, upload.id)

    def _lock_state_file(self, upload_id: str) -> int:
        """Lock the upload against other servers and return the file descriptor.

        The kernel releases the lock when the process ends, so a crash leaves no stale lock.
        """
        try:
            fd = os.open(self._state_path(upload_id), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise UploadNotFound from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(fd)
            raise UploadLocked from error
        return fd

    def _load_unexpired(self, upload_id: str) -> Upload | None:
        with contextlib.suppress(UploadNotFound):
            upload = self._load(upload_id)
            return upload if upload.expires_s > time.time() else None
        return None

    def _add_finished(self, upload: Upload) -> None:
        """Remember a finished upload, and remove the oldest ones of its owner beyond the limit."""
        finished = self._finished.setdefault(upload.owner, deque())
        finished.append(upload.id)
        while len(finished) > FINISHED_PER_OWNER_MAX:
            self._remove(finished.popleft())

    def _evict_oldest(self, owner: str) -> None:
        """Make room for one more upload of this owner."""
        owned = list(self._unfinished(owner))
        idle = sorted((each for each in owned if each.id not in self._locks), key=lambda each: each.expires_s)
        for oldest in idle[: max(0, len(owned) + 1 - UNFINISHED_PER_OWNER_MAX)]:
            self._remove(oldest.id)

    def _unfinished(self, owner: str) -> Iterator[Upload]:
        for data_file in self._data_files():
            with contextlib.suppress(UploadNotFound):
                if (upload := self._load(data_file.name)).owner == owner:
                    yield upload

    def _create(self, upload: Upload) -> None:
        self._evict_oldest(upload.owner)
        with (self._folder / upload.id).open("xb") as part:
            os.fsync(part.fileno())
        self._write_state(upload)

    def _finish(self, upload: Upload) -> None:
        self._write_state(upload)
        (self._folder / upload.id).unlink(missing_ok=True)
        self._add_finished(upload)

    def _write_state(self, upload: Upload) -> None:
        """Replace the state file atomically: after a power failure it has the old or the new content.

        The rename is durable only after the fsync of the folder.
        """
        values = asdict(upload)
        text = f"{values.pop('offset'):0{OFFSET_DIGITS}d}\n{json.dumps(values)}\n"
        new_path = self._folder / f"{upload.id}.new"
        with new_path.open("wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        new_path.replace(self._state_path(upload.id))
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _load(self, upload_id: str) -> Upload:
        if not ID.fullmatch(upload_id):
            raise UploadNotFound
        try:
            with self._state_path(upload_id).open("rb") as file:
                changed_s = os.fstat(file.fileno()).st_mtime
                offset, values = int(file.readline()), json.loads(file.read())
            outcome = values.pop("outcome")
            stored_bytes = values["length"] if outcome else (self._folder / upload_id).stat().st_size
            values |= {
                "offset": min(offset, stored_bytes),
                "expires_s": changed_s + (FINISHED_EXPIRY_S if outcome else EXPIRY_S),
            }
            return Upload(**values, outcome=outcome and UploadOutcome(**outcome))
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            raise UploadNotFound from error

    def _remove(self, upload_id: str) -> None:
        self._state_path(upload_id).unlink(missing_ok=True)
        (self._folder / upload_id).unlink(missing_ok=True)

    def _state_path(self, upload_id: str) -> Path:
        return self._folder / f"{upload_id}.state"

    def _data_files(self) -> list[Path]:
        return [each for each in self._folder.iterdir() if not each.suffix]

    def _is_orphan(self, data_file: Path) -> bool:
        return not self._state_path(data_file.name).exists()
