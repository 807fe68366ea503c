"""Recovery of a damaged database, and the staged restore of a backup. The old file is set aside, never deleted.

Files beside `queue.db`: `.damaged-<time>` and `.replaced-<time>` were set aside, `.restore` replaces the database at
the next start, and `.suspect` marks it as damaged. Each step is one rename, synced before the next one; after a crash
the next start continues.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from splootd.errors import StoreDamaged, StoreError, StoreFull
from splootd.store.database import Database
from splootd.store.schema import fsync_path
from splootd.store.settings import SettingsStore
from splootd.store.transaction import to_store_error

RECOVERY_NOTICE = "recovery_notice"
"""The setting with the message about a damaged database, until the user dismisses it."""

PAGE_BYTES_MIN = 512

# The database comes last: SQLite would replay a log into whatever database stands beside it.
_FILE_SUFFIXES = ("-wal", "-shm", "-journal", "")


async def open_or_recover(path: Path, backups: Path, *, now: float) -> Database:
    """Open the database at `path`; replace a damaged one by its newest backup, or by an empty one.

    `backups` is the folder of the backups, the newest with the greatest name. Raises StoreNewer, StoreFull or
    StoreFailed, which this program cannot repair; the files are then unchanged.
    """
    await asyncio.to_thread(_apply_staged_restore, path, now)
    if await asyncio.to_thread(_is_truncated, path, backups):
        await asyncio.to_thread(mark_suspect, path, "the file is truncated")
    if not _suspect_path(path).exists():
        try:
            return await Database.open(path)
        except StoreDamaged as damage:
            await asyncio.to_thread(mark_suspect, path, damage.title)
    await asyncio.to_thread(_set_aside, path, "damaged", now)
    notice = await asyncio.to_thread(_format_notice, await _restore_newest_backup(backups, path), path)
    database = await Database.open(path)
    try:
        await SettingsStore(database).set(RECOVERY_NOTICE, notice, now=now)
        _suspect_path(path).unlink(missing_ok=True)
    except BaseException:
        await database.close()
        raise
    return database


async def stage_restore(source: Path, path: Path) -> None:
    """Stage a copy of `source` to replace the database at `path` at the next start.

    Raises StoreDamaged or StoreNewer if the copy is not usable, StoreFull or StoreFailed; nothing is then changed.
    """
    await _copy_verified(source, _restore_path(path))


@contextlib.contextmanager
def mark_suspect_on_damage(path: Path) -> Iterator[None]:
    """Mark the database as suspect if the body raises StoreDamaged, so that the next start sets it aside."""
    try:
        yield
    except BaseExceptionGroup as errors:
        if damages := errors.subgroup(StoreDamaged):
            mark_suspect(path, str(damages))
        raise


def mark_suspect(path: Path, cause: str) -> None:
    """Mark the database at `path` as damaged. The mark is on the disk when this returns."""
    _suspect_path(path).write_text(cause, "utf-8")
    fsync_path(_suspect_path(path))
    fsync_path(path.parent)


def _is_truncated(path: Path, backups: Path) -> bool:
    """Return whether the file has lost its content. SQLite opens a file without a page as a new database.

    Backups tell the two apart: a new database has none.
    """
    return path.exists() and path.stat().st_size < PAGE_BYTES_MIN and any(backups.glob("queue-*.db"))


def _apply_staged_restore(path: Path, now: float) -> None:
    staged = _restore_path(path)
    if staged.exists():
        _set_aside(path, "replaced", now)
        staged.replace(path)
        fsync_path(path.parent)
        _suspect_path(path).unlink(missing_ok=True)


def _set_aside(path: Path, label: str, now: float) -> None:
    """Rename the database and its companion files, as far as they exist."""
    timestamp = datetime.fromtimestamp(now, UTC)
    stem = f"{path.name}.{label}-{timestamp:%Y%m%dT%H%M%SZ}"
    number = 1
    while any(os.path.lexists(path.with_name(stem + end)) for end in _FILE_SUFFIXES):
        number += 1
        stem = f"{path.name}.{label}-{timestamp:%Y%m%dT%H%M%SZ}-{number}"
    for end in _FILE_SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + end).rename(path.with_name(stem + end))
            fsync_path(path.parent)


async def _restore_newest_backup(backups: Path, path: Path) -> Path | None:
    """Copy the newest usable backup to `path` and return it.

    Raises StoreFull: with a full disk an empty queue would be the wrong answer, because the backups are intact.
    """
    for backup in sorted(await asyncio.to_thread(lambda: list(backups.glob("queue-*.db"))), reverse=True):
        try:
            await _copy_verified(backup, path)
        except StoreFull:
            raise
        except StoreError:
            continue
        return backup
    return None


async def _copy_verified(source: Path, target: Path) -> None:
    """Copy a database to `target`, verified, whole or not at all."""
    unfinished = target.with_name(f"{target.name}.unfinished")
    try:
        try:
            await asyncio.to_thread(_copy_bytes, source, unfinished)
        except OSError as error:
            raise to_store_error(error, source) from error
        try:
            await Database.verify(unfinished)
        except StoreError as error:
            raise type(error)(error.title.replace(str(unfinished), str(source)), error.hint) from error
        unfinished.replace(target)
        await asyncio.to_thread(fsync_path, target.parent)
    finally:
        for end in _FILE_SUFFIXES:
            unfinished.with_name(unfinished.name + end).unlink(missing_ok=True)


def _copy_bytes(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        os.fchmod(writer.fileno(), 0o600)
        shutil.copyfileobj(reader, writer)
        writer.flush()
        os.fsync(writer.fileno())


def _format_notice(backup: Path | None, path: Path) -> str:
    damaged = sorted(
        each for each in path.parent.glob(f"{path.name}.damaged-*") if not each.name.endswith(_FILE_SUFFIXES[:3])
    )
    kept = f" The damaged file was kept: {damaged[-1]}." if damaged else ""
    if backup is None:
        return (
            "the queue database was damaged and had no backup, so the queue is empty: add your folders again, they are"
            f" no longer watched. Files that are in the library are not uploaded twice.{kept} To dismiss this message"
        )
    made = datetime.fromtimestamp(backup.stat().st_mtime).astimezone()
    return (
        f"the queue database was damaged and was replaced by the backup of {made:%Y-%m-%d %H:%M}: later files in"
        f" watched folders are found again; add later single files again.{kept} To dismiss this message"
    )


def _restore_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.restore")


def _suspect_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.suspect")
