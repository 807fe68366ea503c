"""Originals, byte for byte, under the name of their content: `blobs/ab/<sha256>`.

A file is either whole and durable under its name or not there at all: it is written to `incoming/`, fsynced, renamed,
and its folder fsynced, in this order, before `keep` returns. Earlier versions had another level of folders, nearly one
for each file, which made keeping one a third dearer; what lies there is found there.
"""

import asyncio
import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Mapping
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

    async def adopt(self, file: Path) -> None:
        """Take all bytes of a file of the same file system, which nobody changes from now on. Instead of `write`."""

    async def keep(self) -> None:
        """Make the bytes durable under their checksum; keeping the same content twice is harmless."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class BlobStore(Protocol):
    """Where originals are kept. Its calls raise Unreachable where that is elsewhere, and cannot be reached."""

    def incoming(self) -> Incoming: ...

    def local(self, checksum: str) -> contextlib.AbstractAsyncContextManager[Path]:
        """A file on this machine with this content, to be read within the block. Raises FileNotFoundError."""

    def read(self, checksum: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """The bytes from `start` to before `stop`, in pieces. Raises FileNotFoundError."""

    async def remove(self, checksum: str) -> None:
        """Repeatable."""

    async def check(self) -> None:
        """Raise Unreachable or OSError if nothing can be kept at the moment."""


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
        return IncomingFile(self.temporary(), self)

    def temporary(self) -> Path:
        """A new name for a file that is not whole yet; what bears one at the next start is thrown away."""
        return self._incoming / secrets.token_hex(16)

    def path(self, checksum: str) -> Path:
        """The file that holds this content, whether or not it is there."""
        here, former = self._place(checksum), self._blobs / checksum[:2] / checksum[2:4] / checksum
        return former if not here.exists() and former.exists() else here

    def place(self, temporary: Path, checksum: str) -> None:
        """Move a finished, fsynced file to its place. Blocks.

        The folder with the new name is fsynced first: with most file systems that commits its parent's entry too, and
        the fsync of that is then almost free. Two threads may both do it: once too often is harmless.
        """
        target = self._place(checksum)
        folder = target.parent
        is_new = folder not in self._durable_folders
        if is_new:
            folder.mkdir(mode=0o700, exist_ok=True)
        temporary.replace(target)
        _fsync_folder(folder)
        if is_new:
            _fsync_folder(folder.parent)
            self._durable_folders.add(folder)  # at most 256 of them

    def move(self, temporaries: Mapping[Path, str]) -> set[Path]:
        """Move finished, fsynced files to the places of their contents; the folders to be fsynced next. Blocks."""
        targets = {temporary: self._place(checksum) for temporary, checksum in temporaries.items()}
        folders = {target.parent for target in targets.values()}
        for folder in folders:
            folder.mkdir(mode=0o700, exist_ok=True)
        for temporary, target in targets.items():
            temporary.replace(target)
        return folders | {self._blobs}

    @contextlib.asynccontextmanager
    async def local(self, checksum: str) -> AsyncIterator[Path]:
        yield self.path(checksum)

    async def read(self, checksum: str, start: int, stop: int) -> AsyncIterator[bytes]:
        with await asyncio.to_thread(self.path(checksum).open, "rb", buffering=0) as file:
            file.seek(start)
            while start < stop:
                piece = await asyncio.to_thread(file.read, min(stop - start, BUFFER_BYTES))
                if not piece:
                    raise OSError(f"{self.path(checksum)} is shorter than it was when it was kept")
                start += len(piece)
                yield piece

    async def remove(self, checksum: str) -> None:
        await asyncio.to_thread(lambda: self.path(checksum).unlink(missing_ok=True))

    async def check(self) -> None:
        probe = self._incoming / secrets.token_hex(16)
        await asyncio.to_thread(probe.touch)
        await asyncio.to_thread(probe.unlink)

    def _place(self, checksum: str) -> Path:
        return self._blobs / checksum[:2] / checksum


class Spool:
    """The bytes of one upload in memory or, when the buffer overflows, in a temporary file, which leaves with it."""

    def __init__(self, temporary: Path) -> None:
        self.size_bytes = 0
        self.head = b""
        self._temporary = temporary
        self._hash = hashlib.sha256()
        self._buffer = bytearray()
        self._file: BinaryIO | None = None

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

    async def adopt(self, file: Path) -> None:
        await asyncio.to_thread(self._adopt, file)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._temporary.unlink(missing_ok=True)

    def _adopt(self, file: Path) -> None:
        """Give the file a second name, or copy it where a file has but one; and hash it. Blocks."""
        try:
            self._temporary.hardlink_to(file)
        except OSError:
            shutil.copyfile(file, self._temporary)
        self._file = self._temporary.open("r+b", buffering=0)
        while piece := self._file.read(BUFFER_BYTES):
            self.head = self.head or piece[:SNIFF_BYTES]
            self.size_bytes += len(piece)
            self._hash.update(piece)

    def _flush(self) -> BinaryIO:
        """Write out what is in memory. Blocks."""
        if self._file is None:
            self._file = self._temporary.open("xb", buffering=0)
        view = memoryview(self._buffer)
        written = 0
        while written < len(view):
            written += self._file.write(view[written:])
        view.release()
        self._buffer.clear()
        return self._file


class IncomingFile(Spool):
    """Incoming whose temporary file becomes the one that is kept."""

    def __init__(self, temporary: Path, blobs: FileBlobs) -> None:
        super().__init__(temporary)
        self._blobs = blobs

    async def keep(self) -> None:
        await asyncio.to_thread(self._keep)

    def _keep(self) -> None:
        with self._flush() as file:
            os.fsync(file.fileno())
        self._blobs.place(self._temporary, self.checksum)
        self._file = None  # nothing is left to be cleared away


def _fsync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
