"""A full or failing disk: acknowledged writes stay, callers receive an exact error, and the store works on."""

import asyncio
import contextlib
import os
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_fixtures import Opener, insert, names

from splootd.errors import StoreFailed, StoreFull

LARGE = 200  # pages


@contextlib.contextmanager
def no_large_files() -> Iterator[None]:
    """Make writes beyond a limit fail with EFBIG, which SQLite reports as an I/O error. `LARGE` exceeds the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512 << 10, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_writes_nothing_and_later_writes_succeed(tmp_path: Path, open_database: Opener) -> None:
    database = await open_database(tmp_path / "queue.db")
    await database.write(insert("before"))
    limit = await database.write(lambda c: c.execute("PRAGMA page_count").fetchone()[0] + 3)
    unlimited = await database.write(lambda c: c.execute("PRAGMA max_page_count").fetchone()[0])
    await database.write(lambda c: c.execute(f"PRAGMA max_page_count = {limit}").fetchone()[0])
    together = await asyncio.gather(
        database.write(insert("small")), database.write(insert("big", pages=10)), return_exceptions=True
    )
    assert [type(result) for result in together] == [StoreFull, StoreFull]  # one commit, so both
    assert "is full: nothing was written" in str(together[0])
    assert await database.read(names) == {"before"}
    await database.write(insert("small"))  # this one fits
    await database.write(lambda c: c.execute(f"PRAGMA max_page_count = {unlimited}").fetchone()[0])
    await database.write(insert("big", pages=10))
    await database.close()
    reopened = await open_database(tmp_path / "queue.db")
    assert reopened.was_clean_shutdown
    assert await reopened.read(names) == {"before", "small", "big"}
    await reopened.close()


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting requires root")
async def test_a_full_file_system_loses_no_acknowledged_write(tmp_path: Path, open_database: Opener) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(1 << 20))
        database = await open_database(disk / "queue.db")
        stored: set[str] = set()

        async def fill() -> None:
            while len(stored) < 1_000:
                stored.add(await database.write(insert(str(len(stored)), pages=4)))

        with pytest.raises(StoreFull):
            await fill()
        for _ in range(3):  # repeated while the disk is full
            with pytest.raises(StoreFull):
                await database.write(insert("too much", pages=400))
        assert await database.read(names) == stored
        ballast.unlink()
        stored.add(await database.write(insert("after", pages=20)))
        await database.close()
        reopened = await open_database(disk / "queue.db")
        await reopened.check_integrity()
        assert await reopened.read(names) == stored
        await reopened.close()


async def test_after_an_io_error_the_database_is_reopened(tmp_path: Path, open_database: Opener) -> None:
    database = await open_database(tmp_path / "queue.db")
    await database.write(insert("before"))
    with no_large_files():
        results = await asyncio.gather(
            database.write(insert("one", pages=LARGE)),
            database.write(insert("two", pages=LARGE)),
            return_exceptions=True,
        )
    assert [type(result) for result in results] == [StoreFailed, StoreFailed]
    assert "could not be read or written" in str(results[0])
    assert "before" in await database.read(names)
    await database.write(insert("after"))
    assert {"before", "after"} <= await database.read(names)
    await database.close()
    reopened = await open_database(tmp_path / "queue.db")
    assert reopened.was_clean_shutdown
    assert {"before", "after"} <= await reopened.read(names)
    await reopened.close()


async def test_failures_with_a_success_in_between_do_not_end_the_process(tmp_path: Path, open_database: Opener) -> None:
    database = await open_database(tmp_path / "queue.db")
    for number in range(5):
        with no_large_files(), pytest.raises(StoreFailed):
            await database.write(insert(f"lost {number}", pages=LARGE))
        await database.write(insert(f"kept {number}"))
    assert {f"kept {number}" for number in range(5)} <= await database.read(names)
    await database.close()


async def test_the_second_failure_in_a_row_ends_the_process(tmp_path: Path, open_database: Opener) -> None:
    """`run` raises the error; pending and later writes raise it too."""
    database = await open_database(tmp_path / "queue.db")
    running = asyncio.ensure_future(database.run())
    await database.write(insert("before"))
    with no_large_files():
        with pytest.raises(StoreFailed):
            await database.write(insert("one", pages=LARGE))
        await database.write(lambda connection: None)  # an empty commit does not count as a success
        waiting = asyncio.gather(
            database.write(insert("two", pages=LARGE)),
            database.write(insert("bulk one"), bulk=True),
            database.write(insert("bulk two"), bulk=True),
            return_exceptions=True,
        )
        assert [type(result) for result in await waiting] == [StoreFailed] * 3
        with pytest.raises(StoreFailed, match="could not be read or written"):
            await running
    with pytest.raises(StoreFailed, match="closed"):
        await database.write(insert("three"))
    await database.close()
    reopened = await open_database(tmp_path / "queue.db")
    assert not reopened.was_clean_shutdown
    assert "before" in await reopened.read(names)
    await reopened.close()


async def test_readers_survive_the_reopening(tmp_path: Path, open_database: Opener) -> None:
    """A read that runs while the writer fails still returns its result."""
    database = await open_database(tmp_path / "queue.db")
    await database.write(insert("before"))
    reopened = threading.Event()

    def slow(connection: sqlite3.Connection) -> set[str]:
        assert reopened.wait(timeout=30)
        return names(connection)

    async def fail() -> None:
        with no_large_files(), pytest.raises(StoreFailed):
            await database.write(insert("lost", pages=LARGE))

    reading = asyncio.create_task(database.read(slow))
    old_writer = database._writer
    failing = asyncio.create_task(fail())
    async with asyncio.timeout(30):
        while database._writer is old_writer:  # noqa: ASYNC110 - there is no signal for it
            await asyncio.sleep(0)
    reopened.set()
    assert await reading == {"before"}
    await failing
    await database.write(insert("after"))
    assert {"before", "after"} <= await database.read(names)


async def test_a_lock_of_another_program_is_reported_and_survived(tmp_path: Path, open_database: Opener) -> None:
    database = await open_database(tmp_path / "queue.db")
    await database.write(lambda c: c.execute("PRAGMA busy_timeout = 0").fetchall())
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for _ in range(3):
        with pytest.raises(StoreFailed, match="in use by another program: nothing was written"):
            await database.write(insert("a"))
    other.close()
    await database.write(insert("a"))
    await database.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from splootd.store.database import Database

async def main():
    database = await Database.open(Path(sys.argv[1]))
    def op(number):
        return lambda c: c.execute("INSERT INTO settings VALUES (?, '', 0)", (str(number),)).rowcount
    for start in range(0, 1_000_000, 20):
        await asyncio.gather(*(database.write(op(number)) for number in range(start, start + 20)))
        print(start + 20, flush=True)

asyncio.run(main())
"""


def acknowledged_by_a_killed_process(path: Path) -> int:
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(30)]
        writer.kill()
    return acknowledged[-1]


async def test_a_killed_process_loses_no_acknowledged_write(tmp_path: Path, open_database: Opener) -> None:
    path = tmp_path / "queue.db"
    acknowledged = acknowledged_by_a_killed_process(path)
    database = await open_database(path)
    assert not database.was_clean_shutdown
    assert {str(number) for number in range(acknowledged)} <= await database.read(names)
    await database.close()
