"""Transactions and their errors. Plain functions that run on the thread of a connection."""

import errno
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from splootd.errors import StoreDamaged, StoreError, StoreFailed, StoreFull

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OperationResult:
    """The result of one operation of a committed group."""

    value: Any = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class CommitResult:
    """The results of a group that is on the disk. `wrote` is false if no operation has changed a row."""

    results: list[OperationResult]
    wrote: bool


def commit_all(connection: sqlite3.Connection, ops: Sequence[Callable[[sqlite3.Connection], Any]]) -> CommitResult:
    """Run all operations in one transaction; return after COMMIT has returned.

    An operation that raises is rolled back alone. Raises sqlite3.Error if the database itself failed; the outcome of
    the whole group is then unknown.
    """
    changes = connection.total_changes
    # IMMEDIATE takes the write lock first. A deferred transaction that reads and then writes fails with SQLITE_BUSY,
    # without the busy timeout, if another program has written in between.
    connection.execute("BEGIN IMMEDIATE")
    try:
        run = _run_without_savepoint if len(ops) == 1 else _run_in_savepoint
        results = [run(connection, op) for op in ops]
        if connection.in_transaction:
            connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:  # SQLITE_FULL, SQLITE_IOERR and some others may have rolled back already
            connection.execute("ROLLBACK")
        raise
    return CommitResult(results, wrote=connection.total_changes > changes)


def _run_in_savepoint(connection: sqlite3.Connection, op: Callable[[sqlite3.Connection], Any]) -> OperationResult:
    connection.execute("SAVEPOINT op")
    try:
        result = OperationResult(op(connection))
    except Exception as error:  # any exception belongs to the caller of this operation alone
        if isinstance(error, sqlite3.Error) and is_database_error(error):
            raise
        connection.execute("ROLLBACK TO op")
        result = OperationResult(error=error)
    connection.execute("RELEASE op")  # also after ROLLBACK TO, which leaves the savepoint open
    return result


def _run_without_savepoint(connection: sqlite3.Connection, op: Callable[[sqlite3.Connection], Any]) -> OperationResult:
    """Run the only operation of a transaction. A savepoint would make SQLite copy every page that changes."""
    try:
        return OperationResult(op(connection))
    except Exception as error:  # any exception belongs to the caller of this operation
        if isinstance(error, sqlite3.Error) and is_database_error(error):
            raise
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        return OperationResult(error=error)


def read_snapshot(connection: sqlite3.Connection, query: Callable[[sqlite3.Connection], T]) -> T:
    """Run a query of any number of statements on one state of the database."""
    connection.execute("BEGIN")
    try:
        return query(connection)
    finally:
        # An open read transaction pins its snapshot: no checkpoint could reset the log, which would grow without limit.
        connection.execute("ROLLBACK")


def primary_code(error: Exception) -> int | None:
    """Return SQLite's primary result code; None for an error of Python's own module."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


# Errors of one statement, after which the database is intact.
_STATEMENT_ERROR_CODES = frozenset(
    {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_MISUSE,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_TOOBIG,
    }
)


def is_database_error(error: sqlite3.Error) -> bool:
    """Return whether the error concerns the database as a whole and not one statement."""
    code = primary_code(error)
    return code is not None and code not in _STATEMENT_ERROR_CODES


def to_store_error(error: sqlite3.Error | OSError, path: Path) -> StoreError:
    """Convert an error of SQLite or of the system to a StoreError."""
    code = primary_code(error)
    if code == sqlite3.SQLITE_FULL or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
        return StoreFull(
            f"The disk that holds {path} is full: nothing was written.",
            "Free some disk space; uploads then resume automatically.",
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDamaged(
            f"{path} is damaged or not a database ({error}). The file was not changed.",
            "Put a backup in its place, or move it away to start with an empty queue.",
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreFailed(
            f"{path} is in use by another program: nothing was written.", "Close any other tool that has it open."
        )
    return StoreFailed(
        f"{path} could not be read or written ({error}).", "Check the system log: the disk may be failing."
    )


def closed_error(path: Path) -> StoreError:
    return StoreFailed(f"{path} is closed: the daemon is stopping, or could not write to the disk.")


def is_connection_usable(error: sqlite3.Error) -> bool:
    """Return whether certainly nothing was written, so that the connection can run the next transaction."""
    return primary_code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
