"""The database check of `sploot doctor`."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from control_fixtures import ControlApi, serve_control_api

from splootd.control import doctor
from splootd.protocol import Finding, Findings, RunDoctor
from splootd.store import schema
from splootd.store.maintenance import check_integrity

HOUR_S = 3_600.0


@pytest_asyncio.fixture
async def control_api(tmp_path: Path) -> AsyncIterator[ControlApi]:
    async with serve_control_api(tmp_path) as control_api:
        yield control_api


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Record the files of all integrity checks."""
    checked: list[Path] = []

    def check(connection: sqlite3.Connection, path: Path) -> None:
        checked.append(path)
        original(connection, path)

    original = schema.check_integrity
    monkeypatch.setattr(schema, "check_integrity", check)
    return checked


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the database too large for an immediate check."""
    monkeypatch.setattr(doctor, "INLINE_INTEGRITY_CHECK_BYTES_MAX", 0)


async def database(control_api: ControlApi, *, thorough: bool = False) -> Finding:

    reply = await control_api.request(RunDoctor(thorough), Findings)
    (finding,) = [each for each in reply.findings if each.check == "database"]
    return finding


async def test_a_small_database_is_checked_immediately(control_api: ControlApi, checks: list[Path]):
    assert await database(control_api) == Finding("database", "ok", "the database passed its integrity check")
    assert checks == [control_api.context.database.path]


@pytest.mark.usefixtures("large")
async def test_the_age_of_the_last_check_is_reported_for_a_large_database(control_api: ControlApi, checks: list[Path]):
    unknown = await database(control_api)
    assert (unknown.state, unknown.command) == ("warning", "sploot doctor --thorough")
    assert unknown.message.startswith("the integrity of the database has not been checked yet")
    await check_integrity(control_api.context.database, now=control_api.context.clock.now() - 3 * HOUR_S)
    checks.clear()
    message = "the database passed its integrity check 3 hours ago"
    assert await database(control_api) == Finding("database", "ok", message)
    assert checks == []


@pytest.mark.usefixtures("large")
async def test_a_thorough_check_of_a_large_database_is_remembered(control_api: ControlApi, checks: list[Path]):
    assert (await database(control_api, thorough=True)).message == "the database passed its integrity check"
    assert len(checks) == 1
    assert (await database(control_api)).message.endswith("integrity check just now")
    assert len(checks) == 1


@pytest.mark.usefixtures("large")
async def test_concurrent_thorough_checks_run_one_after_the_other(control_api: ControlApi, checks: list[Path]):
    """Each check needs a connection and the full read bandwidth of the disk."""
    found = await asyncio.gather(*(database(control_api, thorough=True) for _ in range(3)))
    assert {each.state for each in found} == {"ok"}
    assert len(checks) == 3


@pytest.mark.parametrize(
    ("seconds", "text"),
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
def test_an_age_is_formatted_in_its_largest_unit(seconds: float, text: str):
    assert doctor._format_ago(seconds) == text


@pytest.mark.parametrize(("installed", "missing"), [(None, "Cyrillic, Arabic"), ("rus", "Arabic")])
async def test_scripts_that_the_local_server_cannot_read_are_named(
    installed: str | None, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    program = tmp_path / "tesseract"
    if installed is not None:
        program.write_text(f"#!/bin/sh\necho 'List of available languages (1):'\necho {installed}\n")
        program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    names = [doctor.TESSERACT_SCRIPTS[each] for each in doctor._list_missing_scripts()]
    assert ", ".join(names).startswith(missing)
