"""Durable append to an upload: bytes are synced before the offset that covers them."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from sploot_server.storage.blobs.files import BUFFER_BYTES

OFFSET_DIGITS = 20  # width of the offset at the start of a state file


class UploadWriter:
    """Appends to an upload. `commit` makes the bytes part of the upload; leaving the block discards the others.

    The order matters: data, fsync, offset, fsync. If the offset were stored first, a power failure could leave it ahead
    of the data: the file may then have the right size but contain zeros, which no later check of the size detects.
    """

    def __init__(self, data_path: Path, state_path: Path, offset: int, algorithm: str | None) -> None:
        self.offset = offset  # committed
        self._data_fd = os.open(data_path, os.O_WRONLY | os.O_CLOEXEC)
        self._state_fd = os.open(state_path, os.O_WRONLY | os.O_CLOEXEC)
        self._hash = hashlib.new(algorithm) if algorithm else None
        self._buffer = bytearray()
        self._written = offset

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._data_fd)
        os.close(self._state_fd)

    @property
    def size_bytes(self) -> int:
        """Size of the upload including all bytes passed to `write`."""
        return self._written + len(self._buffer)

    @property
    def digest(self) -> bytes:
        """Hash of all flushed bytes."""
        assert self._hash is not None
        return self._hash.digest()

    def write(self, data: bytes) -> None:
        """Buffer bytes; await `flush_if_full` before the next call to bound the memory."""
        self._buffer += data

    async def flush_if_full(self) -> None:
        """Write the buffer to the file if it is full."""
        if len(self._buffer) >= BUFFER_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Write the buffer to the file without committing it."""
        await run_to_completion(self._flush)

    async def commit(self) -> None:
        """Sync all bytes to disk, then store the new offset durably."""
        await run_to_completion(self._commit)

    def _flush(self) -> None:
        if self._hash is not None:
            self._hash.update(self._buffer)
        with memoryview(self._buffer) as view:
            done = 0
            while done < len(view):
                done += os.pwrite(self._data_fd, view[done:], self._written + done)
        self._written += len(self._buffer)
        self._buffer.clear()

    def _commit(self) -> None:
        self._flush()
        os.fsync(self._data_fd)
        os.pwrite(self._state_fd, f"{self._written:0{OFFSET_DIGITS}d}".encode(), 0)
        os.fsync(self._state_fd)
        self.offset = self._written


async def run_to_completion(work: Callable[[], None]) -> None:
    """Run `work` in a thread and wait for it even when cancelled.

    A thread cannot be cancelled. If the caller closed the descriptors meanwhile, the thread would write to whatever
    file reuses their numbers.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
