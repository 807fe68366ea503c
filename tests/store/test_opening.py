"""Opening a database and backing it up, and the files that are refused."""

import asyncio
import hashlib
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from store_fixtures import Opener, insert, names

from splootd.errors import StoreDamaged, StoreFailed, StoreNewer
from splootd.store import schema
from splootd.store.database import Database

NEWEST = max(schema.migrations())


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fingerprint(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def test_a_clean_shutdown_is_recognised_at_the_next_start(tmp_path: Path, open_database: Opener) -> None:
    path = tmp_path / "queue.db"
    database = await open_database(path)
    assert database.was_clean_shutdown
    shutil.copy(path, tmp_path / "copy.db")
    shutil.copy(f"{path}-wal", tmp_path / "copy.db-wal")
    await database.close()
    assert [name for name in contents(tmp_path) if name.startswith("queue")] == ["queue.db"]  # without a log
    again = await open_database(path)
    assert again.was_clean_shutdown
    await again.close()
    crashed = await open_database(tmp_path / "copy.db")
    assert not crashed.was_clean_shutdown
    await crashed.close()


async def test_after_a_power_cut_every_acknowledged_write_is_there(tmp_path: Path, open_database: Opener) -> None:
    """A copy of the files in the middle of a transaction opens in the state before it."""
    path, cut = tmp_path / "queue.db", tmp_path / "cut.db"
    database = await open_database(path)
    for number in range(50):
        await database.write(insert(str(number)))

    def crash(connection: sqlite3.Connection) -> None:
        insert("unfinished")(connection)
        shutil.copy(path, cut)
        shutil.copy(f"{path}-wal", f"{cut}-wal")

    await database.write(crash)
    await database.close()
    reopened = await open_database(cut)
    assert await reopened.read(names) == {str(number) for number in range(50)}
    await reopened.close()


async def test_a_newer_database_is_refused_untouched(tmp_path: Path, open_database: Opener) -> None:
    path = tmp_path / "queue.db"
    database = await open_database(path)
    await database.write(lambda connection: connection.execute("PRAGMA user_version = 99").fetchall())
    await database.close()
    before = fingerprint(path)
    with pytest.raises(
        StoreNewer, match=rf"queue\.db was made by a newer version .* this version supports up to {NEWEST}\)"
    ):
        await open_database(path)
    assert fingerprint(path) == before


@pytest.mark.parametrize("kind", ["text", "foreign", "cut off", "garbled"])
async def test_a_foreign_or_damaged_file_is_refused_untouched(tmp_path: Path, kind: str, open_database: Opener) -> None:
    path = tmp_path / "queue.db"
    if kind == "text":
        path.write_text("Dear diary, " * 1_000)
    elif kind == "foreign":
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE bookmarks (url)")
        connection.close()
    else:
        await _unclean_copy(path, open_database)
        whole = path.read_bytes()
        half = len(whole) // 2
        path.write_bytes(whole[:half] if kind == "cut off" else whole[:half] + os.urandom(4096) + whole[half + 4096 :])
    before = fingerprint(path)
    with pytest.raises(StoreDamaged, match=r"queue\.db .* The file was not changed\."):
        await open_database(path)
    assert fingerprint(path) == before


async def _unclean_copy(path: Path, open_database: Opener) -> None:
    """Create a database of some size at `path`, with the mark of an unclean shutdown and an empty log."""
    live = await open_database(path.with_name("live.db"))

    def fill(connection: sqlite3.Connection) -> None:
        for number in range(100):
            insert(str(number), pages=1)(connection)

    await live.write(fill)
    await live.backup(path)
    await live.close()


async def test_an_error_at_open_names_the_file(tmp_path: Path, open_database: Opener) -> None:
    with pytest.raises(StoreFailed, match=r"nowhere/queue\.db could not be read or written"):
        await open_database(tmp_path / "nowhere" / "queue.db")


async def test_an_empty_file_becomes_a_queue(tmp_path: Path, open_database: Opener) -> None:
    (tmp_path / "queue.db").touch()
    database = await open_database(tmp_path / "queue.db")
    await database.write(insert("a"))
    await database.close()


async def test_a_path_may_have_any_bytes(tmp_path: Path, open_database: Opener) -> None:
    folder = tmp_path / os.fsdecode(b"50% #1? \xff\n")
    folder.mkdir()
    database = await open_database(folder / "queue.db")
    await database.write(insert("a"))
    await database.backup(folder / "copy.db")
    await database.close()
    assert contents(folder) == ["copy.db", "queue.db"]


async def test_a_backup_of_a_database_in_use_contains_every_acknowledged_write(
    database: Database, tmp_path: Path, open_database: Opener
) -> None:
    await database.write(insert("before"))
    writes = [asyncio.ensure_future(database.write(insert(str(number)))) for number in range(50)]
    await database.backup(tmp_path / "copy.db")
    await asyncio.gather(*writes)
    await database.backup(tmp_path / "copy.db")  # replaces the earlier one
    copy = await open_database(tmp_path / "copy.db")
    assert await copy.read(names) == {"before", *map(str, range(50))}
    await copy.close()


async def test_a_failed_backup_leaves_no_file(database: Database, tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match=r"nowhere/copy\.db"):
        await database.backup(tmp_path / "nowhere" / "copy.db")
    await database.write(insert("a"))
    assert contents(tmp_path) == ["queue.db", "queue.db-shm", "queue.db-wal"]
