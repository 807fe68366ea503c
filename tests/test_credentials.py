"""Tokens: their sources, their renewal and the permissions of the token file."""

import asyncio
import base64
import json
import stat
from pathlib import Path

import pytest

from splootd.clock import Clock
from splootd.credentials import Credentials, token_expiry
from splootd.errors import RequestError


class StoppedClock(Clock):
    def __init__(self, now: float) -> None:
        self.at = now

    def now(self) -> float:
        return self.at


def jwt(exp: float) -> str:
    payload = base64.urlsafe_b64encode(json.dumps({"exp": exp}).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJub25lIn0.{payload}.c2ln"


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock(1_000.0)


async def test_a_saved_token_survives_a_restart_and_is_private(tmp_path: Path, clock: StoppedClock):
    file = tmp_path / "token"
    await Credentials(file, clock).save(token="abc")
    assert await Credentials(file, clock).token() == "abc"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_the_environment_overrides_a_saved_token(tmp_path: Path, clock: StoppedClock):
    file = tmp_path / "token"
    await Credentials(file, clock).save(token="saved")
    assert await Credentials(file, clock, token="environment").token() == "environment"


async def test_a_command_runs_once_per_token_and_again_ten_seconds_before_its_expiry(
    tmp_path: Path, clock: StoppedClock
):
    counter = tmp_path / "runs"
    printer = tmp_path / "print-token"
    tokens = tmp_path / "tokens"
    tokens.write_text("\n".join([jwt(1_060), jwt(1_120)]) + "\n")
    printer.write_text(f'echo run >> "{counter}"\nsed -n "$(wc -l < "{counter}")p" "{tokens}"\n')
    credentials = Credentials(tmp_path / "token", clock, token_command=f"sh {printer}")
    assert await credentials.token() == jwt(1_060)
    clock.at = 1_049.0
    assert await credentials.token() == jwt(1_060)
    clock.at = 1_050.0
    assert await credentials.token() == jwt(1_120)
    assert counter.read_text().count("run") == 2


async def test_a_command_that_fails_or_prints_nothing_means_signed_out(tmp_path: Path, clock: StoppedClock):
    for command in ("false", "true", "exit 3"):
        assert await Credentials(tmp_path / "token", clock, token_command=command).token() is None


async def test_refresh_reports_a_different_token(tmp_path: Path, clock: StoppedClock):
    credentials = Credentials(tmp_path / "token", clock)
    await credentials.save(token="one")
    assert await credentials.token() == "one"
    assert not await credentials.refresh()
    await Credentials(tmp_path / "token", clock).save(token="two")
    assert await credentials.refresh()
    assert await credentials.token() == "two"


async def test_login_notifies_and_logout_deletes_the_token(tmp_path: Path, clock: StoppedClock):
    credentials = Credentials(tmp_path / "token", clock)
    snapshot = credentials.token_changed.snapshot()
    await credentials.save(token_command="echo from-command")
    assert await credentials.token_changed.wait(snapshot, 0)
    assert await credentials.token() == "from-command"
    await credentials.clear()
    assert await credentials.token() is None


async def test_saving_nothing_raises(tmp_path: Path, clock: StoppedClock):
    with pytest.raises(RequestError, match="no token was given"):
        await Credentials(tmp_path / "token", clock).save()


async def test_concurrent_callers_share_one_run_of_the_command(tmp_path: Path, clock: StoppedClock):
    counter = tmp_path / "runs"
    credentials = Credentials(tmp_path / "token", clock, token_command=f'echo run >> "{counter}"; echo abc')
    assert set(await asyncio.gather(*(credentials.token() for _ in range(10)))) == {"abc"}
    assert counter.read_text().count("run") == 1


@pytest.mark.parametrize("token", ["", "abc", "a.b.c", "a.eyJ4IjoxfQ.c", "a.W10.c"])
def test_a_token_without_exp_has_no_expiry(token: str):
    assert token_expiry(token) is None


async def test_a_missing_token_is_read_once(tmp_path: Path) -> None:
    """Without a token, requests must not read the disk each time."""
    file = tmp_path / "token"
    credentials = Credentials(file, Clock())
    assert await credentials.token() is None
    file.write_text(json.dumps({"token": "a"}))
    assert await credentials.token() is None
    assert await credentials.refresh()  # after the server rejected a request without a token
    assert await credentials.token() == "a"
