"""Access to the database file: one connection that writes and checkpoints, and two that only read."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from splootd.errors import StoreError, StoreFull
from splootd.store import schema
from splootd.store.connection import Connection
from splootd.store.transaction import (
    OperationResult,
    closed_error,
    commit_all,
    is_connection_usable,
    is_database_error,
    read_snapshot,
    to_store_error,
)
from splootd.store.write_queue import BULK_ROWS_MAX, PendingWrite, WriteQueue

T = TypeVar("T")

READER_COUNT = 2
CHECK_AT_OPEN_BYTES_MAX = 32 << 20  # a check of this size takes less than a second


class Database:
    """One SQLite file. `open` it first, and `close` it at the end.

    Writes are committed in groups: one task takes all pending operations, runs them as one transaction on the thread
    of the connection, and resolves each caller after COMMIT has returned. No caller ever holds a transaction, so a
    cancelled caller cannot leave one open or roll back the write of another caller.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.was_clean_shutdown = True
        self.full_error: StoreFull | None = None  # of the last write, if the disk was full
        self._write_queue = WriteQueue()
        self._consecutive_failures = 0
        self._writer: Connection | None = None
        self._readers: list[Connection] = []
        self._writer_task: asyncio.Task[None] | None = None
        self._check_lock = asyncio.Lock()
        self._checker: Connection | None = None

    def __repr__(self) -> str:
        return f"Database({self.path}, {self._write_queue})"

    @classmethod
    async def open(cls, path: Path, *, migrate_backup: bool = True) -> "Database":
        """Open or create the database at `path`, and migrate its schema to the newest version.

        Raises StoreNewer, StoreDamaged, StoreFull or StoreFailed; the file is then unchanged. After an unclean shutdown
        a small database is checked here. A large one is unchecked until the next check, which a setting records.
        """
        database = cls(path)
        try:
            await database._open(back_up=migrate_backup)
        except BaseException as error:
            await database._close_connections()
            if isinstance(error, (sqlite3.Error, OSError)):
                raise to_store_error(error, path) from error
            raise
        database._writer_task = asyncio.create_task(database._write_groups())
        return database

    @classmethod
    async def verify(cls, path: Path) -> None:
        """Raise StoreDamaged or StoreNewer unless the database at `path` is usable. Reads the whole file."""
        try:
            connection = await Connection.open(path, schema.prepare_reader, mode="ro")
            try:
                await connection.run(partial(schema.verify, path=path))
            finally:
                await connection.close()
        except sqlite3.Error as error:
            raise to_store_error(error, path) from error

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
        on_queued: Callable[[], None] = lambda: None,
    ) -> T:
        """Run `op` in a transaction on the writer's thread, and return its result after the commit.

        An exception of `op` rolls back `op` and is raised here. An `urgent` operation runs before all others, in a
        commit of its own. A `bulk` operation runs after all others; with few `rows` it shares a commit with other bulk
        operations. Raises StoreFull if the disk is full and nothing was written, and StoreFailed if the outcome is
        unknown: read the state before you repeat the write. After a cancellation `op` is committed whole or not at all.

        `on_queued` is called as soon as `op` is queued: a write from then on runs after `op`, in the same commit where
        possible.
        """
        if self._write_queue.closed:
            raise closed_error(self.path)
        return await self._write_queue.run(op, urgent=urgent, bulk_rows=rows if bulk else 0, on_queued=on_queued)

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run `query` on one committed state of the database. It cannot write."""
        if self._write_queue.closed:
            raise closed_error(self.path)
        reader = min(self._readers, key=lambda reader: reader.pending_count)
        try:
            return await reader.run(partial(read_snapshot, query=query))
        except sqlite3.Error as error:
            if is_database_error(error):
                raise to_store_error(error, self.path) from error
            raise

    async def ping(self) -> None:
        """Run an empty operation on the writer. Returning proves that the writer works."""
        await self.write(lambda _: None)

    async def check_integrity(self) -> None:
        """Raise StoreDamaged if the file is damaged.

        Takes about 5 s per million items, on a connection of its own, so no write waits for it. `close` interrupts it.
        """
        async with self._check_lock:
            try:
                checker = self._checker = await Connection.open(self.path, schema.prepare_reader, mode="rw")
                try:
                    if self._write_queue.closed:
                        raise closed_error(self.path)
                    await checker.run(partial(schema.check_integrity, path=self.path))
                finally:
                    self._checker = None  # first: a cancellation may interrupt the close, and `close` must not use it
                    await checker.interrupt()  # a cancelled caller leaves the check running
                    await checker.close()
            except sqlite3.Error as error:
                raise (
                    closed_error(self.path) if self._write_queue.closed else to_store_error(error, self.path)
                ) from error

    async def backup(self, target: Path) -> None:
        """Copy the current state to `target`, whole or not at all. Writes wait about 1 s per million items."""
        if self._write_queue.closed or self._writer is None:
            raise closed_error(self.path)
        try:
            await self._writer.run(partial(schema.copy_to, target=target))
        except (sqlite3.Error, OSError) as error:
            raise to_store_error(error, target) from error

    async def run(self) -> None:
        """Return when the database is closed. Raises the StoreError that stopped the writer, to end the process."""
        if self._writer_task is not None:
            await asyncio.wait([self._writer_task])
            self._writer_task.result()

    async def close(self) -> None:
        """Write all pending operations, record the clean shutdown, and close."""
        if self._writer_task is None:
            return
        self._write_queue.close()
        try:
            if self._checker is not None:
                await self._checker.interrupt()
            # A checkpoint cannot move pages that a reader still uses, and the final one must empty the log.
            async with self._check_lock:
                await asyncio.wait([self._writer_task])
            if self._writer is not None and not self._writer_task.cancelled() and self._writer_task.exception() is None:
                with contextlib.suppress(sqlite3.Error):  # without the mark, the next start checks the file
                    await self._writer.run(schema.mark_clean_shutdown)
        finally:
            await self._close_connections()  # the thread of an open connection would keep the process from exiting

    async def _open(self, *, back_up: bool) -> None:
        checked = await self._inspect_file() if self.path.exists() and self.path.stat().st_size else None
        await self._connect_writer()
        assert self._writer is not None
        await self._writer.run(partial(schema.migrate, path=self.path, back_up=back_up))
        await self._writer.run(partial(schema.mark_started, checked=checked))
        self._readers = await self._connect_readers()

    async def _inspect_file(self) -> bool | None:
        """Return None after a clean shutdown, True if the file was checked, False if it is too large to check now.

        The connection is read-only: a normal one would checkpoint the write-ahead log when it closes, and a file that
        is refused must stay unchanged.

        A rollback journal exists only after a crash while the file was created or switched to WAL. It must be rolled
        back before the first read, which a read-only connection cannot do.
        """
        interrupted = self.path.with_name(f"{self.path.name}-journal").exists()
        connection = await Connection.open(self.path, schema.prepare_reader, mode="rw" if interrupted else "ro")
        try:
            self.was_clean_shutdown = await connection.run(partial(schema.inspect, path=self.path))
            if self.was_clean_shutdown:
                return None
            if self.path.stat().st_size > CHECK_AT_OPEN_BYTES_MAX:
                return False
            await connection.run(partial(schema.check_integrity, path=self.path))
            return True
        finally:
            await connection.close()

    async def _connect_writer(self) -> None:
        self._writer = await Connection.open(self.path, partial(schema.prepare_writer, path=self.path), mode="rwc")

    async def _connect_readers(self) -> list[Connection]:
        # Not mode=ro: in WAL mode a reader takes its locks in the -shm file, which it must be able to write.
        # PRAGMA query_only keeps these connections from writing to the database.
        readers: list[Connection] = []
        try:
            while len(readers) < READER_COUNT:
                readers.append(await Connection.open(self.path, schema.prepare_reader, mode="rw"))
        except BaseException:
            for reader in readers:
                await reader.close()
            raise
        return readers

    async def _close_connections(self) -> None:
        # The writer closes last: the last connection to close checkpoints, and only the writer may do that.
        connections = [*self._readers, self._writer]
        self._readers, self._writer = [], None
        for connection in connections:
            if connection is not None:
                await connection.close()

    async def _write_groups(self) -> None:
        """Write group after group until the database is closed. Raises the StoreError that makes writing impossible."""
        try:
            while group := await self._write_queue.take():
                await self._write_group(group)
        finally:
            self._write_queue.close()
            while group := await self._write_queue.take():
                self._write_queue.resolve(group, [OperationResult(error=closed_error(self.path))] * len(group))

    async def _write_group(self, group: list[PendingWrite]) -> None:
        assert self._writer is not None
        try:
            committed = await self._writer.run(partial(commit_all, ops=[pending.op for pending in group]))
        except sqlite3.Error as error:
            failure = to_store_error(error, self.path)
            self.full_error = failure if isinstance(failure, StoreFull) else None
            try:
                if not is_connection_usable(error):
                    await self._reopen(failure)
            finally:
                # Resolve after the reopening: a caller that reads the state now must read what reached the disk, not
                # the cache of the connection that failed.
                self._write_queue.resolve(group, [OperationResult(error=failure)] * len(group))
        else:
            if committed.wrote:
                self._consecutive_failures, self.full_error = 0, None
            self._write_queue.resolve(group, committed.results)

    async def _reopen(self, failure: StoreError) -> None:
        """Reopen the file after an I/O error. Raises `failure` if it is the second one in a row.

        The outcome of the COMMIT is unknown: a failed fsync may have written all pages, some or none, and the kernel
        marks them clean either way, so a second fsync that succeeds proves nothing. Only the file itself counts.
        """
        self._consecutive_failures += 1
        if self._consecutive_failures > 1:
            raise failure
        assert self._writer is not None
        await self._writer.close()
        old_readers = self._readers
        try:
            await self._connect_writer()
            self._readers = await self._connect_readers()
        except sqlite3.Error as error:
            raise to_store_error(error, self.path) from error
        for reader in old_readers:  # close runs after the queries that they have accepted already
            await reader.close()
