"""Lock of each upload, with take-over from a request whose client stopped sending.

When a client loses its connection and resumes, the server may not have noticed the loss: without a FIN or RST, the old
request waits for data until its timeout. If its lock could not be taken over, the client would receive 423 until then.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from sploot_server.domain.entities import LibraryError

IDLE_TIMEOUT_S = 2.0  # after this silence another request may take the lock over


class UploadLocked(LibraryError):
    """Another request holds the lock of this upload."""

    def __init__(self) -> None:
        super().__init__("Another request is writing to this upload; query its offset and retry")


class UploadLocks:
    """Locks of all uploads in use by this process."""

    def __init__(self) -> None:
        self._locks: dict[str, UploadLock] = {}

    def __contains__(self, upload_id: str) -> bool:
        return upload_id in self._locks

    @contextlib.asynccontextmanager
    async def acquire(self, upload_id: str) -> AsyncIterator["UploadLock"]:
        """Hold the lock of an upload. Raise UploadLocked if its holder is still receiving data."""
        if holder := self._locks.get(upload_id):
            await holder.yield_to_next()
        if upload_id in self._locks:
            raise UploadLocked
        lock = self._locks[upload_id] = UploadLock()
        try:
            yield lock
        finally:
            del self._locks[upload_id]
            lock.released.set()


class UploadLock:
    """Lock of one upload, held by one request."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self._last_activity_at = 0.0
        self._receive_timeout: asyncio.Timeout | None = None

    @contextlib.asynccontextmanager
    async def receiving(self) -> AsyncIterator[None]:
        """Receive data within the block. Raise TimeoutError if another request takes over from a silent client."""
        self.record_activity()
        async with asyncio.timeout(None) as receiving:
            self._receive_timeout = receiving
            try:
                yield
            finally:
                self._receive_timeout = None

    def record_activity(self) -> None:
        """Record that the client sent data."""
        self._last_activity_at = asyncio.get_running_loop().time()

    async def yield_to_next(self) -> None:
        """Wait for the release of the lock for a limited time; cancel the holder if its client is silent."""
        for _ in range(2):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(IDLE_TIMEOUT_S):
                    await self.released.wait()
                return
            now = asyncio.get_running_loop().time()
            if self._receive_timeout is not None and self._last_activity_at <= now - IDLE_TIMEOUT_S:
                self._receive_timeout.reschedule(now)
