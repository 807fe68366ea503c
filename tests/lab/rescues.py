"""The daemon goes back to a copy, and the power goes while it does: python -m lab.rescues KIND FOLDER.

`rescue` opens a damaged queue, `restore` puts a copy in the place of a good one.
"""

import asyncio
import contextlib
import random
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

from lab import strace
from lab.crashes import CrashState, crash_states
from lab.disks import Tree, put
from lab.programs import TESTS
from lab.states import examine, scratch, told_by_the_store
from lab.store_truth import path_of, version_of
from storekit import Store, opened, origin

from splootd.store import rescue
from splootd.store.arrivals import Candidate

PAGE_BYTES = 4096
NONSENSE_PAGES = 20
COPIED, ALL = 50, 60  # items in the copy, and in the queue
COPY = "backups/queue-20260101.db"
NOW = 1e9


def explore(kind: str, seed: int, *, points_max: int, draws: int) -> int:
    """Hold each state to what the next start must make of it. Returns how many states."""
    with scratch() as work:
        before = asyncio.run(_queue_and_copy(work))
    if kind == "rescue":
        before["queue.db"] = _damaged(before["queue.db"] or b"")
    with scratch() as work:
        root, log = work / "state", work / "log"
        root.mkdir()
        put(before, root)
        command = [*strace.recording(log), sys.executable, "-m", "lab.rescues", kind, str(root)]
        subprocess.run(command, cwd=TESTS, check=True, stdout=subprocess.PIPE)
        chance = random.Random(seed)
        states = crash_states(log, root, told_by_the_store, chance, points_max=points_max, draws=draws, before=before)
        if kind == "rescue":
            return examine(states, partial(_check_rescued, before["queue.db"] or b""))
        return examine(states, partial(_check_restored, before["queue.db-wal"] or b""))


async def _queue_and_copy(folder: Path) -> Tree:
    """A queue as a power cut leaves it, with a log that is not empty, and a copy from before."""
    (folder / "backups").mkdir()
    async with opened(folder / "queue.db") as store:
        await _offer(store, 1, COPIED)
        await store.database.backup(folder / COPY)
    async with opened(folder / "queue.db") as store:
        await _offer(store, COPIED + 1, ALL)
        return {
            "backups": None,
            **{name: (folder / name).read_bytes() for name in ("queue.db", "queue.db-wal", COPY)},
        }


async def _offer(store: Store, first: int, last: int) -> None:
    found = [Candidate(path_of(number), version_of(number), None) for number in range(first, last + 1)]
    await store.arrivals.offer(found, origin(), still_there=lambda path, of: True, now=1.0)


def _damaged(content: bytes) -> bytes:
    """The first pages as they were, then nonsense."""
    return content[: 2 * PAGE_BYTES] + b"U" * NONSENSE_PAGES * PAGE_BYTES


async def _check_rescued(damaged: bytes, _: CrashState, folder: Path) -> None:
    """The copy is in its place, and says so; the damaged file is kept."""
    database = await rescue.opened(folder / "queue.db", folder / "backups", now=NOW + 1)
    try:
        assert await database.read(_told), "nobody is told"
    finally:
        await database.close()
    assert await _items_after_a_start(folder) == COPIED
    kept = [file.read_bytes() for file in _set_aside(folder, "damaged")]
    assert damaged in kept, "the damaged file is lost"


async def _check_restored(log: bytes, state: CrashState, folder: Path) -> None:
    """It is the one or the other, and the other is kept: perhaps its log under another time than the file itself."""
    items = await _items_after_a_start(folder)
    assert items == COPIED or (items == ALL and b"staged\n" not in state.told), f"{items} items"
    if items == COPIED:
        assert COPIED in map(_count_without_log, _set_aside(folder, "replaced")), "the replaced file is lost"
        assert log in _logs_set_aside(folder), "its log is lost"


def _set_aside(folder: Path, word: str) -> list[Path]:
    return [file for file in folder.glob(f"queue.db.{word}-*") if not file.name.endswith(("-wal", "-shm"))]


def _logs_set_aside(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in folder.glob("queue.db.replaced-*-wal")]


async def _items_after_a_start(folder: Path) -> int:
    """The items in the queue as the next start opens it. It must be whole."""
    database = await rescue.opened(folder / "queue.db", folder / "backups", now=NOW + 1)
    try:
        assert await database.read(_all_is_well)
        return await database.read(_items)
    finally:
        await database.close()


def _all_is_well(connection: sqlite3.Connection) -> bool:
    (integrity,) = connection.execute("PRAGMA integrity_check").fetchone()
    return bool(integrity == "ok")


def _told(connection: sqlite3.Connection) -> bool:
    """The setting is there that tells the user."""
    found = connection.execute("SELECT value FROM settings WHERE name = ?", (rescue.MISHAP,)).fetchall()
    return bool(found and "went back to its copy" in found[0]["value"])


def _items(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM items").fetchone()[0])


def _count_without_log(file: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{file}?immutable=1", uri=True)) as connection:
        return _items(connection)


async def main(kind: str, folder: Path) -> None:
    if kind == "restore":
        await rescue.stage(folder / COPY, folder / "queue.db")
        sys.stdout.write("staged\n")
        sys.stdout.flush()
    database = await rescue.opened(folder / "queue.db", folder / "backups", now=NOW)
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
