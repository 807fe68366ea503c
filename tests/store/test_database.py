"""The database: group commits, priorities, snapshots, cancellation, shutdown."""

import asyncio
import random
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from store_fixtures import Opener, insert, names

from splootd.errors import StoreFailed
from splootd.store import schema
from splootd.store.connection import Connection
from splootd.store.database import Database

THREAD_END_S = 10.0


async def test_a_write_is_on_the_disk_when_it_returns(database: Database) -> None:
    await database.write(insert("a"))
    other = sqlite3.connect(f"file:{database.path}?mode=ro", uri=True)
    assert "a" in names(other)
    other.close()


async def test_the_pragmas_that_protect_data_are_set(database: Database) -> None:
    def pragma(name: str) -> Callable[[sqlite3.Connection], object]:
        return lambda connection: connection.execute(f"PRAGMA {name}").fetchone()[0]

    def query(connection: sqlite3.Connection) -> list[object]:
        return [pragma(name)(connection) for name in ("journal_mode", "synchronous", "foreign_keys", "trusted_schema")]

    assert await database.write(query) == ["wal", 2, 1, 0]
    assert await database.read(pragma("query_only")) == 1
    assert await database.read(pragma("wal_autocheckpoint")) == 0


async def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(StoreFailed, match="readonly"):
        await database.read(insert("a"))


async def test_pending_writes_share_a_commit(database: Database) -> None:
    commits: list[str] = []
    await database.write(lambda c: c.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None))
    await asyncio.gather(*(database.write(insert(f"n{number}")) for number in range(500)))
    assert len(await database.read(names)) == 500
    assert len(commits) <= 3  # one for the trace callback, and one for all 500


