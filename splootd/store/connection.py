"""A connection to SQLite with a thread of its own."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import aiosqlite

from splootd.store import schema

T = TypeVar("T")


class Connection:
    """One connection on a thread of its own, where plain functions run one after another."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self.waiting = 0  # functions that wait or run

    @classmethod
    async def open(cls, path: Path, prepare: Callable[[sqlite3.Connection], None], *, mode: str) -> "Connection":
        connecting = aiosqlite.connect(schema.uri(path, mode=mode), uri=True, isolation_level=None)
        try:
            connection = cls(await connecting)
        except BaseException:
            # aiosqlite does not wait for the end of its thread here, which then speaks to a loop that may be closed.
            connecting._thread.join()  # noqa: SLF001
            raise
        try:
            await connection.run(prepare)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the thread, in one hop.

        aiosqlite's public methods hop once per statement, which makes a group commit three times slower. Its
        `_execute` is private; so its version is pinned below the next minor one, and a test runs it.
        """
        self.waiting += 1
        try:
            return cast(T, await self._connection._execute(work, self._connection._conn))  # type: ignore[no-untyped-call] # noqa: SLF001
        finally:
            self.waiting -= 1

    async def interrupt(self) -> None:
        """Let what runs fail now."""
        await self._connection.interrupt()

    async def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # nothing is lost by it: what is acknowledged is on the disk
            await self._connection.close()
