"""Weighted, prioritized FIFO semaphore for a fixed amount of memory or connections."""

import asyncio
import heapq
import itertools
from typing import Self


class Reservation:
    """Amount held by one caller in a block. It can shrink but never grow: waiting while holding could deadlock."""

    def __init__(self, semaphore: "WeightedSemaphore", amount: int, rank: int) -> None:
        self.amount = amount
        self._semaphore = semaphore
        self._rank = rank

    async def __aenter__(self) -> Self:
        await self._semaphore.acquire(self.amount, self._rank)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.shrink(0)

    def shrink(self, amount: int) -> None:
        """Release all but `amount`."""
        released, self.amount = self.amount - amount, amount
        assert released >= 0
        self._semaphore.release(released)


class WeightedSemaphore:
    """Allows at most `total` to be reserved at any time.

    Waiters are ordered by rank (smaller first), then by arrival. The first waiter is never overtaken, even when a later
    one would fit: otherwise small requests would starve a large one.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.in_use = 0
        self._waiters: list[tuple[int, int, int, asyncio.Future[None]]] = []  # rank, sequence, amount, grant
        self._sequence = itertools.count()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.in_use} of {self.total}, {len(self._waiters)} waiting)"

    def reserve(self, amount: int, rank: int = 0) -> Reservation:
        """Return a reservation of `amount`, held during its `async with`. Raises ValueError when it can never fit."""
        if not 0 <= amount <= self.total:
            raise ValueError(f"amount {amount} is not between 0 and {self.total}")
        return Reservation(self, amount, rank)

    def resize(self, total: int) -> None:
        """Change the total. More than a smaller total may stay reserved until enough is released."""
        self.total = total
        self._grant_waiters()

    def release(self, amount: int) -> None:
        self.in_use -= amount
        self._grant_waiters()

    async def acquire(self, amount: int, rank: int) -> None:
        """Wait for `amount`. The caller releases it; `reserve` does both."""
        if not self._waiters and self.in_use + amount <= self.total:
            self.in_use += amount
            return
        waiter = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (rank, next(self._sequence), amount, waiter))
        self._grant_waiters()
        try:
            await waiter
        except asyncio.CancelledError:
            # The grant and the cancellation can happen in the same loop iteration. The future is then done, and the
            # amount would leak if it were not released here.
            if waiter.done() and not waiter.cancelled():
                self.in_use -= amount
            self._grant_waiters()
            raise

    def _grant_waiters(self) -> None:
        """Grant the first waiters as long as they fit."""
        while self._waiters:
            _, _, amount, waiter = self._waiters[0]
            if not waiter.done():
                if self.in_use + amount > self.total:
                    return
                self.in_use += amount
                waiter.set_result(None)
            heapq.heappop(self._waiters)