async def test_an_operation_that_fails_is_rolled_back_alone(database: Database) -> None:
    def half(connection: sqlite3.Connection) -> None:
        insert("half")(connection)
        raise ValueError("of this operation")

    results = await asyncio.gather(
        database.write(insert("before")),
        database.write(half),
        database.write(insert("before")),  # a duplicate name
        database.write(insert("after")),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [str, ValueError, sqlite3.IntegrityError, str]
    assert await database.read(names) == {"before", "after"}


async def test_bulk_writes_run_after_normal_ones(database: Database) -> None:
    order: list[str] = []
    writes = [database.write(lambda _, n=n: order.append(f"bulk{n}"), bulk=True) for n in range(3)]
    writes += [database.write(lambda _: order.append("normal"))]
    await asyncio.gather(*writes)
    assert order == ["normal", "bulk0", "bulk1", "bulk2"]


async def test_urgent_writes_run_first_in_a_commit_of_their_own(database: Database) -> None:
    order: list[str] = []
    await database.write(lambda c: c.set_trace_callback(lambda sql: order.append(sql) if sql == "COMMIT" else None))
    await database.ping()
    order.clear()
    writes = [
        database.write(lambda _: order.append("bulk"), bulk=True),
        database.write(lambda _: order.append("normal")),
    ]
    writes += [database.write(lambda _, n=n: order.append(f"urgent{n}"), urgent=True) for n in range(2)]
    await asyncio.gather(*writes)
    assert order == ["urgent0", "urgent1", "COMMIT", "normal", "bulk", "COMMIT"]


async def test_urgent_writes_delay_other_writes_by_one_commit_only(database: Database) -> None:
    loop = asyncio.get_running_loop()
    order: list[str] = []
    more: list[asyncio.Task[None]] = []

    def urgent(_: sqlite3.Connection) -> None:
        """Queue the next urgent write while this one runs."""
        order.append("urgent")
        if len(order) < 9:
            loop.call_soon_threadsafe(lambda: more.append(asyncio.create_task(database.write(urgent, urgent=True))))

    await asyncio.gather(database.write(urgent, urgent=True), database.write(lambda _: order.append("normal")))
    while not all(task.done() for task in more):
        await asyncio.gather(*more)
    assert order[:3] == ["urgent", "urgent", "normal"]


async def test_a_normal_write_waits_for_one_bulk_write_only(database: Database) -> None:
    """A normal write that arrives during bulk writes waits for one of them, not for all."""
    order: list[str] = []
    bulk = [asyncio.ensure_future(database.write(lambda _, n=n: order.append(f"bulk{n}"), bulk=True)) for n in range(9)]
    await bulk[0]
    await database.write(lambda _: order.append("normal"))
    await asyncio.gather(*bulk)
    assert order.index("normal") <= 3


async def test_a_read_has_one_snapshot(database: Database) -> None:
    """However long the read takes, commits in between do not change its result."""
    loop = asyncio.get_running_loop()
    await database.write(insert("first"))

    def twice(connection: sqlite3.Connection) -> tuple[set[str], set[str]]:
        before = names(connection)
        asyncio.run_coroutine_threadsafe(database.write(insert("second")), loop).result(timeout=30)
        return before, names(connection)

    before, after = await database.read(twice)
    assert before == after == {"first"}
    assert await database.read(names) == {"first", "second"}


async def test_a_slow_read_does_not_block_the_next_one(database: Database) -> None:
    loop = asyncio.get_running_loop()

    def slow(connection: sqlite3.Connection) -> set[str]:
        return asyncio.run_coroutine_threadsafe(database.read(names), loop).result(timeout=30)

    assert await database.read(slow) == set()


async def test_reads_and_writes_continue_during_an_integrity_check(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_checked = threading.Event()
    monkeypatch.setattr(schema, "check_integrity", lambda connection, path: is_checked.wait())
    checking = asyncio.create_task(database.check_integrity())
    await database.write(insert("a"))
    assert await asyncio.gather(*(database.read(names) for _ in range(20))) == [{"a"}] * 20
    assert not checking.done()
    is_checked.set()
    await checking


@pytest.mark.parametrize("end", ["closed", "cancelled"])
async def test_closing_or_cancelling_interrupts_an_integrity_check(
    database: Database, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    started, loop = asyncio.Event(), asyncio.get_running_loop()

    def endless(connection: sqlite3.Connection, path: Path) -> None:
        connection.create_function("started", 0, lambda: bool(loop.call_soon_threadsafe(started.set)))
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT started() UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
        ).fetchall()

    monkeypatch.setattr(schema, "check_integrity", endless)
    checking = asyncio.create_task(database.check_integrity())
    await started.wait()
    if end == "closed":
        await database.close()
        with pytest.raises(StoreFailed, match="closed"):
            await checking
    else:
        checking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await checking
        await database.write(insert("after"))


async def test_a_check_that_is_cancelled_while_it_closes_does_not_keep_the_database_open(
    tmp_path: Path, open_database: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon checks its database at the start, so a stop soon after it can cancel any step of the check."""
    threads = set(threading.enumerate())
    database, close = await open_database(tmp_path / "queue.db"), Connection.close

    async def close_and_be_cancelled(connection: Connection) -> None:
        checking.cancel()
        await close(connection)

    checking = asyncio.create_task(database.check_integrity())
    with monkeypatch.context() as cancelling:
        cancelling.setattr(Connection, "close", close_and_be_cancelled)
        with pytest.raises(asyncio.CancelledError):
            await checking
    await database.close()
    for thread in set(threading.enumerate()) - threads:  # one that goes on would keep the process from exiting
        thread.join(THREAD_END_S)
        assert not thread.is_alive()
    reopened = await open_database(tmp_path / "queue.db")
    assert reopened.was_clean_shutdown
    await reopened.close()


async def test_cancelled_callers_leave_no_transaction_open_and_roll_back_no_other_write(database: Database) -> None:
    """After 3,000 random cancellations every acknowledged write is stored, and every write is whole."""
    chance = random.Random(6)

    def pair(number: int) -> Callable[[sqlite3.Connection], None]:
        def op(connection: sqlite3.Connection) -> None:
            insert(f"{number}-left")(connection)
            insert(f"{number}-right")(connection)

        return op

    acknowledged: set[int] = set()
    cancelled = 0

    async def write(number: int) -> None:
        await database.write(pair(number), bulk=chance.random() < 0.1)
        acknowledged.add(number)

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
    assert {f"{number}-left" for number in acknowledged} <= stored
    assert {name for name in stored if name.endswith("-left")} == {
        name.replace("right", "left") for name in stored if name.endswith("-right")
    }


async def test_pending_writes_are_committed_before_the_database_closes(tmp_path: Path, open_database: Opener) -> None:
    database = await open_database(tmp_path / "queue.db")
    writes = [asyncio.ensure_future(database.write(insert(str(n)), bulk=n % 2 == 0)) for n in range(20)]
    await asyncio.sleep(0)
    await database.close()
    await asyncio.gather(*writes)
    with pytest.raises(StoreFailed, match="closed"):
        await database.write(insert("late"))
    with pytest.raises(StoreFailed, match="closed"):
        await database.read(names)
    await database.close()  # closing twice is allowed
    reopened = await open_database(tmp_path / "queue.db")
    assert len(await reopened.read(names)) == 20
    await reopened.close()
