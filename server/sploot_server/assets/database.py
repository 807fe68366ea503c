"""The only place with a connection: one thread writes in groups, one thread reads.

SQLite 3.7.0 to 3.51.2 can corrupt a file when two connections checkpoint while one writes, so exactly one
connection here writes *and* checkpoints; the reading one is `query_only` and never checkpoints.

Durability is one fsync per COMMIT (`synchronous=FULL`), so whatever waits while a COMMIT runs goes into the next one
together: each operation in a savepoint of its own, each caller answered only after COMMIT has returned.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

GROUP_MAX = 256  # operations in one COMMIT
APPLICATION_ID = 0x53706C74  # "Splt"
WAL_BYTES_MAX = 64 * 1024 * 1024

PRAGMAS = f"""
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA fullfsync = ON;
    PRAGMA trusted_schema = OFF;
    PRAGMA journal_size_limit = {WAL_BYTES_MAX};
"""


class DatabaseError(Exception):
    """The database cannot be used as it is; the message says what was found and where."""


class Database:
    """`write` and `read` run a function with a connection, each on its own thread.

    The queue of writes needs no bound of its own: a caller waits for its answer, and the number of callers is bounded
    by the requests the server admits at once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_groups, name="database-writer", daemon=True)
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database-reader")

    def open(self) -> None:
        """Open or create the file and bring it to the newest schema. Raises DatabaseError; nothing is overwritten."""
        with contextlib.ExitStack() as undo:
            try:
                self._write_connection = _connect(self._path)
                undo.callback(self._write_connection.close)
                version = _known_version(self._write_connection, self._path)
                self._write_connection.executescript(PRAGMAS)
                _migrate(self._write_connection, version, self._path)
                self._read_connection = _connect(self._path)
                undo.callback(self._read_connection.close)
                self._read_connection.executescript("PRAGMA query_only = ON; PRAGMA wal_autocheckpoint = 0;")
            except sqlite3.Error as error:
                raise DatabaseError(f"{self._path} cannot be opened: {error}. It was left as it is.") from error
            self._loop = asyncio.get_running_loop()
            self._writer.start()
            undo.pop_all()

    async def write(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Run `operation` in a savepoint; return its value once it is durable. Its exception undoes only itself."""
        done: asyncio.Future[T] = self._loop.create_future()
        self._waiting.put(_Operation(operation, done))
        return await done

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run `query` on the reading connection; it sees all that was answered by `write` before."""
        return await self._loop.run_in_executor(self._reader, query, self._read_connection)

    async def close(self) -> None:
        """Finish what waits, move the log into the file, close."""
        self._waiting.put(None)
        await asyncio.to_thread(self._writer.join)
        await asyncio.to_thread(self._reader.shutdown)
        self._read_connection.close()
        self._write_connection.close()

    def _write_groups(self) -> None:
        more = True
        while more:
            group: list[_Operation] = []
            operation = self._waiting.get()
            while operation is not None and len(group) < GROUP_MAX:
                group.append(operation)
                if len(group) == GROUP_MAX or self._waiting.empty():
                    break
                operation = self._waiting.get()
            more = operation is not None
            if group:
                outcomes = self._commit(group)
                self._loop.call_soon_threadsafe(_answer, group, outcomes)

    def _commit(self, group: Sequence["_Operation"]) -> list[Any]:
        connection = self._write_connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            outcomes = [self._attempt(operation) for operation in group]
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            return [error] * len(group)
        return outcomes

    def _attempt(self, operation: "_Operation") -> Any:
        connection = self._write_connection
        connection.execute("SAVEPOINT operation")
        try:
            outcome = operation.run(connection)
        except Exception as error:
            if not connection.in_transaction:
                # A full disk or an I/O error ends the whole transaction: nobody in this group was stored.
                raise sqlite3.OperationalError(str(error)) from error
            connection.execute("ROLLBACK TO operation")
            outcome = error
        connection.execute("RELEASE operation")
        return outcome


class _Operation:
    __slots__ = ("done", "run")

    def __init__(self, run: Callable[[sqlite3.Connection], Any], done: asyncio.Future[Any]) -> None:
        self.run = run
        self.done = done


def _answer(group: Sequence[_Operation], outcomes: Sequence[Any]) -> None:
    for operation, outcome in zip(group, outcomes, strict=True):
        if operation.done.cancelled():
            continue
        if isinstance(outcome, Exception):
            operation.done.set_exception(outcome)
        else:
            operation.done.set_result(outcome)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    connection.row_factory = sqlite3.Row
    return connection


def _known_version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema version of the file, 0 if it is new. Raises DatabaseError if it is not for this program."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if application != APPLICATION_ID and not empty:
        raise DatabaseError(f"{path} is a database of another program; choose another folder with --data.")
    if version > len(_migrations()):
        raise DatabaseError(
            f"{path} has schema {version}, this program knows {len(_migrations())}; install a newer one."
        )
    return int(version)


def _migrate(connection: sqlite3.Connection, version: int, path: Path) -> None:
    """Each step in a transaction of its own, foreign keys checked at its end: a script may rebuild a table.

    That needs them off meanwhile, and SQLite switches them outside of transactions only.
    """
    connection.execute("PRAGMA foreign_keys = OFF")
    for step, script in enumerate(_migrations()[version:], version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {script}; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {step}"
        )
        if connection.execute("PRAGMA foreign_key_check").fetchall():
            raise DatabaseError(f"{path} has rows that refer to nothing; it cannot be brought to schema {step}.")
        connection.execute("COMMIT")
    connection.execute("PRAGMA foreign_keys = ON")


def _migrations() -> Sequence[str]:
    """The scripts `migrations/1.sql`, `2.sql`, ...: the nth leads from schema n - 1 to n."""
    scripts = [each for each in (resources.files(__package__) / "migrations").iterdir() if each.name.endswith(".sql")]
    return [each.read_text() for each in sorted(scripts, key=lambda each: int(each.name.removesuffix(".sql")))]
