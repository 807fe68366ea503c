"""The queue is read through and copied while it is in use: once a day, whatever the clock does and the disk lacks."""

import errno
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from storekit import Store, damage, digest, opened

from splootd.clock import Clock
from splootd.core.item import State
from splootd.errors import StoreDamaged
from splootd.store import schema
from splootd.work.janitor import BACKUP_INTERVAL_S, BACKUPS_KEPT, READ_THROUGH_INTERVAL_S, Janitor

START = 1_770_000_000.0
ITEMS = 100  # more than are on one page


class SetClock(Clock):
    def __init__(self) -> None:
        self.at = START

    def now(self) -> float:
        return self.at


class House:
    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.clock = SetClock()
        self.backups = folder / "backups"
        self.janitor = Janitor(store.database, self.backups, self.clock)

    async def after(self, seconds: float) -> bool:
        """Whether a copy was made when it came round so much later."""
        self.clock.at += seconds
        return (await self.janitor.run_once()).backup is not None

    def copies(self) -> list[int]:
        return sorted(int(each.stem.removeprefix("queue-")) for each in self.backups.iterdir())


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with opened(tmp_path / "queue.db") as store:
        yield House(store, tmp_path)


async def test_a_copy_is_made_once_a_day_and_three_are_kept(house: House) -> None:
    made = [await house.after(hours * 3_600.0) for hours in (0, 1, 22, 1, 24, 23, 1, 24)]
    assert made == [True, False, False, True, True, False, True, True]
    newest = START + 24 * 3_600 * 4
    assert house.copies() == [int(newest - day * 86_400) for day in (2, 1, 0)]
    assert len(house.copies()) == BACKUPS_KEPT


async def test_a_copy_holds_the_queue_as_it_was(house: House) -> None:
    await house.store.new_in(State.READY, 1)
    assert await house.after(0)
    (copy,) = house.backups.iterdir()
    connection = sqlite3.connect(copy)
    assert connection.execute("SELECT path, state FROM items").fetchall() == [(b"/memes/1.png", "ready")]
    connection.close()


@pytest.mark.parametrize("set_s", [-365 * 86_400.0, 365 * 86_400.0])
async def test_a_clock_that_was_set_makes_neither_none_nor_too_many(house: House, set_s: float) -> None:
    assert await house.after(0)
    assert await house.after(set_s)
    assert not await house.after(3_600.0)
    assert await house.after(BACKUP_INTERVAL_S)


async def test_without_room_for_a_copy_the_work_goes_on(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(connection: sqlite3.Connection, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(schema, "copy_to", no_room)
        assert not await house.after(0)
    assert await house.after(3_600.0)


async def test_a_damaged_queue_is_not_copied_over_good_copies(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, so that the next start sets it aside."""
    assert await house.after(0)

    def torn(connection: sqlite3.Connection, target: Path) -> None:
        raise StoreDamaged("queue.db is damaged")

    monkeypatch.setattr(schema, "copy_to", torn)
    with pytest.raises(StoreDamaged):
        await house.after(BACKUP_INTERVAL_S)
    assert house.copies() == [int(START)]


async def test_all_of_it_is_read_once_a_day_and_that_is_known_over_a_restart(tmp_path: Path) -> None:
    read = []
    for hour in (0, 1, 23, 24, 48, 71, 72):
        async with opened(tmp_path / "queue.db") as store:
            house = House(store, tmp_path)
            house.clock.at += hour * 3_600.0
            read.append((await house.janitor.run_once()).was_read_through)
    assert read == [True, False, False, True, True, False, True]


@pytest.mark.parametrize("set_s", [-365 * 86_400.0, 365 * 86_400.0])
async def test_a_clock_that_was_set_neither_keeps_it_from_being_read_nor_has_it_read_all_the_time(
    house: House, set_s: float
) -> None:
    read = []
    for seconds in (0.0, set_s, 3_600.0, READ_THROUGH_INTERVAL_S):
        house.clock.at += seconds
        read.append((await house.janitor.run_once()).was_read_through)
    assert read == [True, True, False, True]


async def test_damage_that_nobody_has_met_is_found_within_a_day(tmp_path: Path) -> None:
    """It ends the daemon, so that the next start sets the file aside; good copies stay as they are."""
    file = tmp_path / "queue.db"
    async with opened(file) as store:
        for number in range(ITEMS):
            await store.new_in(State.READY, number)
        before = House(store, tmp_path)
        await before.janitor.run_once()
    damage(file, "items")
    async with opened(file) as store:
        house = House(store, tmp_path)
        house.clock.at += READ_THROUGH_INTERVAL_S
        with pytest.raises(StoreDamaged, match=r"queue\.db is damaged"):
            await house.janitor.run()
        assert house.copies() == before.copies()


async def test_an_upload_that_was_left_for_a_month_is_forgotten(house: House) -> None:
    """No server keeps it for so long."""
    for number, days in ((1, 31), (2, 29)):
        await house.store.ledger.upload_begun(digest(number), "/up/1", now=START - days * 86_400)
    await house.janitor.run_once()
    assert [await house.store.ledger.upload(digest(number)) for number in (1, 2)] == [None, "/up/1"]
