"""Schema of the database: pragmas, identification, migrations, integrity. Runs on the thread of a connection."""

import os
import sqlite3
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from splootd.errors import StoreDamaged, StoreFailed, StoreNewer

APPLICATION_ID = 0x53504C54  # "SPLT": identifies the file to file(1) and to this program

INTEGRITY_CHECKED_AT = "integrity_checked_at"
"""The setting with the time of the last successful integrity check; empty if the state of the file is unknown."""

CLEAN_SHUTDOWN = "clean_shutdown"
"""The setting that is `yes` after a clean shutdown and `no` while the database is open."""

# Pragmas of every connection. SQLite enforces foreign keys only where a connection asks for it. trusted_schema = 0
# keeps a manipulated file from calling functions out of its schema. mmap_size = 0: an I/O error on a mapped page
# arrives as SIGBUS and kills the process; on a normal read it is an error code.
_PRAGMAS = """
PRAGMA busy_timeout = 5000;
PRAGMA foreign_keys = 1;
PRAGMA trusted_schema = 0;
PRAGMA temp_store = 2;
PRAGMA mmap_size = 0;
"""
# FULL: in WAL mode, NORMAL syncs only at checkpoints, so a power cut loses commits that were acknowledged. fullfsync:
# on macOS, fsync alone returns before the drive has written its cache.
_WRITER_PRAGMAS = """
PRAGMA synchronous = FULL;
PRAGMA fullfsync = 1;
PRAGMA checkpoint_fullfsync = 1;
PRAGMA cache_size = -4000;
PRAGMA journal_size_limit = 8388608;
"""
# Only one connection writes and checkpoints. With two, SQLite before 3.51.3 can corrupt the file: a checkpoint that
# resets the log can race with a commit on another connection.
_READER_PRAGMAS = """
PRAGMA query_only = 1;
PRAGMA wal_autocheckpoint = 0;
"""


# Tables in the memory of the writer, in which a batch of rows waits for one statement that writes all of them.
_STAGING_TABLES = """
CREATE TEMP TABLE staged_items (
  n INTEGER PRIMARY KEY, path BLOB, size INTEGER, mtime_ns INTEGER, device INTEGER, inode INTEGER, shard INTEGER,
  settles_at REAL);
CREATE TEMP TABLE staged_accepts (
  n INTEGER PRIMARY KEY, id INTEGER, lease TEXT, asset_id TEXT, sha256 BLOB, duplicate INTEGER, embedded INTEGER,
  embedding_requested INTEGER);
"""


def migrations() -> dict[int, str]:
    """Return the migration scripts by the version that each one produces."""
    folder = files(__package__).joinpath("migrations")
    return {int(file.name[:4]): file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".sql")}


def inspect(connection: sqlite3.Connection, path: Path) -> bool:
    """Return whether the last shutdown was clean. Only reads.

    Raises StoreNewer or StoreDamaged if the file belongs to a newer version or to another program.
    """
    application_id = _pragma(connection, "application_id")
    version = _pragma(connection, "user_version")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application_id != APPLICATION_ID and (application_id or version or tables):
        raise StoreDamaged(
            f"{path} is the database of another program. The file was not changed.",
            "Move it away to start with an empty queue.",
        )
    if version > (newest := max(migrations())):
        raise StoreNewer(
            f"{path} was made by a newer version of Sploot (schema {version}; this version supports up to {newest})."
            " The file was not changed.",
            "Install the newer version again, or restore a backup from before the upgrade.",
        )
    if version == 0:
        return True
    row = connection.execute("SELECT value FROM settings WHERE name = ?", (CLEAN_SHUTDOWN,)).fetchone()
    return row is not None and row["value"] == "yes"


def prepare_writer(connection: sqlite3.Connection, path: Path) -> None:
    """Set up the connection that writes."""
    connection.row_factory = sqlite3.Row
    _execute_each(connection, _PRAGMAS + _WRITER_PRAGMAS)
    # On a file system without shared memory the pragma fails silently: it returns the old mode instead of an error.
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreFailed(
            f"{path} cannot be kept on this file system: it does not support write-ahead logging.",
            "Keep Sploot's state on a local disk (SPLOOT_HOME).",
        )
    create_staging_tables(connection)


