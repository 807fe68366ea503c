"""What the daemon says of its own database: when it was read through, and what is found when it is now."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from controlled import House, controlled

from splootd.control import doctor
from splootd.protocol import Examine, Finding, Findings
from splootd.store import schema
from splootd.store.upkeep import read_through

HOUR_S = 3_600.0


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with controlled(tmp_path) as house:
        yield house


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read through, one after the other."""
    read: list[Path] = []

    def check(connection: sqlite3.Connection, path: Path) -> None:
        read.append(path)
        whole(connection, path)

    whole = schema.check
    monkeypatch.setattr(schema, "check", check)
    return read


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the database be too large to be read at once."""
    monkeypatch.setattr(doctor, "READ_AT_ONCE_BYTES_MAX", 0)


async def database(house: House, *, thorough: bool = False) -> Finding:
    said = await house.ask(Examine(thorough), Findings)
    (found,) = [each for each in said.findings if each.check == "database"]
    return found


async def test_a_small_one_is_read_at_once(house: House, checks: list[Path]):
    assert await database(house) == Finding("database", "ok", "the queue's database holds together")
    assert checks == [house.parts.database.path]


@pytest.mark.usefixtures("large")
async def test_of_a_large_one_is_said_when_it_was_read(house: House, checks: list[Path]):
    unknown = await database(house)
    assert (unknown.state, unknown.command) == ("note", "sploot doctor --thorough")
    assert unknown.says.startswith("nobody knows yet whether the queue's database holds together")
    await read_through(house.parts.database, now=house.parts.clock.now() - 3 * HOUR_S)
    checks.clear()
    says = "the queue's database held together when it was read through 3 hours ago"
    assert await database(house) == Finding("database", "ok", says)
    assert checks == []


@pytest.mark.usefixtures("large")
async def test_a_large_one_is_read_where_that_is_asked_for_and_it_is_remembered(house: House, checks: list[Path]):
    assert (await database(house, thorough=True)).says == "the queue's database holds together"
    assert len(checks) == 1
    assert (await database(house)).says.endswith("when it was read through just now")
    assert len(checks) == 1


@pytest.mark.usefixtures("large")
async def test_two_who_have_it_read_take_turns(house: House, checks: list[Path]):
    """Each takes a connection, and all the reading that a disk can do."""
    found = await asyncio.gather(*(database(house, thorough=True) for _ in range(3)))
    assert {each.state for each in found} == {"ok"}
    assert len(checks) == 3


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "just now"),
        (59.9, "just now"),
        (60.0, "1 minute ago"),
        (3_599.0, "59 minutes ago"),
        (2 * HOUR_S, "2 hours ago"),
        (47 * HOUR_S, "1 day ago"),
        (480 * HOUR_S, "20 days ago"),
    ],
)
def test_a_time_is_told_as_people_count(seconds: float, words: str):
    assert doctor._ago(seconds) == words
