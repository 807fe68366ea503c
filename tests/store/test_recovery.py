"""Recovery: a damaged queue is set aside and replaced; no file is overwritten or deleted."""

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from splootd.errors import StoreDamaged, StoreFailed, StoreFull, StoreNewer
from splootd.store import recovery, schema
from splootd.store.database import Database
from splootd.store.maintenance import check_integrity, seconds_since_integrity_check
from splootd.store.recovery import RECOVERY_NOTICE, mark_suspect, mark_suspect_on_damage, stage_restore

NOW = 1_770_000_000.0
MOMENT = "20260202T024000Z"
LIMIT_S = 60.0


class Queue:
    """The database and its backups, and how the daemon opens them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "state" / "queue.db"
        self.backups = folder / "state" / "backups"
        self.backups.mkdir(parents=True)
        self.open_ones: list[Database] = []

    async def open(self) -> Database:
        self.open_ones.append(await recovery.open_or_recover(self.path, self.backups, now=NOW))
        return self.open_ones[-1]

    async def made(self, name: str, into: Path) -> Path:
        """Create an intact queue that contains `name`."""
        database = await Database.open(into.with_name("making.db"))
        await note(database, name)
        await database.backup(into)
        await database.close()
        for end in ("", "-wal", "-shm"):
            into.with_name("making.db" + end).unlink(missing_ok=True)
        return into

    def files(self) -> list[str]:
        return sorted(each.name for each in self.path.parent.iterdir() if each.is_file())


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    queue = Queue(tmp_path)
    yield queue
    for database in queue.open_ones:
        await database.close()


async def note(database: Database, name: str) -> None:
    await database.write(lambda c: c.execute("INSERT INTO settings VALUES (?, 'x', 0)", (name,)).rowcount)


async def names(database: Database) -> set[str]:
    rows = await database.read(lambda c: c.execute("SELECT name FROM settings").fetchall())
    return {row[0] for row in rows} - {schema.CLEAN_SHUTDOWN, schema.INTEGRITY_CHECKED_AT, RECOVERY_NOTICE}


async def recovery_notice(database: Database) -> str:
    rows = await database.read(
        lambda c: c.execute("SELECT value FROM settings WHERE name = ?", (RECOVERY_NOTICE,)).fetchall()
    )
    return str(rows[0][0]) if rows else ""


def garble(path: Path) -> bytes:
    """Damage the middle of the file, and return its content."""
    whole = path.read_bytes()
    half = len(whole) // 2 // 4096 * 4096
    path.write_bytes(whole[:half] + hashlib.sha256(b"").digest() * 128 + whole[half + 4096 :])
    return path.read_bytes()


async def test_an_intact_queue_is_opened(queue: Queue) -> None:
    await note(await queue.open(), "kept")
    await queue.open_ones[0].close()
    database = await queue.open()
    assert await names(database) == {"kept"}
    assert await recovery_notice(database) == ""
    assert [name for name in queue.files() if not name.startswith("queue.db-")] == ["queue.db"]


async def test_a_damaged_queue_is_set_aside_and_replaced_by_its_newest_intact_backup(queue: Queue) -> None:
    await queue.made("live", queue.path)
    damaged = garble(queue.path)
    await queue.made("old", queue.backups / "queue-000000000001.db")
    await queue.made("new", queue.backups / "queue-000000000002.db")
    garble(await queue.made("newest", queue.backups / "queue-000000000003.db"))
    before = {each.name: each.read_bytes() for each in queue.backups.iterdir()}
    database = await queue.open()
    assert await names(database) == {"new"}
    aside = queue.path.with_name(f"queue.db.damaged-{MOMENT}")
    assert aside.read_bytes() == damaged
    notice = await recovery_notice(database)
    assert notice.startswith("the queue database was damaged and was replaced by the backup of ")
    assert str(aside) in notice
    assert {each.name: each.read_bytes() for each in queue.backups.iterdir()} == before
    await database.close()
    assert queue.files() == ["queue.db", aside.name]


async def test_without_a_backup_the_queue_is_empty_and_the_notice_names_the_next_step(queue: Queue) -> None:
    await queue.made("live", queue.path)
    damaged = garble(queue.path)
    database = await queue.open()
    assert await names(database) == set()
    notice = await recovery_notice(database)
    assert "is empty: add your folders again, they are no longer watched" in notice
    assert queue.path.with_name(f"queue.db.damaged-{MOMENT}").read_bytes() == damaged
    assert "\n" not in notice


@pytest.mark.parametrize("content", [b"Dear diary, " * 1_000, b"SQLite format 3\0"])
async def test_a_file_that_is_not_a_queue_is_set_aside(queue: Queue, content: bytes) -> None:
    queue.path.write_bytes(content)
    await queue.open()
    assert queue.path.with_name(f"queue.db.damaged-{MOMENT}").read_bytes() == content


async def test_a_queue_truncated_by_a_power_cut_is_not_new(queue: Queue) -> None:
    await queue.made("copy", queue.backups / "queue-000000000001.db")
    queue.path.touch()
    assert await names(await queue.open()) == {"copy"}


async def test_files_set_aside_earlier_are_never_overwritten(queue: Queue) -> None:
    for content in (b"first" * 99, b"second" * 99, b"third" * 99):
        queue.path.write_bytes(content)
        await (await queue.open()).close()
    kept = [each.read_bytes()[:5] for each in sorted(queue.path.parent.glob("queue.db.damaged-*"))]
    assert kept == [b"first", b"secon", b"third"]


async def test_a_log_is_set_aside_with_its_database(queue: Queue) -> None:
    """A write-ahead log that a crash has left is renamed with the damaged file."""
    database = await queue.open()
    await note(database, "in the log")
    files = {end: queue.path.with_name(f"queue.db{end}") for end in ("", "-wal")}
    live = {end: file.read_bytes() for end, file in files.items()}
    await database.close()
    for end, content in live.items():
        files[end].write_bytes(content)
    mark_suspect(queue.path, "of the test")
    reopened = await queue.open()
    assert await names(reopened) == set()
    assert queue.path.with_name(f"queue.db.damaged-{MOMENT}-wal").read_bytes() == live["-wal"]
    assert queue.path.with_name(f"queue.db.damaged-{MOMENT}").read_bytes() == live[""]


async def test_damage_found_in_use_is_recorded_for_the_next_start(queue: Queue) -> None:
    await (await queue.open()).close()
    await queue.made("copy", queue.backups / "queue-000000000001.db")
    with pytest.raises(BaseExceptionGroup), mark_suspect_on_damage(queue.path):
        raise BaseExceptionGroup("workers", [ValueError(), BaseExceptionGroup("more", [StoreDamaged("torn page")])])
    assert await names(await queue.open()) == {"copy"}
    assert not queue.path.with_name("queue.db.suspect").exists()


async def test_other_errors_do_not_mark_the_queue_as_suspect(queue: Queue) -> None:
    await (await queue.open()).close()
    with pytest.raises(BaseExceptionGroup), mark_suspect_on_damage(queue.path):
        raise BaseExceptionGroup("workers", [StoreFailed("disk")])
    assert queue.files() == ["queue.db"]


async def test_after_an_unclean_shutdown_a_large_file_is_unchecked_until_the_next_check(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clean shutdown in between does not change that."""
    monkeypatch.setattr("splootd.store.database.CHECK_AT_OPEN_BYTES_MAX", 0)
    database = await queue.open()
    await check_integrity(database, now=NOW)
    assert await seconds_since_integrity_check(database, now=NOW + 60) == 60
    await database.backup(queue.path.with_name("crashed.db"))
    await database.close()
    queue.path.with_name("crashed.db").replace(queue.path)
    for _ in range(2):
        database = await queue.open()
        assert await seconds_since_integrity_check(database, now=NOW + 60) is None
        await database.close()
    database = await queue.open()
    await check_integrity(database, now=NOW)
    await database.close()
    assert await seconds_since_integrity_check(await queue.open(), now=NOW + 60) == 60


