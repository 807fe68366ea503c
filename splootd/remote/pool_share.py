"""The requests of one kind to a connection pool: uploads, control requests, or an event stream."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import TypeVar

import httpx

from splootd.remote.connection_pool import RotatingPool, acquire_slot
from splootd.remote.silence import RequestContent
from splootd.weighted_semaphore import WeightedSemaphore

T = TypeVar("T")


class PoolShare:
    """The requests of one kind to a `RotatingPool`: all have one `rank` and one read timeout.

    With `requests_max` at most so many are in progress at the same time.
    """

    def __init__(self, pool: RotatingPool, *, read_s: float, rank: int = 0, requests_max: int | None = None) -> None:
        self.base_url = pool.base_url
        self.read_s = read_s
        self._pool = pool
        self._rank = rank
        self._slots = WeightedSemaphore(requests_max) if requests_max is not None else None

    def stream(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        content: RequestContent,
        deadline_s: float | None = None,
    ) -> contextlib.AbstractAsyncContextManager[httpx.Response]:
        """Send one request as `RotatingPool.stream` does."""
        request = self._pool.stream(
            method, path, headers=headers, content=content, read_s=self.read_s, deadline_s=deadline_s, rank=self._rank
        )
        return request if self._slots is None else self._in_own_slot(request)

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold the place of one connection, which is opened without the pool."""
        async with self._in_own_slot(self._pool.slot(self.read_s, self._rank)):
            await self._pool.close_idle()
            yield

    @contextlib.asynccontextmanager
    async def _in_own_slot(self, entered: contextlib.AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
        """Enter a block as one of the requests of this share, which may be limited."""
        if self._slots is not None:
            await acquire_slot(self._slots, self.read_s)
        try:
            async with entered as value:
                yield value
        finally:
            if self._slots is not None:
                self._slots.release(1)
