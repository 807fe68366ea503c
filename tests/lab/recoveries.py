"""Power cuts during a recovery or a restore: python -m lab.recoveries KIND FOLDER.

`recover` opens a damaged queue, `restore` replaces an intact one by a backup.
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
from lab.states import examine, output_of_the_store, scratch
from lab.store_truth import path_of, version_of
from store_fixtures import Store, open_store, source

from splootd.core.item import FoundFile
from splootd.store import recovery

PAGE_BYTES = 4096
DAMAGED_PAGES = 20
BACKED_UP, ALL = 50, 60  # items in the backup, and in the queue
BACKUP = "backups/queue-20260101.db"
NOW = 1e9


def explore(kind: str, seed: int, *, points_max: int, draws: int) -> int:
    """Check each state with the next start of the daemon. Returns the number of states."""
    with scratch() as work:
        before = asyncio.run(_queue_and_copy(work))
    if kind == "recover":
        before["queue.db"] = _damaged(before["queue.db"] or b"")
    with scratch() as work:
        root, log = work / "state", work / "log"
        root.mkdir()
        put(before, root)
        command = [*strace.recording(log), sys.executable, "-m", "lab.recoveries", kind, str(root)]
        subprocess.run(command, cwd=TESTS, check=True, stdout=subprocess.PIPE)
        chance = random.Random(seed)
        states = crash_states(log, root, output_of_the_store, chance, points_max=points_max, draws=draws, before=before)
        if kind == "recover":
            return examine(states, partial(_check_recovered, before["queue.db"] or b""))
        return examine(states, partial(_check_restored, before["queue.db-wal"] or b""))


async def _queue_and_copy(folder: Path) -> Tree:
    """Return a queue after a power cut, with a log that is not empty, and an older backup."""
    (folder / "backups").mkdir()
    async with open_store(folder / "queue.db") as store:
        await _enqueue(store, 1, BACKED_UP)
        await store.database.backup(folder / BACKUP)
    async with open_store(folder / "queue.db") as store:
        await _enqueue(store, BACKED_UP + 1, ALL)
        return {
            "backups": None,
            **{name: (folder / name).read_bytes() for name in ("queue.db", "queue.db-wal", BACKUP)},
        }


async def _enqueue(store: Store, first: int, last: int) -> None:
    files = [FoundFile(path_of(number), version_of(number)) for number in range(first, last + 1)]
    await store.import_store.enqueue(files, source(), is_still_there=lambda path, of: True, now=1.0)


def _damaged(content: bytes) -> bytes:
    """Return `content` with its first pages intact and the next ones overwritten."""
    return content[: 2 * PAGE_BYTES] + b"U" * DAMAGED_PAGES * PAGE_BYTES


async def _check_recovered(damaged: bytes, _: CrashState, folder: Path) -> None:
    """Check that the backup replaces the queue, with a notice, and that the damaged file is kept."""
    database = await recovery.open_or_recover(folder / "queue.db", folder / "backups", now=NOW + 1)
    try:
        assert await database.read(_has_notice), "there is no notice"
    finally:
        await database.close()
    assert await _items_after_a_start(folder) == BACKED_UP
    kept = [file.read_bytes() for file in _set_aside(folder, "damaged")]
    assert damaged in kept, "the damaged file is lost"


async def _check_restored(log: bytes, state: CrashState, folder: Path) -> None:
    """Check that the queue is the old one or the backup, and that the old one is kept.

    Its log may have been set aside with another time in its name than the file itself.
    """
    items = await _items_after_a_start(folder)
    assert items == BACKED_UP or (items == ALL and b"staged\n" not in state.output), f"{items} items"
    if items == BACKED_UP:
        assert BACKED_UP in map(_count_without_log, _set_aside(folder, "replaced")), "the replaced file is lost"
        assert log in _logs_set_aside(folder), "its log is lost"


def _set_aside(folder: Path, label: str) -> list[Path]:
    return [file for file in folder.glob(f"queue.db.{label}-*") if not file.name.endswith(("-wal", "-shm"))]


def _logs_set_aside(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in folder.glob("queue.db.replaced-*-wal")]


async def _items_after_a_start(folder: Path) -> int:
    """Return the number of items after the next start. The database must be intact."""
    database = await recovery.open_or_recover(folder / "queue.db", folder / "backups", now=NOW + 1)
    try:
        assert await database.read(_is_intact)
        return await database.read(_items)
    finally:
        await database.close()


def _is_intact(connection: sqlite3.Connection) -> bool:
    (integrity,) = connection.execute("PRAGMA integrity_check").fetchone()
    return bool(integrity == "ok")


def _has_notice(connection: sqlite3.Connection) -> bool:
    """Return whether the notice for the user is stored."""
    files = connection.execute("SELECT value FROM settings WHERE name = ?", (recovery.RECOVERY_NOTICE,)).fetchall()
    return bool(files and "was replaced by the backup" in files[0]["value"])


def _items(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM items").fetchone()[0])


def _count_without_log(file: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{file}?immutable=1", uri=True)) as connection:
        return _items(connection)


async def main(kind: str, folder: Path) -> None:
    if kind == "restore":
        await recovery.stage_restore(folder / BACKUP, folder / "queue.db")
        sys.stdout.write("staged\n")
        sys.stdout.flush()
    database = await recovery.open_or_recover(folder / "queue.db", folder / "backups", now=NOW)
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
