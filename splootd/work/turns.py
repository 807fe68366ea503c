"""One at a time for each content: whoever comes second finds it in the ledger."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator


class Turns:
    """A lock for each content that is under way."""

    def __init__(self) -> None:
        self._locks: dict[bytes, asyncio.Lock] = {}
        self._users: Counter[bytes] = Counter()

    def is_free(self, sha256: bytes) -> bool:
        """Whether `of` would not have to wait."""
        return sha256 not in self._locks

    @contextlib.asynccontextmanager
    async def of(self, sha256: bytes) -> AsyncIterator[None]:
        lock = self._locks.setdefault(sha256, asyncio.Lock())
        self._users[sha256] += 1
        try:
            async with lock:
                yield
        finally:
            self._users[sha256] -= 1
            if not self._users[sha256]:
                del self._users[sha256], self._locks[sha256]