def create_staging_tables(connection: sqlite3.Connection) -> None:
    """Create the temporary tables of the statements that write batches."""
    _execute_each(connection, _STAGING_TABLES)


def prepare_reader(connection: sqlite3.Connection) -> None:
    """Set up a connection that only reads."""
    connection.row_factory = sqlite3.Row
    _execute_each(connection, _PRAGMAS + _READER_PRAGMAS)


def migrate(connection: sqlite3.Connection, path: Path, *, back_up: bool) -> None:
    """Migrate the schema to the newest version, one transaction per step. Backs up a database that has data first."""
    version = _pragma(connection, "user_version")
    steps = {number: script for number, script in sorted(migrations().items()) if number > version}
    if steps and version > 0 and back_up:
        copy_to(connection, path.with_name(f"{path.name}.v{version}.backup"))
    for number, script in steps.items():
        try:
            # BEGIN and COMMIT are part of the script: executescript commits an open transaction before it starts.
            # user_version is in the header of the file, so the COMMIT changes it together with the schema.
            connection.executescript(
                f"BEGIN IMMEDIATE; {script}; PRAGMA application_id = {APPLICATION_ID};"
                f" PRAGMA user_version = {number}; COMMIT;"
            )
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def mark_started(connection: sqlite3.Connection, checked: bool | None) -> None:
    """Mark the database as open: until `mark_clean_shutdown`, every end of the process is an unclean shutdown.

    `checked` is None after a clean shutdown, else whether the file was checked.
    """
    connection.execute(
        "INSERT OR REPLACE INTO settings SELECT ?1, 'no', unixepoch()"
        " UNION ALL SELECT ?2, iif(?3, unixepoch(), ''), unixepoch() WHERE ?3 IS NOT NULL",
        (CLEAN_SHUTDOWN, INTEGRITY_CHECKED_AT, checked),
    )


def mark_clean_shutdown(connection: sqlite3.Connection) -> None:
    """Write the last row of this run, and move the write-ahead log into the file."""
    connection.execute("INSERT OR REPLACE INTO settings VALUES (?, 'yes', unixepoch())", (CLEAN_SHUTDOWN,))
    connection.execute("PRAGMA optimize").fetchall()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def check_integrity(connection: sqlite3.Connection, path: Path) -> None:
    """Raise StoreDamaged if the file is damaged. Takes about 5 s per million items."""
    (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if finding != "ok":
        raise StoreDamaged(
            f"{path} is damaged ({' '.join(finding.split())}). The file was not changed.",
            "Put a backup in its place, or move it away to start with an empty queue.",
        )


def verify(connection: sqlite3.Connection, path: Path) -> None:
    """Raise StoreDamaged or StoreNewer unless the file is a usable queue. Only reads."""
    inspect(connection, path)
    if _pragma(connection, "user_version") == 0:
        raise StoreDamaged(f"{path} is empty: it contains no queue.")
    check_integrity(connection, path)


def copy_to(connection: sqlite3.Connection, target: Path) -> None:
    """Copy the current state of the database to `target`, whole or not at all, and sync it to the disk.

    VACUUM INTO reads one snapshot. A copy of the file alone would miss what is only in the write-ahead log.
    """
    unfinished = target.with_name(target.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    try:
        connection.execute("VACUUM INTO ?", (uri(unfinished, mode="rwc"),))
        fsync_path(unfinished)
        unfinished.replace(target)
        fsync_path(target.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def uri(path: Path, *, mode: str) -> str:
    """Return the SQLite URI of a path of any bytes. `mode` is ro, rw or rwc."""
    return f"file:{quote(bytes(path))}?mode={mode}"


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _execute_each(connection: sqlite3.Connection, statements: str) -> None:
    for statement in filter(str.strip, statements.split(";")):
        connection.execute(statement).fetchall()


def fsync_path(path: Path) -> None:
    """Sync the bytes of a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
