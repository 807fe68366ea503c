"""Connections to SQLite: a writer thread with group commit, reader threads, and schema migrations.

SQLite 3.7.0 to 3.51.2 can corrupt a file when two connections checkpoint while one writes, so only one connection
writes *and* checkpoints; the others are `query_only` and never checkpoint.

Every COMMIT costs one fsync (`synchronous=FULL`). Group commit shares it: operations that arrive during a COMMIT run in
the next transaction, each in a savepoint of its own, and every caller gets its result only after COMMIT has returned.
"""

import asyncio
import contextlib
import json
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from sploot_server.storage.interfaces import DatabaseError

T = TypeVar("T")

OPERATIONS_PER_COMMIT_MAX = 256
DATABASE_NAME = "library.db"
APPLICATION_ID = 0x53706C74  # "Splt"
READERS_MAX = 4  # the searches that may run at once, and as many threads for what must not wait for them
WAL_BYTES_MAX = 64 * 1024 * 1024

PRAGMAS = f"""
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA fullfsync = ON;
    PRAGMA trusted_schema = OFF;
    PRAGMA journal_size_limit = {WAL_BYTES_MAX};
"""


class Database:
    """One SQLite file; `write` and `read` run a function with a connection, on the writer's or on a reader's thread.

    The write queue is unbounded: callers wait for their results, and the limit on concurrent requests bounds them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._write_queue: queue.SimpleQueue[_WriteOperation | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._run_writer, name="database-writer", daemon=True)
        self._readers = ThreadPoolExecutor(READERS_MAX, thread_name_prefix="database-reader")
        self._idle_connections: queue.LifoQueue[sqlite3.Connection] = (
            queue.LifoQueue()
        )  # the one with the warmest cache

    def open(self) -> None:
        """Open or create the file and migrate it to the newest schema. Raises DatabaseError and overwrites nothing."""
        with contextlib.ExitStack() as undo:
            try:
                self._write_connection = _connect(self._path)
                undo.callback(self._write_connection.close)
                version = _read_schema_version(self._write_connection, self._path)
                self._write_connection.executescript(PRAGMAS)
                _migrate(self._write_connection, version, self._path)
                self._lookup_connection, *readers = (_connect(self._path) for _ in range(1 + READERS_MAX))
                for connection in (self._lookup_connection, *readers):
                    undo.callback(connection.close)
                    connection.executescript("PRAGMA query_only = ON; PRAGMA wal_autocheckpoint = 0;")
                for connection in readers:
                    self._idle_connections.put(connection)
            except sqlite3.Error as error:
                raise DatabaseError(f"{self._path} cannot be opened: {error}. The file was not modified.") from error
            self._loop = asyncio.get_running_loop()
            self._writer.start()
            undo.pop_all()

    async def write(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Run `operation` in a savepoint; return its result once it is durable. Its exception undoes it alone."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._write_queue.put(_WriteOperation(operation, future))
        return await future

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run `query` on a reading connection; it sees the effects of every completed `write`."""

        def run() -> T:
            connection = self._idle_connections.get()
            try:
                return query(connection)
            finally:
                self._idle_connections.put(connection)

        return await self._loop.run_in_executor(self._readers, run)

    async def fetch(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """Run one statement that only reads, and return its rows. Its parameters are `$1`, `$2` and so on."""
        return await self.read(lambda connection: fetch(connection, statement, values))

    async def fetch_row(self, statement: str, *values: Any) -> sqlite3.Row | None:
        """Return the row that a lookup by key finds.

        It runs on the event loop: it takes 20 us, and the way to a reader's thread and back 200. A wall asks for fifty
        thumbnails, each of which looks up a token and an asset.
        """
        return next(iter(fetch(self._lookup_connection, statement, values)), None)

    async def execute(self, *statements: str, values: Sequence[Any]) -> list[sqlite3.Row]:
        """Run statements with the same values in one transaction; return the rows of the last once it is durable."""
        return await self.write(lambda connection: [fetch(connection, each, values) for each in statements][-1])

    async def copy_to(self, target: Path) -> None:
        """Write a consistent copy of the file to `target`, which it replaces; reads and writes go on meanwhile."""
        await asyncio.to_thread(self._copy_to, target)

    def _copy_to(self, target: Path) -> None:
        # A connection of its own: the reads of requests do not wait. It must not checkpoint: see above.
        target.unlink(missing_ok=True)
        with contextlib.closing(_connect(self._path)) as source, contextlib.closing(_connect(target)) as copy:
            source.executescript("PRAGMA query_only = ON; PRAGMA wal_autocheckpoint = 0;")
            source.backup(copy)

    async def close(self) -> None:
        """Finish the queued writes, checkpoint the WAL and close both connections."""
        self._write_queue.put(None)
        await asyncio.to_thread(self._writer.join)
        await asyncio.to_thread(self._readers.shutdown)
        while not self._idle_connections.empty():
            self._idle_connections.get().close()
        self._lookup_connection.close()
        self._write_connection.close()

    def _run_writer(self) -> None:
        is_open = True
        while is_open:
            group: list[_WriteOperation] = []
            operation = self._write_queue.get()
            while operation is not None and len(group) < OPERATIONS_PER_COMMIT_MAX:
                group.append(operation)
                if len(group) == OPERATIONS_PER_COMMIT_MAX or self._write_queue.empty():
                    break
                operation = self._write_queue.get()
            is_open = operation is not None
            if group:
                results = self._commit_group(group)
                self._loop.call_soon_threadsafe(_resolve_futures, group, results)

    def _commit_group(self, group: Sequence["_WriteOperation"]) -> list[Any]:
        connection = self._write_connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            results = [self._run_in_savepoint(operation) for operation in group]
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            return [error] * len(group)
        return results

    def _run_in_savepoint(self, operation: "_WriteOperation") -> Any:
        connection = self._write_connection
        connection.execute("SAVEPOINT operation")
        try:
            result = operation.run(connection)
        except Exception as error:
            if not connection.in_transaction:
                # SQLite rolls back the whole transaction on a full disk or an I/O error, not just the savepoint: no
                # operation of this group was stored, although earlier ones have already returned a result.
                raise sqlite3.OperationalError(str(error)) from error
            connection.execute("ROLLBACK TO operation")
            result = error
        connection.execute("RELEASE operation")
        return result


class _WriteOperation:
    __slots__ = ("future", "run")

    def __init__(self, run: Callable[[sqlite3.Connection], Any], future: asyncio.Future[Any]) -> None:
        self.run = run
        self.future = future


def _resolve_futures(group: Sequence[_WriteOperation], results: Sequence[Any]) -> None:
    for operation, result in zip(group, results, strict=True):
        if operation.future.cancelled():
            continue
        if isinstance(result, Exception):
            operation.future.set_exception(result)
        else:
            operation.future.set_result(result)


def fetch(connection: sqlite3.Connection, statement: str, values: Sequence[Any]) -> list[sqlite3.Row]:
    """Run a statement. SQLite takes `$1` for the parameter with the name 1; a list becomes JSON, for `json_each`."""
    parameters = {
        str(number): json.dumps(value) if isinstance(value, list | tuple) else value
        for number, value in enumerate(values, 1)
    }
    return connection.execute(statement, parameters).fetchall()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    connection.row_factory = sqlite3.Row
    return connection


def _read_schema_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the schema version of the file, 0 if it is new. Raises DatabaseError if the file is unsuitable."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if application != APPLICATION_ID and not empty:
        raise DatabaseError(
            f"{path} is the database of another program. Choose another folder with --data. The file was not modified."
        )
    if version > len(_migrations()):
        raise DatabaseError(
            f"{path} has schema version {version}; this sploot-server supports up to {len(_migrations())}. "
            "Install a newer sploot-server. The file was not modified."
        )
    return int(version)


def _migrate(connection: sqlite3.Connection, version: int, path: Path) -> None:
    """Apply the missing migrations, each in a transaction of its own."""
    # A migration may rebuild a table. With foreign keys on, dropping the old table would first delete the rows that
    # reference it; and the pragma is a no-op within a transaction, so it is set before BEGIN.
    connection.execute("PRAGMA foreign_keys = OFF")
    for step, script in enumerate(_migrations()[version:], version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {script}; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {step}"
        )
        if connection.execute("PRAGMA foreign_key_check").fetchall():
            raise DatabaseError(
                f"{path} has rows with broken references; the migration to schema version {step} was rolled back."
            )
        connection.execute("COMMIT")
    connection.execute("PRAGMA foreign_keys = ON")


def _migrations() -> Sequence[str]:
    """Return the scripts `migrations/1.sql`, `2.sql`, ...: the nth migrates from schema version n - 1 to n."""
    scripts = [each for each in (resources.files(__package__) / "migrations").iterdir() if each.name.endswith(".sql")]
    return [each.read_text() for each in sorted(scripts, key=lambda each: int(each.name.removesuffix(".sql")))]
