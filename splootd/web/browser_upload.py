"""Browser uploads: writes the received files to a folder, queues them as urgent, and prunes them after the upload.

The file name and mode record the progress for the recovery after a crash: a file with the part prefix is incomplete and
is removed; a complete file stays writable until it is queued, so a writable one is queued at the next start.
"""

import asyncio
import contextlib
import errno
import os
import secrets
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from splootd.clock import Clock
from splootd.control.endpoints import Endpoints
from splootd.errors import RequestError, SplootError
from splootd.logs import get_logger
from splootd.post_upload.safe_move import move_file
from splootd.post_upload.trash import numbered_names
from splootd.protocol import Add, PathOutcome
from splootd.remote.client import SplootClient
from splootd.text import format_size
from splootd.watch.importer import Importer

UPLOAD_BYTES_MAX = 200_000_000
FOLDER_BYTES_MAX = 5_000_000_000  # of all files in the folder
CONCURRENT_UPLOADS_MAX = 4
WRITE_BUFFER_BYTES = 1_000_000
NAME_BYTES_MAX = 200
RETENTION_S = 86_400.0  # of uploaded files, for `sploot undo`
PRUNE_INTERVAL_S = 3_600.0
PART_PREFIX = ".part-"
SENT_FOLDER = ".sent"
QUEUED_MODE = 0o400
DEFAULT_NAME = "picture"


class BrowserUploads:
    """Stores browser uploads in `folder`, whose path has no symbolic links. `run` recovers after a crash and prunes."""

    def __init__(
        self,
        folder: Path,
        importer: Importer,
        client: SplootClient,
        endpoints: Endpoints,
        *,
        clock: Clock,
        settle_s: float,
    ) -> None:
        self._folder = folder
        self._importer = importer
        self._client = client
        self._endpoints = endpoints
        self._clock = clock
        self._settle_s = settle_s
        self._slots = asyncio.Semaphore(CONCURRENT_UPLOADS_MAX)
        self._stored_bytes = 0
        self._recovered = asyncio.Event()  # new uploads wait for it, so that the recovery does not see their files
        self._log = get_logger("browser_upload")

    def routes(self) -> list[BaseRoute]:
        return [Route("/v1/upload", self._endpoints.with_error_handling(self._handle_upload), methods=["PUT"])]

    async def run(self) -> None:
        try:
            await self._recover()
        except (OSError, SplootError) as error:
            self._log.warning("recovery of browser uploads failed", error=str(error))
        await self._prune(RETENTION_S)
        self._recovered.set()
        while True:
            await asyncio.sleep(PRUNE_INTERVAL_S)
            await self._prune(RETENTION_S)

    async def _recover(self) -> None:
        """Queue the complete files that the previous instance did not queue."""
        for path in await asyncio.to_thread(_find_unqueued, self._folder):
            outcome = await self._queue(path)
            self._log.info("recovered browser upload", path=outcome.path, outcome=outcome.outcome)

    async def _prune(self, retention_s: float) -> None:
        try:
            self._stored_bytes = await asyncio.to_thread(_delete_expired, self._folder, self._clock.now() - retention_s)
        except OSError as error:
            self._log.warning("pruning browser uploads failed", error=str(error))

    async def _handle_upload(self, http: Request) -> Response:
        async def operation(key: str) -> dict[str, Any]:
            await self._recovered.wait()
            async with self._slots:
                return await self._store_and_queue(http)

        return await self._endpoints.run_once(http, operation)

    async def _store_and_queue(self, http: Request) -> dict[str, Any]:
        name = sanitize_filename(http.query_params.get("name", ""))
        limits = self._client.last_limits
        bytes_max = min(UPLOAD_BYTES_MAX, limits.bytes_max) if limits else UPLOAD_BYTES_MAX
        declared = http.headers.get("content-length", "")
        if declared and (not declared.isdecimal() or len(declared) > 18 or int(declared) > bytes_max):
            raise _too_large(name, bytes_max)
        await self._ensure_space(name, bytes_max)
        try:
            outcome = await self._queue(await self._write_body(http, name, bytes_max))
        except OSError as error:
            title = f"{name} could not be saved: {error.strerror or error}"
            raise RequestError("insufficient_storage", title, "free disk space", status=507) from error
        stored_name = Path(outcome.path).name  # the page shows names, not the internal upload folder
        detail = outcome.detail and outcome.detail.replace(outcome.path, stored_name)
        return {"name": stored_name, "outcome": outcome.outcome, "id": outcome.item, "detail": detail}

    async def _ensure_space(self, name: str, needed: int) -> None:
        """Prune uploaded files if needed. Raises RequestError when `needed` more bytes exceed FOLDER_BYTES_MAX."""
        if self._stored_bytes + needed <= FOLDER_BYTES_MAX:
            return
        await self._prune(0.0)
        if self._stored_bytes + needed > FOLDER_BYTES_MAX:
            title = f"{name} was not accepted: {format_size(self._stored_bytes)} are still waiting for upload"
            raise RequestError("insufficient_storage", title, "wait until some files are uploaded", status=507)

    async def _write_body(self, http: Request, name: str, bytes_max: int) -> Path:
        """Write the body to a new file and return its path."""
        part = self._folder / f"{PART_PREFIX}{secrets.token_hex(8)}"
        stream = await asyncio.to_thread(_create_part, part)
        try:
            with stream:
                size = await _copy_body(http, stream, bytes_max)
                if size > bytes_max:
                    raise _too_large(name, bytes_max)  # noqa: TRY301 - the part file is removed as after any error
                # The file is complete. The backdated mtime lets it skip the settle time.
                await asyncio.to_thread(_sync_to_disk, stream, self._clock.now() - self._settle_s - 1.0)
            path = await asyncio.to_thread(_move_into_place, part, name)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        self._stored_bytes += size
        return path

    async def _queue(self, path: Path) -> PathOutcome:
        """Queue a file, or delete it when it is not accepted."""
        request = Add((str(path),), watch=False, priority="urgent", after_upload=f"move:{self._folder / SENT_FOLDER}")
        (outcome,) = (await self._importer.add(request, f"browser-upload {path} {secrets.token_hex(8)}")).paths
        if outcome.item is None:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        else:
            await asyncio.to_thread(path.chmod, QUEUED_MODE)
        return outcome


