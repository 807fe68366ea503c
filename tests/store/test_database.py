import asyncio
import hashlib
import os
import random
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from storekit import Opener

from splootd.errors import StoreDamaged, StoreFailed, StoreNewer
from splootd.store import schema
from splootd.store.database import Database

NEWEST = max(schema.migrations())
INSERT = "INSERT INTO settings VALUES (?, ?, 0)"


def insert(name: str) -> Callable[[sqlite3.Connection], str]:
    """An operation that returns the name it has inserted."""
    return lambda connection: name if connection.execute(INSERT, (name, "")).rowcount else ""


def names(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM settings WHERE name <> 'stopped_cleanly'")}


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fingerprint(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
async def database(tmp_path: Path, open_database: Opener) -> AsyncIterator[Database]:
    database = await open_database(tmp_path / "queue.db")
    yield database
    await database.close()


async def test_a_write_is_on_the_disk_when_it_is_answered(database: Database) -> None:
    await database.write(insert("a"))
    other = sqlite3.connect(f"file:{database.path}?mode=ro", uri=True)
    assert "a" in names(other)
    other.close()


async def test_settings_that_keep_data_safe_are_in_force(database: Database) -> None:
    def pragma(name: str) -> Callable[[sqlite3.Connection], object]:
        return lambda connection: connection.execute(f"PRAGMA {name}").fetchone()[0]

    def ask(connection: sqlite3.Connection) -> list[object]:
        return [pragma(name)(connection) for name in ("journal_mode", "synchronous", "foreign_keys", "trusted_schema")]

    assert await database.write(ask) == ["wal", 2, 1, 0]
    assert await database.read(pragma("query_only")) == 1
    assert await database.read(pragma("wal_autocheckpoint")) == 0


async def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(StoreFailed, match="readonly"):
        await database.read(insert("a"))


async def test_what_waits_together_is_committed_together(database: Database) -> None:
    commits: list[str] = []
    await database.write(lambda c: c.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None))
    await asyncio.gather(*(database.write(insert(f"n{number}")) for number in range(500)))
    assert len(await database.read(names)) == 500
    assert len(commits) <= 3  # the one that set the trace, and the 500 in one


async def test_one_operation_that_fails_is_undone_alone(database: Database) -> None:
    def half(connection: sqlite3.Connection) -> None:
        insert("half")(connection)
        raise ValueError("mine")

    results = await asyncio.gather(
        database.write(insert("before")),
        database.write(half),
        database.write(insert("before")),  # taken already
        database.write(insert("after")),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [str, ValueError, sqlite3.IntegrityError, str]
    assert await database.read(names) == {"before", "after"}


async def test_bulk_waits_behind_everything_else(database: Database) -> None:
    order: list[str] = []
    writes = [database.write(lambda _, n=n: order.append(f"bulk{n}"), bulk=True) for n in range(3)]
    writes += [database.write(lambda _: order.append("quick"))]
    await asyncio.gather(*writes)
    assert order == ["quick", "bulk0", "bulk1", "bulk2"]


async def test_no_bulk_write_waits_for_a_second_one_in_the_same_commit(database: Database) -> None:
    """A quick write that comes while bulk is under way waits for one of them, not for all."""
    order: list[str] = []
    bulk = [asyncio.ensure_future(database.write(lambda _, n=n: order.append(f"bulk{n}"), bulk=True)) for n in range(9)]
    await bulk[0]
    await database.write(lambda _: order.append("quick"))
    await asyncio.gather(*bulk)
    assert order.index("quick") <= 3


async def test_a_read_sees_one_state_of_the_database(database: Database) -> None:
    """However long a reader takes, and whatever is committed meanwhile."""
    loop = asyncio.get_running_loop()
    await database.write(insert("first"))

    def twice(connection: sqlite3.Connection) -> tuple[set[str], set[str]]:
        before = names(connection)
        asyncio.run_coroutine_threadsafe(database.write(insert("second")), loop).result(timeout=30)
        return before, names(connection)

    before, after = await database.read(twice)
    assert before == after == {"first"}
    assert await database.read(names) == {"first", "second"}


async def test_a_slow_read_does_not_hold_up_the_next(database: Database) -> None:
    loop = asyncio.get_running_loop()

    def slow(connection: sqlite3.Connection) -> set[str]:
        return asyncio.run_coroutine_threadsafe(database.read(names), loop).result(timeout=30)

    assert await database.read(slow) == set()


async def test_cancelled_callers_leave_no_transaction_open_and_undo_no_neighbour(database: Database) -> None:
    """Every answered write is there, every write is whole, and the database goes on: 3,000 random cancellations."""
    chance = random.Random(6)

    def pair(number: int) -> Callable[[sqlite3.Connection], None]:
        def op(connection: sqlite3.Connection) -> None:
            insert(f"{number}-left")(connection)
            insert(f"{number}-right")(connection)

        return op

    answered: set[int] = set()
    cancelled = 0

    async def write(number: int) -> None:
        await database.write(pair(number), bulk=chance.random() < 0.1)
        answered.add(number)

    for start in range(0, 6_000, 100):
        tasks = [asyncio.create_task(write(number)) for number in range(start, start + 100)]
        victims = chance.sample(tasks, 50)
        while victims:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            victims.pop().cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        cancelled += sum(isinstance(result, asyncio.CancelledError) for result in results)

    await database.write(insert("last"))
    stored = await database.read(names)
    assert cancelled > 1_000
    assert {f"{number}-left" for number in answered} <= stored
    assert {name for name in stored if name.endswith("-left")} == {
        name.replace("right", "left") for name in stored if name.endswith("-right")
    }


async def test_what_waits_is_written_before_the_database_closes(tmp_path: Path, open_database: Opener) -> None:
    database = await open_database(tmp_path / "queue.db")
    writes = [asyncio.ensure_future(database.write(insert(str(n)), bulk=n % 2 == 0)) for n in range(20)]
    await asyncio.sleep(0)
    await database.close()
    await asyncio.gather(*writes)
    with pytest.raises(StoreFailed, match="closed"):
        await database.write(insert("late"))
    with pytest.raises(StoreFailed, match="closed"):
        await database.read(names)
    await database.close()  # again is no harm
    reopened = await open_database(tmp_path / "queue.db")
    assert len(await reopened.read(names)) == 20
    await reopened.close()


async def test_a_clean_stop_is_known_at_the_next_start(tmp_path: Path, open_database: Opener) -> None:
    path = tmp_path / "queue.db"
    database = await open_database(path)
    assert database.was_clean
    shutil.copy(path, tmp_path / "copy.db")
    shutil.copy(f"{path}-wal", tmp_path / "copy.db-wal")
    await database.close()
    assert [name for name in contents(tmp_path) if name.startswith("queue")] == ["queue.db"]  # and no log beside it
    again = await open_database(path)
    assert again.was_clean
    await again.close()
    crashed = await open_database(tmp_path / "copy.db")
    assert not crashed.was_clean
    await crashed.close()


async def test_after_a_power_cut_all_that_was_acknowledged_is_there(tmp_path: Path, open_database: Opener) -> None:
    """The files as they are in the middle of a transaction open as they were before it."""
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
    with pytest.raises(StoreNewer, match=rf"queue\.db was made by a newer version .* this one knows {NEWEST}\)"):
        await open_database(path)
    assert fingerprint(path) == before


@pytest.mark.parametrize("kind", ["text", "foreign", "cut off", "garbled"])
async def test_a_file_that_is_no_queue_or_a_damaged_one_is_refused_untouched(
    tmp_path: Path, kind: str, open_database: Opener
) -> None:
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
    with pytest.raises(StoreDamaged, match=r"queue\.db .* It was left as it is\."):
        await open_database(path)
    assert fingerprint(path) == before


async def _unclean_copy(path: Path, open_database: Opener) -> None:
    """A database of some size at `path`, as a crash leaves it, with nothing in its log."""
    live = await open_database(path.with_name("live.db"))

    def fill(connection: sqlite3.Connection) -> None:
        connection.executemany(INSERT, [(f"name {number}", "v" * 200) for number in range(1_000)])

    await live.write(fill)
    await live.backup(path)
    await live.close()


async def test_a_file_that_cannot_be_opened_is_named_in_a_sentence(tmp_path: Path, open_database: Opener) -> None:
    with pytest.raises(StoreFailed, match=r"nowhere/queue\.db could not be read or written"):
        await open_database(tmp_path / "nowhere" / "queue.db")


async def test_an_empty_file_becomes_a_queue(tmp_path: Path, open_database: Opener) -> None:
    (tmp_path / "queue.db").touch()
    database = await open_database(tmp_path / "queue.db")
    await database.write(insert("a"))
    await database.close()


async def test_any_path_will_do(tmp_path: Path, open_database: Opener) -> None:
    folder = tmp_path / os.fsdecode(b"50% #1? \xff\n")
    folder.mkdir()
    database = await open_database(folder / "queue.db")
    await database.write(insert("a"))
    await database.backup(folder / "copy.db")
    await database.close()
    assert contents(folder) == ["copy.db", "queue.db"]


async def test_a_backup_of_a_database_in_use_holds_all_that_was_acknowledged(
    database: Database, tmp_path: Path, open_database: Opener
) -> None:
    await database.write(insert("before"))
    writes = [asyncio.ensure_future(database.write(insert(str(number)))) for number in range(50)]
    await database.backup(tmp_path / "copy.db")
    await asyncio.gather(*writes)
    await database.backup(tmp_path / "copy.db")  # in place of the former
    copy = await open_database(tmp_path / "copy.db")
    assert await copy.read(names) == {"before", *map(str, range(50))}
    await copy.close()


async def test_a_backup_that_fails_leaves_nothing_and_harms_nothing(database: Database, tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match=r"nowhere/copy\.db"):
        await database.backup(tmp_path / "nowhere" / "copy.db")
    await database.write(insert("a"))
    assert contents(tmp_path) == ["queue.db", "queue.db-shm", "queue.db-wal"]


async def test_a_migration_keeps_the_rows_and_a_copy_from_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_database: Opener
) -> None:
    path = tmp_path / "queue.db"
    database = await open_database(path)
    await database.write(insert("kept"))
    await database.close()
    steps = schema.migrations() | {
        NEWEST + 1: "ALTER TABLE servers ADD COLUMN name TEXT; UPDATE servers SET name = url;"
    }
    monkeypatch.setattr(schema, "migrations", lambda: steps)
    migrated = await open_database(path)
    assert await migrated.read(names) == {"kept"}
    assert await migrated.read(lambda connection: connection.execute("SELECT name FROM servers").fetchall()) == []
    await migrated.close()
    monkeypatch.undo()
    with pytest.raises(StoreNewer):
        await open_database(path)
    former = await open_database(tmp_path / f"queue.db.v{NEWEST}.backup")
    assert await former.read(names) == {"kept"}
    await former.close()


async def test_a_migration_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_database: Opener
) -> None:
    path = tmp_path / "queue.db"
    await (await open_database(path)).close()
    steps = schema.migrations() | {NEWEST + 1: "DROP TABLE counts; SELECT nonsense;"}
    monkeypatch.setattr(schema, "migrations", lambda: steps)
    with pytest.raises(StoreFailed, match="no such column"):
        await open_database(path)
    monkeypatch.undo()
    database = await open_database(path)
    assert await database.read(lambda connection: connection.execute("SELECT count(*) FROM counts").fetchone()[0]) == 0
    await database.close()
