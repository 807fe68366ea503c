"""What waits to be written: an urgent lane, a quick lane behind it, and a bulk lane behind both."""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from splootd.store.transaction import Outcome

T = TypeVar("T")

GROUP_MAX = 1_000  # operations in one commit
BULK_ROWS_MAX = 1_000  # rows of bulk in one commit: so long the quick that come now wait for it


@dataclass(eq=False, slots=True)
class Waiting:
    """One operation and the caller who waits for its end."""

    op: Callable[[sqlite3.Connection], Any]
    rows: int  # of bulk
    answer: asyncio.Future[Any]


class Lanes:
    """Operations wait here until the writer takes them. They are as many as there are callers: each waits."""

    def __init__(self) -> None:
        self._urgent: deque[Waiting] = deque()
        self._quick: deque[Waiting] = deque()
        self._bulk: deque[Waiting] = deque()
        self._wake = asyncio.Event()
        self._urgent_went_ahead = False  # of all others, the last time
        self.closed = False

    def __repr__(self) -> str:
        return f"Lanes({len(self._urgent)} urgent, {len(self._quick)} quick, {len(self._bulk)} bulk)"

    async def run(
        self, op: Callable[[sqlite3.Connection], T], *, urgent: bool, bulk_rows: int, queued: Callable[[], None]
    ) -> T:
        """Wait until the writer has run `op`; returns or raises what came of it. `queued` is called when it waits."""
        waiting = Waiting(op, bulk_rows, asyncio.get_running_loop().create_future())
        (self._urgent if urgent else self._bulk if bulk_rows else self._quick).append(waiting)
        self._wake.set()
        queued()
        return cast(T, await waiting.answer)

    async def take(self) -> list[Waiting]:
        """The next group, empty when closed and nothing waits: whatever is quick, then so much of the bulk.

        What is urgent goes ahead of them, in a commit of its own; once, then they come along.
        """
        while True:
            group = self._take(self._urgent)
            self._urgent_went_ahead = bool(group) and not self._urgent_went_ahead
            if not self._urgent_went_ahead:
                group += self._take(self._quick) + self._take(self._bulk)
            if group or self.closed:
                return group
            self._wake.clear()
            await self._wake.wait()

    def close(self) -> None:
        """Let `take` return what still waits, and then nothing."""
        self.closed = True
        self._wake.set()

    @staticmethod
    def answer(group: Sequence[Waiting], outcomes: Sequence[Outcome]) -> None:
        """Tell each caller how its operation ended."""
        for waiting, outcome in zip(group, outcomes, strict=True):
            if waiting.answer.done():  # the caller was cancelled meanwhile
                continue
            if outcome.error is None:
                waiting.answer.set_result(outcome.value)
            else:
                waiting.answer.set_exception(outcome.error)

    @staticmethod
    def _take(lane: deque[Waiting]) -> list[Waiting]:
        """The first of a lane. Whoever was cancelled while waiting wants nothing written any more."""
        group: list[Waiting] = []
        rows = 0
        while lane and len(group) < GROUP_MAX and (not group or rows + lane[0].rows <= BULK_ROWS_MAX):
            waiting = lane.popleft()
            if not waiting.answer.done():
                group.append(waiting)
                rows += waiting.rows
        return group
