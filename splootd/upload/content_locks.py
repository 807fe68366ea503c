"""Serialize uploads of the same content: the second one finds the first one's result in the ledger."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator


class KeyedLock:
    """A set of locks by key. A lock exists only while it is held or awaited."""

    def __init__(self) -> None:
        self._locks: dict[bytes, asyncio.Lock] = {}
        self._users: Counter[bytes] = Counter()

    def is_free(self, key: bytes) -> bool:
        """Return whether `acquire` would not wait."""
        return key not in self._locks

    @contextlib.asynccontextmanager
    async def acquire(self, key: bytes) -> AsyncIterator[None]:
        """Hold the lock of `key`."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._users[key] += 1
        try:
            async with lock:
                yield
        finally:
            # Counted, because `lock.locked()` is also False between a release and the moment its waiter wakes up.
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._locks[key]
