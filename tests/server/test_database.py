"""The SQLite database: group commit, savepoints, durability, and files that must not be opened."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sploot_server.storage.interfaces import DatabaseError
from sploot_server.storage.sqlite.database import READERS_MAX, Database

INSERT = "INSERT INTO tags (id, name, folded_name, created_at) VALUES (?, ?, ?, 0)"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "library.db")
    database.open()
    yield database
    await database.close()


def names(connection: sqlite3.Connection) -> list[str]:
    return [row["name"] for row in connection.execute("SELECT name FROM tags ORDER BY row")]


def add(name: str) -> object:
    return lambda connection: connection.execute(INSERT, (name, name, name)) and None


async def test_writes_queued_during_a_commit_are_committed_together(database: Database) -> None:
    commits: list[str] = []
    entered, released = threading.Event(), threading.Event()

    def block(connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
        entered.set()
        released.wait(10)

    first = asyncio.create_task(database.write(block))
    await asyncio.to_thread(entered.wait, 10)
    others = [asyncio.create_task(database.write(add(str(number)))) for number in range(50)]
    await asyncio.sleep(0)
    released.set()
    await asyncio.gather(first, *others)
    assert len(commits) == 2
    assert len(await database.read(names)) == 50


async def test_a_read_does_not_wait_for_the_long_reads_of_others(database: Database) -> None:
    """It also sees each completed write, on whichever connection it runs."""
    released = threading.Event()
    long = [asyncio.create_task(database.read(lambda _: released.wait(20))) for _ in range(READERS_MAX - 1)]
    try:
        for number in range(3):
            await database.write(add(str(number)))
            assert len(await database.read(names)) == number + 1
        assert not any(each.done() for each in long)
    finally:
        released.set()
    assert await asyncio.gather(*long) == [True] * (READERS_MAX - 1)


async def test_a_failing_operation_undoes_only_itself(database: Database) -> None:
    def half(connection: sqlite3.Connection) -> None:
        connection.execute(INSERT, ("half", "half", "half"))
        raise ValueError("enough")

    results = await asyncio.gather(
        database.write(add("a")), database.write(half), database.write(add("b")), return_exceptions=True
    )
    assert [type(result) for result in results] == [type(None), ValueError, type(None)]
    assert await database.read(names) == ["a", "b"]


async def test_a_cancelled_caller_does_not_affect_others(database: Database) -> None:
    tasks = [asyncio.create_task(database.write(add(str(number)))) for number in range(100)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(await database.read(names)) == 100


async def test_a_completed_write_survives_a_crash(tmp_path: Path) -> None:
    database = Database(tmp_path / "library.db")
    database.open()
    await database.write(add("kept"))
    copy = tmp_path / "copy.db"
    for suffix in ("", "-wal"):  # the files that a crash at this moment would leave
        copy.with_name(copy.name + suffix).write_bytes((tmp_path / f"library.db{suffix}").read_bytes())
    await database.close()
    after = Database(copy)
    after.open()
    assert await after.read(names) == ["kept"]
    await after.close()


async def test_the_reader_cannot_write(database: Database) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await database.read(add("no"))


def test_a_newer_library_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    with sqlite3.connect(path) as connection:
        connection.executescript("PRAGMA application_id = 0x53706C74; CREATE TABLE x (y); PRAGMA user_version = 999")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match="Install a newer sploot-server"):
        Database(path).open()
    assert path.read_bytes() == before


def test_another_programs_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE x (y)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match="another program"):
        Database(path).open()
    assert path.read_bytes() == before


def test_a_file_that_is_not_a_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    path.write_bytes(b"not a database, but something of value" * 100)
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match="not modified"):
        Database(path).open()
    assert path.read_bytes() == before
