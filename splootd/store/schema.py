"""Whose file it is, which version its schema has, and how it becomes the newest. Run on a connection's own thread."""

import os
import sqlite3
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from splootd.errors import StoreDamaged, StoreFailed, StoreNewer

APPLICATION_ID = 0x53504C54  # "SPLT": what file(1) and we know the database by

READ_THROUGH_AT = "read_through_at"
"""The setting that tells when the whole file was last found to hold together; empty where that is in doubt."""

# What every connection is told first.
_SETTINGS = """
PRAGMA busy_timeout = 5000;
PRAGMA foreign_keys = 1;
PRAGMA trusted_schema = 0;
PRAGMA temp_store = 2;
PRAGMA mmap_size = 0;
"""
# FULL: with NORMAL a power cut takes back what was acknowledged. fullfsync: macOS' fsync alone does not reach the disk.
_WRITER_SETTINGS = """
PRAGMA synchronous = FULL;
PRAGMA fullfsync = 1;
PRAGMA checkpoint_fullfsync = 1;
PRAGMA cache_size = -4000;
PRAGMA journal_size_limit = 8388608;
"""
# One connection both writes and checkpoints: with two, SQLite before 3.51.3 can corrupt the file.
_READER_SETTINGS = """
PRAGMA query_only = 1;
PRAGMA wal_autocheckpoint = 0;
"""


# Tables of the writer alone, in memory, where a group of rows waits to be written by one statement.
_STAGING = """
CREATE TEMP TABLE found (
  n INTEGER PRIMARY KEY, path BLOB, size INTEGER, mtime_ns INTEGER, device INTEGER, inode INTEGER, shard INTEGER,
  settles_at REAL);
CREATE TEMP TABLE taken (
  n INTEGER PRIMARY KEY, id INTEGER, lease TEXT, asset_id TEXT, sha256 BLOB, duplicate INTEGER, embedded INTEGER);
"""


def migrations() -> dict[int, str]:
    """Version to the script that leads to it from the one before."""
    folder = files(__package__).joinpath("migrations")
    return {int(file.name[:4]): file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".sql")}


def examine(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the last stop was clean. StoreNewer or StoreDamaged when the file is not ours to open. Only reads."""
    application_id = _pragma(connection, "application_id")
    version = _pragma(connection, "user_version")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application_id != APPLICATION_ID and (application_id or version or tables):
        raise StoreDamaged(
            f"{path} is the database of another program. It was left as it is.",
            "Move it away to start with an empty queue.",
        )
    if version > (newest := max(migrations())):
        raise StoreNewer(
            f"{path} was made by a newer version of Sploot (schema {version}; this one knows {newest}). It was left"
            " as it is.",
            "Install the newer version again, or restore a backup from before.",
        )
    if version == 0:
        return True
    row = connection.execute("SELECT value FROM settings WHERE name = 'stopped_cleanly'").fetchone()
    return row is not None and row["value"] == "yes"


def prepare_writer(connection: sqlite3.Connection, path: Path) -> None:
    """Settings of the connection that writes."""
    connection.row_factory = sqlite3.Row
    _run_settings(connection, _SETTINGS + _WRITER_SETTINGS)
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreFailed(
            f"{path} cannot be kept on this file system: it does not support write-ahead logging.",
            "Keep Sploot's state on a local disk (SPLOOT_HOME).",
        )
    prepare_staging(connection)


def prepare_staging(connection: sqlite3.Connection) -> None:
    """What the statements that write whole groups need."""
    _run_settings(connection, _STAGING)


def prepare_reader(connection: sqlite3.Connection) -> None:
    """Settings of a connection that only reads."""
    connection.row_factory = sqlite3.Row
    _run_settings(connection, _SETTINGS + _READER_SETTINGS)


def migrate(connection: sqlite3.Connection, path: Path, *, back_up: bool) -> None:
    """Lead the schema to the newest version, one transaction a step. Keeps a copy of a database that holds data."""
    version = _pragma(connection, "user_version")
    steps = {number: script for number, script in sorted(migrations().items()) if number > version}
    if steps and version > 0 and back_up:
        copy_to(connection, path.with_name(f"{path.name}.v{version}.backup"))
    for number, script in steps.items():
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE; {script}; PRAGMA application_id = {APPLICATION_ID};"
                f" PRAGMA user_version = {number}; COMMIT;"
            )
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def note_start(connection: sqlite3.Connection, checked: bool | None) -> None:
    """From now on every stop is unclean, until `note_stop`. `checked`: the file, after an unclean stop."""
    connection.execute(
        "INSERT OR REPLACE INTO settings SELECT 'stopped_cleanly', 'no', unixepoch()"
        " UNION ALL SELECT ?1, iif(?2, unixepoch(), ''), unixepoch() WHERE ?2 IS NOT NULL",
        (READ_THROUGH_AT, checked),
    )


def note_stop(connection: sqlite3.Connection) -> None:
    """The last write of all, and everything from the log moved into the file."""
    connection.execute("INSERT OR REPLACE INTO settings VALUES ('stopped_cleanly', 'yes', unixepoch())")
    connection.execute("PRAGMA optimize").fetchall()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def check(connection: sqlite3.Connection, path: Path) -> None:
    """StoreDamaged when the file does not hold together. Takes about 5 s a million items."""
    (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if finding != "ok":
        raise StoreDamaged(
            f"{path} is damaged ({' '.join(finding.split())}). It was left as it is.",
            "Put a backup in its place, or move it away to start with an empty queue.",
        )


def verify(connection: sqlite3.Connection, path: Path) -> None:
    """StoreDamaged or StoreNewer unless this is a queue that can be used. Only reads."""
    examine(connection, path)
    if _pragma(connection, "user_version") == 0:
        raise StoreDamaged(f"{path} is empty: there is no queue in it.")
    check(connection, path)


def copy_to(connection: sqlite3.Connection, target: Path) -> None:
    """A copy of the database as it is now, whole or not at all, kept even if the power goes the moment after."""
    unfinished = target.with_name(target.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    try:
        connection.execute("VACUUM INTO ?", (uri(unfinished, mode="rwc"),))
        sync(unfinished)
        unfinished.replace(target)
        sync(target.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def uri(path: Path, *, mode: str) -> str:
    """How SQLite takes a path of any bytes, and how it is to be opened: ro, rw or rwc."""
    return f"file:{quote(bytes(path))}?mode={mode}"


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _run_settings(connection: sqlite3.Connection, settings: str) -> None:
    for setting in filter(str.strip, settings.split(";")):
        connection.execute(setting).fetchall()


def sync(path: Path) -> None:
    """Make sure of a file's bytes, or of the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
