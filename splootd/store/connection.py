"""A SQLite connection on a thread of its own."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import aiosqlite

from splootd.store import schema

T = TypeVar("T")


class Connection:
    """Runs plain functions one after another on the thread of one connection."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self.pending_count = 0  # functions that wait or run

    @classmethod
    async def open(cls, path: Path, prepare: Callable[[sqlite3.Connection], None], *, mode: str) -> "Connection":
        """Open a connection and run `prepare` on it. `mode` is ro, rw or rwc."""
        # Without isolation_level=None, Python's sqlite3 opens a transaction before an INSERT or UPDATE outside of one,
        # and the statement stays uncommitted.
        connecting = aiosqlite.connect(schema.uri(path, mode=mode), uri=True, isolation_level=None)
        try:
            connection = cls(await connecting)
        except BaseException:
            # aiosqlite does not join its thread here. The thread would then call an event loop that may be closed.
            connecting._thread.join()  # noqa: SLF001
            raise
        try:
            await connection.run(prepare)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run `function` on the thread, with one switch to it and back.

        aiosqlite's public methods switch threads once for each statement, which makes a group commit three times
        slower. Its `_execute` is private, so its version is pinned below the next minor one, and a test runs it.
        """
        self.pending_count += 1
        try:
            return cast(T, await self._connection._execute(function, self._connection._conn))  # type: ignore[no-untyped-call] # noqa: SLF001
        finally:
            self.pending_count -= 1

    async def interrupt(self) -> None:
        """Make the running function fail with SQLITE_INTERRUPT."""
        await self._connection.interrupt()

    async def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):  # this loses nothing: every acknowledged write is on the disk
            await self._connection.close()
