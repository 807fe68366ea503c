"""A fixed amount of something, shared: bytes of memory, connections. Whoever finds too little left waits in line."""

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator


class Share:
    """What one taker holds of a budget. It may become smaller, never larger: nobody waits while holding."""

    def __init__(self, budget: "Budget", amount: int) -> None:
        self._budget = budget
        self.amount = amount

    def shrink(self, amount: int) -> None:
        """Give back all but `amount`."""
        given_back, self.amount = self.amount - amount, amount
        assert given_back >= 0
        self._budget.give_back(given_back)


class Budget:
    """At most `total` are taken at any time.

    The line is ordered by rank (smaller is sooner), then by arrival, and nobody overtakes whoever stands first: a large
    request is not starved by small ones.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.taken = 0
        self._line: list[tuple[int, int, int, asyncio.Future[None]]] = []  # rank, arrival, amount, turn
        self._arrivals = itertools.count()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.taken} of {self.total}, {len(self._line)} waiting)"

    @contextlib.asynccontextmanager
    async def reserve(self, amount: int, rank: int = 0) -> AsyncIterator[Share]:
        """Wait for `amount`, hold it, give it back at the end. ValueError when there can never be that much."""
        if not 0 <= amount <= self.total:
            raise ValueError(f"{amount} of a budget of {self.total}")
        await self._wait(amount, rank)
        share = Share(self, amount)
        try:
            yield share
        finally:
            share.shrink(0)

    def resize(self, total: int) -> None:
        """From now on there is so much; more may be taken until enough has been given back."""
        self.total = total
        self._serve()

    def give_back(self, amount: int) -> None:
        self.taken -= amount
        self._serve()

    async def _wait(self, amount: int, rank: int) -> None:
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._line, (rank, next(self._arrivals), amount, turn))
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was granted in the same moment
                self.taken -= amount
            self._serve()
            raise

    def _serve(self) -> None:
        """Grant from the front of the line what fits."""
        while self._line:
            _, _, amount, turn = self._line[0]
            if not turn.done():
                if self.taken + amount > self.total:
                    return
                self.taken += amount
                turn.set_result(None)
            heapq.heappop(self._line)
