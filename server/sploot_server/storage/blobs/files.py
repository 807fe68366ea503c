"""Content-addressed blob store in files: `blobs/ab/<sha256>`.

A blob is either complete and durable or absent. `commit` writes it to `incoming/`, fsyncs it, renames it and fsyncs its
folder, in this order. Renamed first, a file could be empty or cut off after a power failure, under its final name;
without the fsync of the folder, the name itself could be lost although the upload was confirmed.
"""

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from sploot_server.domain.entities import OriginalMissing
from sploot_server.domain.sniff import SNIFF_BYTES
from sploot_server.measurements import Measurements

CHECKSUM = re.compile(r"[0-9a-f]{64}")
STORE_ID = "store-id"
"""Name of the object with the id of the store: see `identity.py`."""
BUFFER_BYTES = 256 * 1024  # in memory per upload; a smaller file needs only one call in a thread


class UploadSink(Protocol):
    """Receives the bytes of one upload. Leaving its `async with` discards them unless `commit` was called."""

    size_bytes: int
    head: bytes  # the first SNIFF_BYTES

    @property
    def checksum(self) -> str:
        """Return the lower-case hex SHA-256 of the bytes received so far."""

    def write(self, data: bytes) -> None:
        """Receive bytes; await `flush_if_full` before the next call to bound the memory."""

    async def flush_if_full(self) -> None: ...

    async def link_from(self, file: Path) -> None:
        """Receive all bytes of a file, by hard link if possible, instead of `write`. The file must not change later."""

    async def commit(self) -> None:
        """Make the bytes durable under their checksum. Idempotent."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class BlobStore(Protocol):
    """Stores originals by checksum. Calls of a remote store raise BackendUnavailable while it is unreachable."""

    def open_upload(self) -> UploadSink: ...

    def local_file(self, checksum: str) -> contextlib.AbstractAsyncContextManager[Path]:
        """Provide a local file with this content for the block. Raises OriginalMissing."""

    def read(self, checksum: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """Return the bytes from `start` to before `stop` in chunks. Raises OriginalMissing."""

    async def remove(self, checksum: str) -> None:
        """Remove this content. Idempotent."""

    async def size(self, checksum: str) -> int | None:
        """Return the size of this content; None if it is not stored."""

    def list_sizes(self) -> AsyncIterator[tuple[str, int]]:
        """Return all stored checksums in ascending order, each with its size."""

    async def read_id(self) -> str | None:
        """Return the id of the store; None if it has none."""

    async def write_id(self, store_id: str) -> None:
        """Give the store its id."""

    async def check_writable(self) -> None:
        """Raise BackendUnavailable or OSError if the store accepts no writes at the moment."""


class FileBlobs:
    """BlobStore in a folder of one file system."""

    def __init__(self, data: Path, measurements: Measurements | None = None) -> None:
        self._measurements = measurements or Measurements()
        self._incoming_folder = data / "incoming"
        self._blob_folder = data / "blobs"
        self._synced_folders: set[Path] = set()

    def open(self) -> None:
        """Create the folders; discard the incomplete uploads of an earlier process."""
        shutil.rmtree(self._incoming_folder, ignore_errors=True)
        self._incoming_folder.mkdir(mode=0o700)
        self._blob_folder.mkdir(mode=0o700, exist_ok=True)
        _fsync_directory(self._blob_folder.parent)

    def open_upload(self) -> "FileUploadSink":
        return FileUploadSink(self.new_temporary_path(), self)

    def new_temporary_path(self) -> Path:
        """Return a new path for an incomplete file; the next start discards files that still have such a path."""
        return self._incoming_folder / secrets.token_hex(16)

    def path(self, checksum: str) -> Path:
        """Return the path of this content, whether or not the file exists."""
        # One level of 256 folders: a second one would hold about one file per folder, and make a commit a third slower.
        return self._blob_folder / checksum[:2] / checksum

    def move_into_place(self, temporary: Path, checksum: str) -> None:
        """Move a complete, fsynced file to its final path. Blocks.

        The folder with the new name is fsynced before its parent: most file systems thereby commit the parent's entry
        as well, and the second fsync is almost free. Two threads may both sync a new folder, which is harmless.
        """
        target = self.path(checksum)
        folder = target.parent
        is_new = folder not in self._synced_folders
        if is_new:
            folder.mkdir(mode=0o700, exist_ok=True)
        temporary.replace(target)
        _fsync_directory(folder)
        if is_new:
            _fsync_directory(folder.parent)
            self._synced_folders.add(folder)  # at most 256

    def move_all_into_place(self, temporaries: Mapping[Path, str]) -> set[Path]:
        """Move complete, fsynced files to their final paths; return the folders that the caller must fsync. Blocks."""
        targets = {temporary: self.path(checksum) for temporary, checksum in temporaries.items()}
        folders = {target.parent for target in targets.values()}
        for folder in folders:
            folder.mkdir(mode=0o700, exist_ok=True)
        for temporary, target in targets.items():
            temporary.replace(target)
        return folders | {self._blob_folder}

    @contextlib.asynccontextmanager
    async def local_file(self, checksum: str) -> AsyncIterator[Path]:
        if not await asyncio.to_thread(self.path(checksum).exists):
            raise self._missing()
        yield self.path(checksum)

    async def read(self, checksum: str, start: int, stop: int) -> AsyncIterator[bytes]:
        try:
            opened = await asyncio.to_thread(self.path(checksum).open, "rb", buffering=0)
        except FileNotFoundError as error:
            raise self._missing() from error
        with opened as file:
            file.seek(start)
            while start < stop:
                chunk = await asyncio.to_thread(file.read, min(stop - start, BUFFER_BYTES))
                if not chunk:
                    raise OSError(f"{self.path(checksum)} is truncated: it is shorter than its recorded size")
                start += len(chunk)
                yield chunk

    async def remove(self, checksum: str) -> None:
        await asyncio.to_thread(lambda: self.path(checksum).unlink(missing_ok=True))

    async def size(self, checksum: str) -> int | None:
        def read() -> int | None:
            with contextlib.suppress(FileNotFoundError):
                return self.path(checksum).stat().st_size
            return None

        return await asyncio.to_thread(read)

    async def list_sizes(self) -> AsyncIterator[tuple[str, int]]:
        for folder in await asyncio.to_thread(lambda: sorted(self._blob_folder.glob("[0-9a-f][0-9a-f]"))):
            for name in sorted(await asyncio.to_thread(os.listdir, folder)):
                size = await self.size(name) if CHECKSUM.fullmatch(name) else None
                if size is not None:  # not removed meanwhile
                    yield name, size

    async def read_id(self) -> str | None:
        def read() -> str | None:
            with contextlib.suppress(FileNotFoundError):
                return (self._blob_folder / STORE_ID).read_text().strip()
            return None

        return await asyncio.to_thread(read)

    async def write_id(self, store_id: str) -> None:
        def write() -> None:
            self._blob_folder.mkdir(mode=0o700, exist_ok=True)
            with (self._blob_folder / STORE_ID).open("w") as file:
                file.write(f"{store_id}\n")
                file.flush()
                os.fsync(file.fileno())
            _fsync_directory(self._blob_folder)

        await asyncio.to_thread(write)

    async def check_writable(self) -> None:
        probe = self._incoming_folder / secrets.token_hex(16)
        await asyncio.to_thread(probe.touch)
        await asyncio.to_thread(probe.unlink)

    def _missing(self) -> OriginalMissing:
        self._measurements.originals_missing.inc()
        return OriginalMissing()


class SpooledUploadSink:
    """Buffers one upload in memory, beyond BUFFER_BYTES in a temporary file that `__aexit__` removes."""

    def __init__(self, temporary: Path) -> None:
        self.size_bytes = 0
        self.head = b""
        self._temporary_path = temporary
        self._digest = hashlib.sha256()
        self._buffer = bytearray()
        self._file: BinaryIO | None = None

    @property
    def checksum(self) -> str:
        return self._digest.hexdigest()

    def write(self, data: bytes) -> None:
        if len(self.head) < SNIFF_BYTES:
            self.head += data[: SNIFF_BYTES - len(self.head)]
        self.size_bytes += len(data)
        self._digest.update(data)
        self._buffer += data

    async def flush_if_full(self) -> None:
        if len(self._buffer) >= BUFFER_BYTES:
            await asyncio.to_thread(self._flush)

    async def link_from(self, file: Path) -> None:
        await asyncio.to_thread(self._link_from, file)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._temporary_path.unlink(missing_ok=True)

    def _link_from(self, file: Path) -> None:
        """Hard-link the file, or copy it if the file system has no hard links; and hash it. Blocks."""
        try:
            self._temporary_path.hardlink_to(file)
        except OSError:
            shutil.copyfile(file, self._temporary_path)
        self._file = self._temporary_path.open("r+b", buffering=0)
        while chunk := self._file.read(BUFFER_BYTES):
            self.head = self.head or chunk[:SNIFF_BYTES]
            self.size_bytes += len(chunk)
            self._digest.update(chunk)

    def _flush(self) -> BinaryIO:
        """Write the buffer to the temporary file. Blocks."""
        if self._file is None:
            self._file = self._temporary_path.open("xb", buffering=0)
        view = memoryview(self._buffer)
        written = 0
        while written < len(view):  # an unbuffered write may be short
            written += self._file.write(view[written:])
        view.release()
        self._buffer.clear()
        return self._file


class FileUploadSink(SpooledUploadSink):
    """An upload sink whose temporary file becomes the blob."""

    def __init__(self, temporary: Path, blobs: FileBlobs) -> None:
        super().__init__(temporary)
        self._blobs = blobs

    async def commit(self) -> None:
        await asyncio.to_thread(self._commit)

    def _commit(self) -> None:
        with self._flush() as file:
            os.fsync(file.fileno())
        self._blobs.move_into_place(self._temporary_path, self.checksum)
        self._file = None  # __aexit__ must not remove the blob


def _fsync_directory(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
