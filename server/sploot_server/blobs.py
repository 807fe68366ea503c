"""Originals, byte for byte, under the name of their content: `blobs/ab/cd/<sha256>`.

A file is either whole and durable under its name or not there at all: it is written to `incoming/`, fsynced, renamed,
and its folder fsynced, in this order, before `keep` returns.
"""

import asyncio
import hashlib
import os
import secrets
import shutil
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from sploot_server.sniff import SNIFF_BYTES

BUFFER_BYTES = 256 * 1024  # held in memory per upload; a file smaller than this costs one trip to a thread


class Incoming(Protocol):
    """The bytes of one upload on their way in. Leaving its `async with` discards what was not kept."""

    size_bytes: int
    head: bytes  # the first SNIFF_BYTES

    @property
    def checksum(self) -> str:
        """Lower-case hex SHA-256 of what came in so far."""

    def write(self, data: bytes) -> None:
        """Take bytes in; await `settle` before the next call, so that memory stays bounded."""

    async def settle(self) -> None: ...

    async def keep(self) -> None:
        """Make the bytes durable under their checksum; keeping the same content twice is harmless."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class BlobStore(Protocol):
    """Where originals are kept."""

    def incoming(self) -> Incoming: ...

    def path(self, checksum: str) -> Path:
        """The file that holds this content, whether or not it is there."""

    async def remove(self, checksum: str) -> None: ...


class FileBlobs:
    """BlobStore in a folder of one file system."""

    def __init__(self, data: Path) -> None:
        self._incoming = data / "incoming"
        self._blobs = data / "blobs"
        self._durable_folders: set[Path] = set()

    def open(self) -> None:
        """Make the folders; throw away what an earlier process left half received."""
        shutil.rmtree(self._incoming, ignore_errors=True)
        self._incoming.mkdir(mode=0o700)
        self._blobs.mkdir(mode=0o700, exist_ok=True)
        _fsync_folder(self._blobs.parent)

    def incoming(self) -> "IncomingFile":
        return IncomingFile(self._incoming / secrets.token_hex(16), self)

    def path(self, checksum: str) -> Path:
        return self._blobs / checksum[:2] / checksum[2:4] / checksum

    def place(self, temporary: Path, checksum: str) -> None:
        """Move a finished, fsynced file to its place. Blocks.

        The folder with the new name is fsynced first: with most file systems that commits its parents' entries too, and
        the fsyncs of these are then almost free. Two threads may both do it: once too often is harmless.
        """
        target = self.path(checksum)
        fresh = [folder for folder in (target.parent, target.parent.parent) if folder not in self._durable_folders]
        if fresh:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.replace(target)
        _fsync_folder(target.parent)
        for folder in fresh:
            _fsync_folder(folder.parent)
        self._durable_folders.update(fresh)  # at most 256 + 65,536 of them

    async def remove(self, checksum: str) -> None:
        await asyncio.to_thread(self.path(checksum).unlink, missing_ok=True)


class IncomingFile:
    """Incoming on a temporary file, which is only made when the buffer overflows or the bytes are kept."""

    def __init__(self, temporary: Path, blobs: FileBlobs) -> None:
        self.size_bytes = 0
        self.head = b""
        self._temporary = temporary
        self._blobs = blobs
        self._hash = hashlib.sha256()
        self._buffer = bytearray()
        self._file: BinaryIO | None = None
        self._kept = False

    @property
    def checksum(self) -> str:
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        if len(self.head) < SNIFF_BYTES:
            self.head += data[: SNIFF_BYTES - len(self.head)]
        self.size_bytes += len(data)
        self._hash.update(data)
        self._buffer += data

    async def settle(self) -> None:
        if len(self._buffer) >= BUFFER_BYTES:
            await asyncio.to_thread(self._flush)

    async def keep(self) -> None:
        await asyncio.to_thread(self._keep)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            if not self._kept:
                self._temporary.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._file is None:
            self._file = self._temporary.open("xb", buffering=0)
        view = memoryview(self._buffer)
        written = 0
        while written < len(view):
            written += self._file.write(view[written:])
        view.release()
        self._buffer.clear()

    def _keep(self) -> None:
        self._flush()
        assert self._file is not None
        os.fsync(self._file.fileno())
        self._blobs.place(self._temporary, self.checksum)
        self._kept = True


def _fsync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
