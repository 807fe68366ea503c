"""The end of an upload, where its next bytes go: durable first, and then they count."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from sploot_server.blobs import BUFFER_BYTES

OFFSET_DIGITS = 20  # at the beginning of a state


class Tail:
    """The next bytes of an upload. They count once `commit` has returned; leaving the `with` forgets the others."""

    def __init__(self, part: Path, state: Path, offset: int, algorithm: str | None) -> None:
        self.offset = offset  # what counts
        self._part = os.open(part, os.O_WRONLY | os.O_CLOEXEC)
        self._state = os.open(state, os.O_WRONLY | os.O_CLOEXEC)
        self._hash = hashlib.new(algorithm) if algorithm else None
        self._buffer = bytearray()
        self._written = offset

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._part)
        os.close(self._state)

    @property
    def size_bytes(self) -> int:
        """Of the upload with all that was taken in."""
        return self._written + len(self._buffer)

    @property
    def digest(self) -> bytes:
        """Of all that was flushed."""
        assert self._hash is not None
        return self._hash.digest()

    def write(self, data: bytes) -> None:
        """Take bytes in; await `settle` before the next call, so that memory stays bounded."""
        self._buffer += data

    async def settle(self) -> None:
        if len(self._buffer) >= BUFFER_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Write what was taken in to the file; it does not count yet."""
        await to_its_end(self._flush)

    async def commit(self) -> None:
        """Make all bytes durable, and only then let them count."""
        await to_its_end(self._commit)

    def _flush(self) -> None:
        if self._hash is not None:
            self._hash.update(self._buffer)
        with memoryview(self._buffer) as view:
            done = 0
            while done < len(view):
                done += os.pwrite(self._part, view[done:], self._written + done)
        self._written += len(self._buffer)
        self._buffer.clear()

    def _commit(self) -> None:
        self._flush()
        os.fsync(self._part)
        os.pwrite(self._state, f"{self._written:0{OFFSET_DIGITS}d}".encode(), 0)
        os.fsync(self._state)
        self.offset = self._written


async def to_its_end(work: Callable[[], None]) -> None:
    """Run `work` in a thread, and wait for it even when cancelled: it holds descriptors."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
