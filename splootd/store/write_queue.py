"""The queue of pending writes, in three classes: urgent, normal and bulk."""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from splootd.store.transaction import OperationResult

T = TypeVar("T")

GROUP_MAX = 1_000  # operations in one commit
BULK_ROWS_MAX = 1_000  # bulk rows in one commit; the normal operations that arrive meanwhile wait for them


@dataclass(eq=False, slots=True)
class PendingWrite:
    """One operation and the future of its caller."""

    op: Callable[[sqlite3.Connection], Any]
    rows: int  # bulk rows
    future: asyncio.Future[Any]


class WriteQueue:
    """Holds operations until the writer takes them. Every caller waits, so the callers bound its length."""

    def __init__(self) -> None:
        self._urgent: deque[PendingWrite] = deque()
        self._normal: deque[PendingWrite] = deque()
        self._bulk: deque[PendingWrite] = deque()
        self._wake = asyncio.Event()
        self._urgent_ran_last = False
        self.closed = False

    def __repr__(self) -> str:
        return f"WriteQueue({len(self._urgent)} urgent, {len(self._normal)} normal, {len(self._bulk)} bulk)"

    async def run(
        self, op: Callable[[sqlite3.Connection], T], *, urgent: bool, bulk_rows: int, on_queued: Callable[[], None]
    ) -> T:
        """Queue `op`, call `on_queued`, and return or raise the result of `op` once the writer has committed it."""
        pending = PendingWrite(op, bulk_rows, asyncio.get_running_loop().create_future())
        (self._urgent if urgent else self._bulk if bulk_rows else self._normal).append(pending)
        self._wake.set()
        on_queued()
        return cast(T, await pending.future)

    async def take(self) -> list[PendingWrite]:
        """Wait for the next group and return it; empty once the queue is closed and drained.

        Urgent operations get a commit of their own, so that a single urgent file does not wait for the thousand rows
        of a scan. They run ahead of the others only once in a row, then all classes share one commit. Strict priority
        would starve the others: each urgent claim is followed by a completion and another claim, so the urgent class
        never runs empty under load.
        """
        while True:
            group = self._take_from(self._urgent)
            self._urgent_ran_last = bool(group) and not self._urgent_ran_last
            if not self._urgent_ran_last:
                group += self._take_from(self._normal) + self._take_from(self._bulk)
            if group or self.closed:
                return group
            # There is no await between the check and `clear`, so an operation cannot arrive in between and be missed.
            self._wake.clear()
            await self._wake.wait()

    def close(self) -> None:
        """Make `take` return the pending operations and then an empty group."""
        self.closed = True
        self._wake.set()

    @staticmethod
    def resolve(group: Sequence[PendingWrite], results: Sequence[OperationResult]) -> None:
        """Resolve the future of each caller."""
        for pending, result in zip(group, results, strict=True):
            if pending.future.done():  # the caller was cancelled meanwhile
                continue
            if result.error is None:
                pending.future.set_result(result.value)
            else:
                pending.future.set_exception(result.error)

    @staticmethod
    def _take_from(queue: deque[PendingWrite]) -> list[PendingWrite]:
        """Remove and return the first operations of one class. Drops those whose caller was cancelled."""
        group: list[PendingWrite] = []
        rows = 0
        while queue and len(group) < GROUP_MAX and (not group or rows + queue[0].rows <= BULK_ROWS_MAX):
            pending = queue.popleft()
            if not pending.future.done():
                group.append(pending)
                rows += pending.rows
        return group
