"""The queue is checked and backed up once a day while in use, also after clock jumps and disk errors."""

import errno
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from store_fixtures import Store, damage, digest, open_store

from splootd.clock import Clock
from splootd.core.item import State
from splootd.errors import StoreDamaged
from splootd.store import schema
from splootd.system.janitor import BACKUP_INTERVAL_S, BACKUPS_KEPT, INTEGRITY_CHECK_INTERVAL_S, Janitor

START = 1_770_000_000.0
ITEMS = 100  # more than are on one page


class SetClock(Clock):
    def __init__(self) -> None:
        self.at = START

    def now(self) -> float:
        return self.at


class JanitorHarness:
    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.clock = SetClock()
        self.backups = folder / "backups"
        self.janitor = Janitor(store.database, self.backups, self.clock)

    async def makes_backup_after(self, seconds: float) -> bool:
        """Run maintenance after so many seconds; return whether it made a backup."""
        self.clock.at += seconds
        return (await self.janitor.run_once()).backup is not None

    def backup_times(self) -> list[int]:
        return sorted(int(each.stem.removeprefix("queue-")) for each in self.backups.iterdir())


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[JanitorHarness]:
    async with open_store(tmp_path / "queue.db") as store:
        yield JanitorHarness(store, tmp_path)


async def test_a_backup_is_made_once_a_day_and_three_are_kept(harness: JanitorHarness) -> None:
    made = [await harness.makes_backup_after(hours * 3_600.0) for hours in (0, 1, 22, 1, 24, 23, 1, 24)]
    assert made == [True, False, False, True, True, False, True, True]
    newest = START + 24 * 3_600 * 4
    assert harness.backup_times() == [int(newest - day * 86_400) for day in (2, 1, 0)]
    assert len(harness.backup_times()) == BACKUPS_KEPT


async def test_a_backup_has_the_rows_of_the_queue(harness: JanitorHarness) -> None:
    await harness.store.new_in(State.READY, 1)
    assert await harness.makes_backup_after(0)
    (copy,) = harness.backups.iterdir()
    connection = sqlite3.connect(copy)
    assert connection.execute("SELECT path, state FROM items").fetchall() == [(b"/memes/1.png", "ready")]
    connection.close()


@pytest.mark.parametrize("set_s", [-365 * 86_400.0, 365 * 86_400.0])
async def test_setting_the_clock_prevents_no_backup_and_adds_none(harness: JanitorHarness, set_s: float) -> None:
    assert await harness.makes_backup_after(0)
    assert await harness.makes_backup_after(set_s)
    assert not await harness.makes_backup_after(3_600.0)
    assert await harness.makes_backup_after(BACKUP_INTERVAL_S)


async def test_without_space_for_a_backup_maintenance_continues(
    harness: JanitorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_full(connection: sqlite3.Connection, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(schema, "copy_to", disk_full)
        assert not await harness.makes_backup_after(0)
    assert await harness.makes_backup_after(3_600.0)


async def test_a_damaged_queue_does_not_replace_good_backups(
    harness: JanitorHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is raised, so that the next start sets the file aside."""
    assert await harness.makes_backup_after(0)

    def damaged(connection: sqlite3.Connection, target: Path) -> None:
        raise StoreDamaged("queue.db is damaged")

    monkeypatch.setattr(schema, "copy_to", damaged)
    with pytest.raises(StoreDamaged):
        await harness.makes_backup_after(BACKUP_INTERVAL_S)
    assert harness.backup_times() == [int(START)]


async def test_the_integrity_check_runs_once_a_day_also_across_restarts(tmp_path: Path) -> None:
    was_checked = []
    for hour in (0, 1, 23, 24, 48, 71, 72):
        async with open_store(tmp_path / "queue.db") as store:
            harness = JanitorHarness(store, tmp_path)
            harness.clock.at += hour * 3_600.0
            was_checked.append((await harness.janitor.run_once()).was_integrity_checked)
    assert was_checked == [True, False, False, True, True, False, True]


@pytest.mark.parametrize("set_s", [-365 * 86_400.0, 365 * 86_400.0])
async def test_setting_the_clock_neither_prevents_the_integrity_check_nor_repeats_it(
    harness: JanitorHarness, set_s: float
) -> None:
    was_checked = []
    for seconds in (0.0, set_s, 3_600.0, INTEGRITY_CHECK_INTERVAL_S):
        harness.clock.at += seconds
        was_checked.append((await harness.janitor.run_once()).was_integrity_checked)
    assert was_checked == [True, True, False, True]


async def test_damage_in_unread_pages_is_found_within_a_day(tmp_path: Path) -> None:
    """It stops the daemon, so that the next start sets the file aside; good backups are kept."""
    file = tmp_path / "queue.db"
    async with open_store(file) as store:
        for number in range(ITEMS):
            await store.new_in(State.READY, number)
        before = JanitorHarness(store, tmp_path)
        await before.janitor.run_once()
    damage(file, "items")
    async with open_store(file) as store:
        harness = JanitorHarness(store, tmp_path)
        harness.clock.at += INTEGRITY_CHECK_INTERVAL_S
        with pytest.raises(StoreDamaged, match=r"queue\.db is damaged"):
            await harness.janitor.run()
        assert harness.backup_times() == before.backup_times()


async def test_a_resumable_upload_is_pruned_after_a_month(harness: JanitorHarness) -> None:
    """No server keeps it for longer."""
    for number, days in ((1, 31), (2, 29)):
        await harness.store.ledger.start_upload(digest(number), "/up/1", now=START - days * 86_400)
    await harness.janitor.run_once()
    assert [await harness.store.ledger.get_upload_path(digest(number)) for number in (1, 2)] == [None, "/up/1"]
