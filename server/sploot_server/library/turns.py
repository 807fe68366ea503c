"""Turns: owners take turns at scarce work, so that one owner's requests do not delay those of the others."""

import asyncio
import contextlib
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator


class OwnerTurns:
    """Lets `places` pieces of work run at once, with one place fewer for each owner, and the owners take turns.

    So one owner's slow work always leaves a place for the others. The owner '', of a library without accounts, may use
    all places.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._running: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()  # the next owner first

    @contextlib.asynccontextmanager
    async def turn(self, owner: str) -> AsyncIterator[None]:
        """Wait for a turn of this owner and hold it for the block."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(turn)
        self._start_waiting()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self._running[owner] -= 1
            self._start_waiting()

    def _start_waiting(self) -> None:
        while self._running.total() < self._places:
            owner = next((each for each in self._waiting if self._has_share(each)), None)
            if owner is None:
                return
            turn = self._waiting[owner].popleft()
            self._waiting.move_to_end(owner)
            if not self._waiting[owner]:
                del self._waiting[owner]
            if not turn.cancelled():
                self._running[owner] += 1
                turn.set_result(None)

    def _has_share(self, owner: str) -> bool:
        return not owner or self._running[owner] < max(self._places - 1, 1)
