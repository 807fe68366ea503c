"""What happens inside one transaction, and what its errors mean. Plain functions, run on a connection's own thread."""

import errno
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from splootd.errors import StoreDamaged, StoreError, StoreFailed, StoreFull

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one operation of a group ended, now that the group is committed."""

    value: Any = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """A group that is on the disk. `wrote` is whether there was anything to put there."""

    outcomes: list[Outcome]
    wrote: bool


def commit_all(connection: sqlite3.Connection, ops: Sequence[Callable[[sqlite3.Connection], Any]]) -> Committed:
    """Run all operations in one transaction; return after COMMIT has returned.

    An operation that raises is undone alone and its neighbours are kept. Raises sqlite3.Error when the database itself
    failed; then nothing of the group is known to be kept.
    """
    changes = connection.total_changes
    connection.execute("BEGIN IMMEDIATE")
    try:
        attempt = _attempt_alone if len(ops) == 1 else _attempt
        outcomes = [attempt(connection, op) for op in ops]
        if connection.in_transaction:
            connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:  # some errors have rolled back already
            connection.execute("ROLLBACK")
        raise
    return Committed(outcomes, wrote=connection.total_changes > changes)


def _attempt(connection: sqlite3.Connection, op: Callable[[sqlite3.Connection], Any]) -> Outcome:
    connection.execute("SAVEPOINT op")
    try:
        outcome = Outcome(op(connection))
    except Exception as error:  # whatever it is, it belongs to the caller of this operation alone
        if isinstance(error, sqlite3.Error) and is_of_the_database(error):
            raise
        connection.execute("ROLLBACK TO op")
        outcome = Outcome(error=error)
    connection.execute("RELEASE op")
    return outcome


def _attempt_alone(connection: sqlite3.Connection, op: Callable[[sqlite3.Connection], Any]) -> Outcome:
    """Without a savepoint, for which SQLite would copy every page that changes: the whole transaction is undone."""
    try:
        return Outcome(op(connection))
    except Exception as error:  # whatever it is, it belongs to the caller of this operation
        if isinstance(error, sqlite3.Error) and is_of_the_database(error):
            raise
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        return Outcome(error=error)


def snapshot(connection: sqlite3.Connection, query: Callable[[sqlite3.Connection], T]) -> T:
    """Run a query of any number of statements on one state of the database."""
    connection.execute("BEGIN")
    try:
        return query(connection)
    finally:
        connection.execute("ROLLBACK")


def primary_code(error: Exception) -> int | None:
    """SQLite's primary result code; None for an error of Python's own module."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


# Codes that speak of one statement and leave the database well.
_OF_THE_STATEMENT = frozenset(
    {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_MISUSE,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_TOOBIG,
    }
)


def is_of_the_database(error: sqlite3.Error) -> bool:
    """Whether the error speaks of the database as a whole and not of one statement."""
    code = primary_code(error)
    return code is not None and code not in _OF_THE_STATEMENT


def store_error(error: sqlite3.Error | OSError, path: Path) -> StoreError:
    """Ours for SQLite's and the system's, as a sentence."""
    code = primary_code(error)
    if code == sqlite3.SQLITE_FULL or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
        return StoreFull(
            f"The disk that holds {path} is full: nothing was written.", "Make room; the work goes on by itself."
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDamaged(
            f"{path} is damaged or not a database ({error}). It was left as it is.",
            "Put a backup in its place, or move it away to start with an empty queue.",
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreFailed(
            f"{path} is in use by another program: nothing was written.", "Close any other tool that has it open."
        )
    return StoreFailed(
        f"{path} could not be read or written ({error}).", "Look at the system's log: the disk may be failing."
    )


def closed_error(path: Path) -> StoreError:
    return StoreFailed(f"{path} is closed: the daemon is stopping, or could no longer write to its disk.")


def leaves_the_connection_well(error: sqlite3.Error) -> bool:
    """Whether nothing was written for sure, so that the next transaction may simply be tried."""
    return primary_code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
