import asyncio
import random
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from storekit import Opener, insert, names

from splootd.errors import StoreFailed
from splootd.store import schema
from splootd.store.database import Database


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


async def test_what_is_urgent_goes_ahead_of_everything_else_in_a_commit_of_its_own(database: Database) -> None:
    order: list[str] = []
    await database.write(lambda c: c.set_trace_callback(lambda sql: order.append(sql) if sql == "COMMIT" else None))
    await database.touch()
    order.clear()
    writes = [
        database.write(lambda _: order.append("bulk"), bulk=True),
        database.write(lambda _: order.append("quick")),
    ]
    writes += [database.write(lambda _, n=n: order.append(f"urgent{n}"), urgent=True) for n in range(2)]
    await asyncio.gather(*writes)
    assert order == ["urgent0", "urgent1", "COMMIT", "quick", "bulk", "COMMIT"]


async def test_however_much_is_urgent_everything_else_waits_for_one_commit_of_it(database: Database) -> None:
    loop = asyncio.get_running_loop()
    order: list[str] = []
    more: list[asyncio.Task[None]] = []

    def urgent(_: sqlite3.Connection) -> None:
        """While it is written, the next one comes."""
        order.append("urgent")
        if len(order) < 9:
            loop.call_soon_threadsafe(lambda: more.append(asyncio.create_task(database.write(urgent, urgent=True))))

    await asyncio.gather(database.write(urgent, urgent=True), database.write(lambda _: order.append("quick")))
    while not all(task.done() for task in more):
        await asyncio.gather(*more)
    assert order[:3] == ["urgent", "urgent", "quick"]


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


async def test_nobody_waits_while_all_of_it_is_read(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    is_read = threading.Event()
    monkeypatch.setattr(schema, "check", lambda connection, path: is_read.wait())
    checking = asyncio.create_task(database.check())
    await database.write(insert("a"))
    assert await asyncio.gather(*(database.read(names) for _ in range(20))) == [{"a"}] * 20
    assert not checking.done()
    is_read.set()
    await checking


@pytest.mark.parametrize("end", ["closed", "cancelled"])
async def test_whoever_ends_does_not_wait_until_all_of_it_is_read(
    database: Database, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    begun, loop = asyncio.Event(), asyncio.get_running_loop()

    def endless(connection: sqlite3.Connection, path: Path) -> None:
        connection.create_function("begun", 0, lambda: bool(loop.call_soon_threadsafe(begun.set)))
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT begun() UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
        ).fetchall()

    monkeypatch.setattr(schema, "check", endless)
    checking = asyncio.create_task(database.check())
    await begun.wait()
    if end == "closed":
        await database.close()
        with pytest.raises(StoreFailed, match="closed"):
            await checking
    else:
        checking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await checking
        await database.write(insert("goes on"))


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
