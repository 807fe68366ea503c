"""A database that cannot be used, or is to be replaced: set aside, never deleted, and another one put in its place.

Files beside `queue.db`: `.damaged-<time>` and `.replaced-<time>` were set aside, `.restore` takes its place at the next
start, and `.suspect` says that it is to be set aside. Each step is one rename, synced before the next; after a crash
the next start goes on.
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
from splootd.store.queries import SQL
from splootd.store.schema import sync
from splootd.store.transaction import store_error

MISHAP = "mishap"
"""The setting that tells the user what became of a damaged database, until it is acknowledged."""

PAGE_BYTES_MIN = 512

_COMPANIONS = ("-wal", "-shm", "-journal", "")  # the file itself last: a log must never meet another file


async def opened(path: Path, backups: Path, *, now: float) -> Database:
    """Open the database at `path`, come what may; `backups` holds copies of it, the newest with the greatest name.

    Raises StoreNewer, StoreFull or StoreFailed, which are not for this program to mend; then nothing was changed.
    """
    await asyncio.to_thread(_put_in_place, path, now)
    if await asyncio.to_thread(_is_cut_off, path, backups):
        await asyncio.to_thread(doubt, path, "it was cut off")
    if not _suspect(path).exists():
        try:
            return await Database.open(path)
        except StoreDamaged as damage:
            await asyncio.to_thread(doubt, path, damage.title)
    await asyncio.to_thread(_set_aside, path, "damaged", now)
    sentence = await asyncio.to_thread(_sentence, await _newest_good(backups, path), path)
    database = await Database.open(path)
    try:
        values = {"name": MISHAP, "value": sentence, "now": now}
        await database.write(lambda connection: connection.execute(SQL["set_setting"], values).fetchall())
        _suspect(path).unlink(missing_ok=True)
    except BaseException:
        await database.close()
        raise
    return database


async def stage(source: Path, path: Path) -> None:
    """Let a copy of `source` take the place of the database at `path` when it is next opened.

    Raises StoreDamaged or StoreNewer when it could not be used, StoreFull or StoreFailed; then nothing was changed.
    """
    await _copy(source, _staged(path))


@contextlib.contextmanager
def doubting(path: Path) -> Iterator[None]:
    """If the database turns out to be damaged while it is in use, let the next start set it aside."""
    try:
        yield
    except BaseExceptionGroup as errors:
        if damages := errors.subgroup(StoreDamaged):
            doubt(path, str(damages))
        raise


def doubt(path: Path, why: str) -> None:
    """From now on the database at `path` is not to be trusted."""
    _suspect(path).write_text(why, "utf-8")
    sync(_suspect(path))
    sync(path.parent)


def _is_cut_off(path: Path, backups: Path) -> bool:
    """SQLite takes a file without a page for a new database; it is none if there are copies of what was in it."""
    return path.exists() and path.stat().st_size < PAGE_BYTES_MIN and any(backups.glob("queue-*.db"))


def _put_in_place(path: Path, now: float) -> None:
    staged = _staged(path)
    if staged.exists():
        _set_aside(path, "replaced", now)
        staged.replace(path)
        sync(path.parent)
        _suspect(path).unlink(missing_ok=True)


def _set_aside(path: Path, word: str, now: float) -> None:
    """Rename the database and what belongs to it, if it is there."""
    moment = datetime.fromtimestamp(now, UTC)
    stem = f"{path.name}.{word}-{moment:%Y%m%dT%H%M%SZ}"
    number = 1
    while any(os.path.lexists(path.with_name(stem + end)) for end in _COMPANIONS):
        number += 1
        stem = f"{path.name}.{word}-{moment:%Y%m%dT%H%M%SZ}-{number}"
    for end in _COMPANIONS:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + end).rename(path.with_name(stem + end))
            sync(path.parent)


async def _newest_good(backups: Path, path: Path) -> Path | None:
    """Put the newest of the copies that can be used at `path`. StoreFull is no reason to begin with nothing."""
    for copy in sorted(await asyncio.to_thread(lambda: list(backups.glob("queue-*.db"))), reverse=True):
        try:
            await _copy(copy, path)
        except StoreFull:
            raise
        except StoreError:
            continue
        return copy
    return None


async def _copy(source: Path, target: Path) -> None:
    """A verified copy of a database appears at `target` whole or not at all."""
    unfinished = target.with_name(f"{target.name}.unfinished")
    try:
        try:
            await asyncio.to_thread(_copy_bytes, source, unfinished)
        except OSError as error:
            raise store_error(error, source) from error
        try:
            await Database.verify(unfinished)
        except StoreError as error:
            raise type(error)(error.title.replace(str(unfinished), str(source)), error.hint) from error
        unfinished.replace(target)
        await asyncio.to_thread(sync, target.parent)
    finally:
        for end in _COMPANIONS:
            unfinished.with_name(unfinished.name + end).unlink(missing_ok=True)


def _copy_bytes(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        os.fchmod(writer.fileno(), 0o600)
        shutil.copyfileobj(reader, writer)
        writer.flush()
        os.fsync(writer.fileno())


def _sentence(copy: Path | None, path: Path) -> str:
    damaged = sorted(
        each for each in path.parent.glob(f"{path.name}.damaged-*") if not each.name.endswith(_COMPANIONS[:3])
    )
    kept = f" The damaged file is kept: {damaged[-1]}." if damaged else ""
    if copy is None:
        return (
            "the queue's file was damaged and there was no copy of it, so the queue began empty: add your folders"
            " again, they are not watched any more; what the library has is not sent twice."
            f"{kept} When you have read this"
        )
    made = datetime.fromtimestamp(copy.stat().st_mtime).astimezone()
    return (
        f"the queue's file was damaged, so it went back to its copy of {made:%Y-%m-%d %H:%M}: what has come into"
        f" watched folders since is found again, single files since then are to be added again.{kept}"
        " When you have read this"
    )


def _staged(path: Path) -> Path:
    return path.with_name(f"{path.name}.restore")


def _suspect(path: Path) -> Path:
    return path.with_name(f"{path.name}.suspect")
