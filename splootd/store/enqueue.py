"""Enqueueing found files: bounded batches, one transaction each."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeVar

from splootd.core.item import FoundFile, Priority, Version
from splootd.event_bus import WakeSignals
from splootd.store.database import Database
from splootd.store.upsert import EnqueueResult, Source, Upsert, UpsertResult

T = TypeVar("T")

ENQUEUE_BATCH_MAX = 1_000  # files in one transaction
SMALL_BATCH_MAX = 100  # files that do not wait behind the thousands of a scan: a user may be waiting for them


class EnqueueStore:
    """Adds files to the queue of one server. Times are seconds since the epoch."""

    def __init__(self, database: Database, *, server_id: int, wake_signals: WakeSignals) -> None:
        self._database = database
        self._server_id = server_id
        self._wake_signals = wake_signals

    async def enqueue(
        self,
        files: Sequence[FoundFile],
        source: Source,
        *,
        is_still_there: Callable[[bytes, Version], bool],
        now: float,
    ) -> list[EnqueueResult]:
        """Upsert at most ENQUEUE_BATCH_MAX files in one transaction, by the rules of `upsert.Upsert`.

        `is_still_there` runs on the database thread while other writes wait, so it may cost one lstat and no more.
        """
        if len(files) > ENQUEUE_BATCH_MAX:
            raise ValueError(f"{len(files)} files in one batch; at most {ENQUEUE_BATCH_MAX} are allowed")

        def op(connection: sqlite3.Connection) -> list[EnqueueResult]:
            upsert = Upsert(connection, source, server_id=self._server_id, is_still_there=is_still_there, now=now)
            return upsert.apply_all(files)

        results = await self._write_files(op, len(files))
        self._wake_for(results)
        return results

    async def dry_run(
        self,
        files: Sequence[FoundFile],
        *,
        force: bool,
        is_still_there: Callable[[bytes, Version], bool],
        now: float,
    ) -> list[UpsertResult]:
        """Return the results that `enqueue` would have. Changes nothing and sends no event."""
        source = Source(None, None, Priority.NORMAL, (), force)

        def op(connection: sqlite3.Connection) -> list[UpsertResult]:
            upsert = Upsert(connection, source, server_id=self._server_id, is_still_there=is_still_there, now=now)
            # The real rules run and a savepoint undoes them: a second, read-only copy of the rules would drift apart
            # from the first. ROLLBACK TO keeps the savepoint on the stack; only RELEASE removes it.
            connection.execute("SAVEPOINT dry_run")
            try:
                return [upsert.apply(file).outcome for file in files]
            finally:
                connection.execute("ROLLBACK TO dry_run")
                connection.execute("RELEASE dry_run")

        return await self._database.write(op, bulk=True)

    async def _write_files(self, op: Callable[[sqlite3.Connection], T], file_count: int) -> T:
        """Write a batch of files, a small one as urgent.

        For a small batch the workers wake before its commit, not after it: their claims queue behind the batch and
        join its commit while the writer is busy, which saves an urgent file the wait for one more commit.
        """
        if file_count > SMALL_BATCH_MAX:
            return await self._database.write(op, bulk=True, rows=file_count)
        return await self._database.write(op, urgent=True, on_queued=self._wake_signals.work.notify)

    def _wake_for(self, results: Sequence[EnqueueResult]) -> None:
        if any(result.outcome is not UpsertResult.KNOWN for result in results):
            if len(results) > SMALL_BATCH_MAX:
                self._wake_signals.work.notify()
            self._wake_signals.events.notify()