async def _copy_body(http: Request, stream: BinaryIO, bytes_max: int) -> int:
    """Write the body to `stream` and return its size. Stop and return a larger number than `bytes_max` beyond it."""
    size, buffer = 0, bytearray()
    async for chunk in http.stream():
        size += len(chunk)
        buffer += chunk
        if size > bytes_max:
            return size
        if len(buffer) >= WRITE_BUFFER_BYTES:
            await asyncio.to_thread(stream.write, bytes(buffer))
            buffer.clear()
    await asyncio.to_thread(stream.write, bytes(buffer))
    return size


def sanitize_filename(name: str) -> str:
    """Return a safe file name: no path, not hidden, only printable characters, at most NAME_BYTES_MAX bytes."""
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rstrip("/").rpartition("/")[2]
    printable = "".join(each for each in last if each.isprintable()).strip().lstrip(".").strip()
    stem, dot, extension = printable.rpartition(".")
    end = os.fsencode(dot + extension) if stem and len(os.fsencode(extension)) <= 16 else b""
    start = os.fsencode(printable)[: -len(end) or None][: NAME_BYTES_MAX - len(end)]
    return (start + end).decode("utf-8", "ignore") or DEFAULT_NAME


def _create_part(part: Path) -> BinaryIO:
    (part.parent / SENT_FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
    part.parent.chmod(0o700)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    return open(descriptor, "wb")  # noqa: PTH123 - a descriptor, which the caller closes


def _sync_to_disk(stream: BinaryIO, mtime: float) -> None:
    stream.flush()
    os.utime(stream.fileno(), (mtime, mtime))
    os.fsync(stream.fileno())


def _move_into_place(part: Path, name: str) -> Path:
    """Rename the part file to `name`, or to `name` with a number, and return the new path."""
    for free_name in numbered_names(name):
        with contextlib.suppress(FileExistsError):
            move_file(part, part.parent / free_name)
            return part.parent / free_name
    raise OSError(errno.EEXIST, "no free file name")


def _find_unqueued(folder: Path) -> list[Path]:
    """Return the complete files that were not queued, and delete the incomplete ones."""
    complete = []
    for path, status in _list_files(folder):
        if path.name.startswith(PART_PREFIX):
            path.unlink(missing_ok=True)
        elif status.st_mode & stat.S_IWUSR:
            complete.append(path)
    return sorted(complete)


def _delete_expired(folder: Path, before: float) -> int:
    """Delete files that were uploaded before the given time. Return the bytes of the remaining files."""
    remaining_bytes = sum(status.st_size for _, status in _list_files(folder))
    for path, status in _list_files(folder / SENT_FOLDER):
        if status.st_ctime < before:
            path.unlink(missing_ok=True)
        else:
            remaining_bytes += status.st_size
    return remaining_bytes


def _list_files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    yield path, status


def _too_large(name: str, bytes_max: int) -> RequestError:
    title = f"{name} is larger than the limit of {format_size(bytes_max)}"
    return RequestError("too_large", title, "make the file smaller", status=413)