async def test_a_small_file_is_checked_at_open_after_an_unclean_shutdown(queue: Queue) -> None:
    await queue.made("unclean", queue.path)
    ago_s = await seconds_since_integrity_check(await queue.open(), now=time.time())
    assert ago_s is not None
    assert ago_s < LIMIT_S


async def test_the_next_start_completes_a_recovery_that_crashed_at_any_step(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies before the first rename or unlink, then before the second, and so on."""
    await queue.made("live", queue.path)
    damaged = garble(queue.path)
    await queue.made("copy", queue.backups / "queue-000000000001.db")
    whole = {each.name: each.read_bytes() for each in queue.path.parent.iterdir() if each.is_file()}
    step = 0
    while True:
        for each in queue.path.parent.iterdir():
            if each.is_file():
                each.unlink()
        for name, content in whole.items():
            (queue.path.parent / name).write_bytes(content)
        with monkeypatch.context() as patch:
            died = die_at(patch, step)
            with contextlib.suppress(Crash):
                await (await queue.open()).close()
        if not died:
            break
        database = await queue.open()
        assert await names(database) == {"copy"}, f"after a crash at step {step}"
        assert await recovery_notice(database)
        await database.close()
        asides = [each.read_bytes() for each in queue.path.parent.glob(f"queue.db.damaged-{MOMENT}*")]
        assert damaged in asides
        step += 1
    assert step > 3


class Crash(BaseException):
    pass


def die_at(patch: pytest.MonkeyPatch, step: int) -> list[str]:
    """Make step number `step` of the module on the disk raise Crash."""
    died: list[str] = []
    left = [step]

    def deadly(name: str) -> None:
        act = getattr(os, name)

        def acts(*arguments: object, **options: object) -> object:
            if "queue.db" in str(arguments[0]) and not died:
                if not left[0]:
                    died.append(name)
                    raise Crash
                left[0] -= 1
            return act(*arguments, **options)

        patch.setattr(os, name, acts)

    for name in ("rename", "replace", "unlink"):
        deadly(name)
    return died


# Staged restore.


async def test_a_staged_backup_replaces_the_queue_at_the_next_start_and_the_old_one_is_kept(queue: Queue) -> None:
    await note(await queue.open(), "live")
    copy = await queue.made("copy", queue.path.parent.parent / "copy.db")
    before = copy.read_bytes()
    await stage_restore(copy, queue.path)
    assert await names(queue.open_ones[0]) == {"live"}  # it is in use until then
    await queue.open_ones[0].close()
    database = await queue.open()
    assert await names(database) == {"copy"}
    assert await recovery_notice(database) == ""
    assert copy.read_bytes() == before
    old = await Database.open(queue.path.with_name(f"queue.db.replaced-{MOMENT}"))
    assert await names(old) == {"live"}
    await old.close()


async def test_an_unusable_backup_is_refused_and_nothing_changes(queue: Queue, tmp_path: Path) -> None:
    await (await queue.open()).close()
    newer = await queue.made("newer", tmp_path / "newer.db")
    connection = sqlite3.connect(newer)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreNewer, match=r"newer\.db was made by a newer version"):
        await stage_restore(newer, queue.path)
    foreign = tmp_path / "foreign.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE bookmarks (url)")
    connection.close()
    with pytest.raises(StoreDamaged, match=r"foreign\.db is the database of another program"):
        await stage_restore(foreign, queue.path)
    garbled = await queue.made("garbled", tmp_path / "garbled.db")
    garble(garbled)
    with pytest.raises(StoreDamaged, match=r"garbled\.db is damaged"):
        await stage_restore(garbled, queue.path)
    (tmp_path / "empty.db").touch()
    with pytest.raises(StoreDamaged, match=r"empty\.db"):
        await stage_restore(tmp_path / "empty.db", queue.path)
    with pytest.raises(StoreFailed, match=r"nowhere\.db could not be read"):
        await stage_restore(tmp_path / "nowhere.db", queue.path)
    with pytest.raises(StoreFailed):
        await stage_restore(tmp_path, queue.path)
    assert queue.files() == ["queue.db"]


async def test_a_newer_queue_is_refused_untouched(queue: Queue) -> None:
    await queue.made("live", queue.path)
    connection = sqlite3.connect(queue.path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    await queue.made("copy", queue.backups / "queue-000000000001.db")
    before = queue.path.read_bytes()
    with pytest.raises(StoreNewer):
        await queue.open()
    assert queue.path.read_bytes() == before
    assert queue.files() == ["queue.db"]


async def test_a_full_disk_does_not_lead_to_an_empty_queue(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.path.write_bytes(b"garbage" * 999)
    await queue.made("copy", queue.backups / "queue-000000000001.db")

    def no_room(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(recovery, "_copy_bytes", no_room)
        with pytest.raises(StoreFull):
            await queue.open()
    assert not queue.path.exists()
    assert await names(await queue.open()) == {"copy"}
