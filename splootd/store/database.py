"""The one door to the store: a connection that writes and checkpoints, and two that only read."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from splootd.errors import StoreError
from splootd.store import schema
from splootd.store.connection import Connection
from splootd.store.lanes import BULK_ROWS_MAX, Lanes, Waiting
from splootd.store.transaction import (
    Outcome,
    closed_error,
    commit_all,
    is_of_the_database,
    leaves_the_connection_well,
    snapshot,
    store_error,
)

T = TypeVar("T")

READERS = 2
CHECK_AT_OPEN_BYTES_MAX = 32 << 20  # a check of this much takes less than a second


class Database:
    """One SQLite file. `open` it, and `close` it in the end.

    What waits to be written is written in groups: one task takes all that waits, runs it as one transaction on the
    connection's thread, and answers each caller after COMMIT has returned. No caller ever holds a transaction, so none
    can leave one open, or undo a neighbour's write, by being cancelled.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.was_clean = True
        self._lanes = Lanes()
        self._failures = 0  # in a row
        self._writer: Connection | None = None
        self._readers: list[Connection] = []
        self._writing: asyncio.Task[None] | None = None
        self._checking = asyncio.Lock()
        self._checker: Connection | None = None

    def __repr__(self) -> str:
        return f"Database({self.path}, {self._lanes})"

    @classmethod
    async def open(cls, path: Path, *, migrate_backup: bool = True) -> "Database":
        """Open or create the database at `path`, and lead its schema to the newest version.

        Raises StoreNewer, StoreDamaged, StoreFull or StoreFailed; the file is left as it was. After an unclean stop a
        small database is checked here; a large one is in doubt until it is, and the settings say so.
        """
        database = cls(path)
        try:
            await database._open(back_up=migrate_backup)
        except BaseException as error:
            await database._close_connections()
            if isinstance(error, (sqlite3.Error, OSError)):
                raise store_error(error, path) from error
            raise
        database._writing = asyncio.create_task(database._write_groups())
        return database

    @classmethod
    async def verify(cls, path: Path) -> None:
        """StoreDamaged or StoreNewer unless the database at `path` can be used. Reads all of it, changes nothing."""
        try:
            connection = await Connection.open(path, schema.prepare_reader, mode="ro")
            try:
                await connection.run(partial(schema.verify, path=path))
            finally:
                await connection.close()
        except sqlite3.Error as error:
            raise store_error(error, path) from error

    @property
    def sqlite_version(self) -> str:
        return sqlite3.sqlite_version

    async def write(
        self,
        op: Callable[[sqlite3.Connection], T],
        *,
        urgent: bool = False,
        bulk: bool = False,
        rows: int = BULK_ROWS_MAX,
        queued: Callable[[], None] = lambda: None,
    ) -> T:
        """Run `op` in a transaction on the writer's thread, and return what it returned once that is committed.

        What `op` raises undoes `op` and comes out here. What is urgent goes ahead of everything else, in a commit of
        its own; bulk waits behind everything else, and of few `rows` it shares a commit with other bulk. Raises
        StoreFull when there was no room and nothing was written, and StoreFailed when nobody knows: look again before
        you repeat it. After a cancellation it is written whole or not at all, and nobody knows which.

        `queued` is called at once: what is written from then on is written after `op`, and in its commit where it can.
        """
        if self._lanes.closed:
            raise closed_error(self.path)
        return await self._lanes.run(op, urgent=urgent, bulk_rows=rows if bulk else 0, queued=queued)

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run `query` on one committed state of the database. It cannot write."""
        if self._lanes.closed:
            raise closed_error(self.path)
        reader = min(self._readers, key=lambda reader: reader.waiting)
        try:
            return await reader.run(partial(snapshot, query=query))
        except sqlite3.Error as error:
            if is_of_the_database(error):
                raise store_error(error, self.path) from error
            raise

    async def touch(self) -> None:
        """Go once to the writer and back, and write nothing: who returns has seen that it works."""
        await self.write(lambda _: None)

    async def check(self) -> None:
        """StoreDamaged when the file does not hold together.

        Takes about 5 s a million items, for which it has a connection of its own: nobody waits for it. Closing ends it.
        """
        async with self._checking:
            try:
                self._checker = await Connection.open(self.path, schema.prepare_reader, mode="rw")
                if self._lanes.closed:
                    raise closed_error(self.path)
                await self._checker.run(partial(schema.check, path=self.path))
            except sqlite3.Error as error:
                raise closed_error(self.path) if self._lanes.closed else store_error(error, self.path) from error
            finally:
                if self._checker is not None:
                    await self._checker.interrupt()  # whoever asked may have left
                    await self._checker.close()
                    self._checker = None

    async def backup(self, target: Path) -> None:
        """A copy as of now, which appears at `target` whole or not at all. Writes wait about 1 s a million items."""
        if self._lanes.closed or self._writer is None:
            raise closed_error(self.path)
        try:
            await self._writer.run(partial(schema.copy_to, target=target))
        except (sqlite3.Error, OSError) as error:
            raise store_error(error, target) from error

    async def run(self) -> None:
        """Return when the database is closed; raise the StoreError that ended the writing, so that the process ends."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
            self._writing.result()

    async def close(self) -> None:
        """Write what still waits, note the clean stop, and close."""
        if self._writing is None:
            return
        self._lanes.close()
        if self._checker is not None:
            await self._checker.interrupt()
        async with self._checking:  # what it still reads in the log could not leave it
            await asyncio.wait([self._writing])
        if self._writer is not None and not self._writing.cancelled() and self._writing.exception() is None:
            with contextlib.suppress(sqlite3.Error):  # without the note, the next start checks the file
                await self._writer.run(schema.note_stop)
        await self._close_connections()

    async def _open(self, *, back_up: bool) -> None:
        checked = await self._examine() if self.path.exists() and self.path.stat().st_size else None
        await self._connect_writer()
        assert self._writer is not None
        await self._writer.run(partial(schema.migrate, path=self.path, back_up=back_up))
        await self._writer.run(partial(schema.note_start, checked=checked))
        self._readers = await self._connect_readers()

    async def _examine(self) -> bool | None:
        """Whether it was checked after an unclean stop, or is too large for that now; None after a clean one.

        On a connection that cannot write, not even when it is closed: what is refused stays as it is.

        Only a crash while the file was made, or switched to its write-ahead log, leaves a journal: it must be undone
        before anything can be read.
        """
        interrupted = self.path.with_name(f"{self.path.name}-journal").exists()
        connection = await Connection.open(self.path, schema.prepare_reader, mode="rw" if interrupted else "ro")
        try:
            self.was_clean = await connection.run(partial(schema.examine, path=self.path))
            if self.was_clean:
                return None
            if self.path.stat().st_size > CHECK_AT_OPEN_BYTES_MAX:
                return False
            await connection.run(partial(schema.check, path=self.path))
            return True
        finally:
            await connection.close()

    async def _connect_writer(self) -> None:
        self._writer = await Connection.open(self.path, partial(schema.prepare_writer, path=self.path), mode="rwc")

    async def _connect_readers(self) -> list[Connection]:
        readers: list[Connection] = []
        try:
            while len(readers) < READERS:
                readers.append(await Connection.open(self.path, schema.prepare_reader, mode="rw"))
        except BaseException:
            for reader in readers:
                await reader.close()
            raise
        return readers

    async def _close_connections(self) -> None:
        # The writer last: whoever closes last checkpoints.
        connections = [*self._readers, self._writer]
        self._readers, self._writer = [], None
        for connection in connections:
            if connection is not None:
                await connection.close()

    async def _write_groups(self) -> None:
        """The writer's loop. Ends when the database is closed, or with the StoreError that makes writing impossible."""
        try:
            while group := await self._lanes.take():
                await self._write_group(group)
        finally:
            self._lanes.close()
            while group := await self._lanes.take():
                self._lanes.answer(group, [Outcome(error=closed_error(self.path))] * len(group))

    async def _write_group(self, group: list[Waiting]) -> None:
        assert self._writer is not None
        try:
            committed = await self._writer.run(partial(commit_all, ops=[waiting.op for waiting in group]))
        except sqlite3.Error as error:
            failure = store_error(error, self.path)
            try:
                if not leaves_the_connection_well(error):
                    await self._reopen(failure)
            finally:
                # Only now, so that whoever looks again looks at the reopened database.
                self._lanes.answer(group, [Outcome(error=failure)] * len(group))
        else:
            if committed.wrote:
                self._failures = 0
            self._lanes.answer(group, committed.outcomes)

    async def _reopen(self, failure: StoreError) -> None:
        """After an I/O error nobody knows what is written: start anew from the file. The second in a row is the end."""
        self._failures += 1
        if self._failures > 1:
            raise failure
        assert self._writer is not None
        await self._writer.close()
        former = self._readers
        try:
            await self._connect_writer()
            self._readers = await self._connect_readers()
        except sqlite3.Error as error:
            raise store_error(error, self.path) from error
        for reader in former:  # what they have been asked already they still answer
            await reader.close()
