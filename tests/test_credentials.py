"""Signing in: where the token comes from, when the next one is fetched, and that nobody else can read it."""

import asyncio
import base64
import json
import stat
from pathlib import Path

import pytest

from splootd.clock import Clock
from splootd.credentials import Credentials, expiry
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


async def test_a_kept_token_survives_a_restart_and_is_the_users_alone(tmp_path: Path, clock: StoppedClock):
    file = tmp_path / "token"
    await Credentials(file, clock).keep(token="abc")
    assert await Credentials(file, clock).token() == "abc"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_the_environment_beats_what_is_kept(tmp_path: Path, clock: StoppedClock):
    file = tmp_path / "token"
    await Credentials(file, clock).keep(token="kept")
    assert await Credentials(file, clock, token="environment").token() == "environment"


async def test_a_command_runs_once_for_each_token_and_again_ten_seconds_before_its_end(
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


async def test_renewing_says_whether_there_is_another_token_to_try(tmp_path: Path, clock: StoppedClock):
    credentials = Credentials(tmp_path / "token", clock)
    await credentials.keep(token="one")
    assert await credentials.token() == "one"
    assert not await credentials.renew()
    await Credentials(tmp_path / "token", clock).keep(token="two")
    assert await credentials.renew()
    assert await credentials.token() == "two"


async def test_signing_in_rings_and_signing_out_forgets(tmp_path: Path, clock: StoppedClock):
    credentials = Credentials(tmp_path / "token", clock)
    ticket = credentials.signal.ticket()
    await credentials.keep(token_command="echo from-command")
    assert await credentials.signal.wait(ticket, 0)
    assert await credentials.token() == "from-command"
    await credentials.clear()
    assert await credentials.token() is None


async def test_nothing_given_is_a_clear_error(tmp_path: Path, clock: StoppedClock):
    with pytest.raises(RequestError, match="no token was given"):
        await Credentials(tmp_path / "token", clock).keep()


async def test_many_askers_share_one_run_of_the_command(tmp_path: Path, clock: StoppedClock):
    counter = tmp_path / "runs"
    credentials = Credentials(tmp_path / "token", clock, token_command=f'echo run >> "{counter}"; echo abc')
    assert set(await asyncio.gather(*(credentials.token() for _ in range(10)))) == {"abc"}
    assert counter.read_text().count("run") == 1


@pytest.mark.parametrize("token", ["", "abc", "a.b.c", "a.eyJ4IjoxfQ.c", "a.W10.c"])
def test_a_token_that_names_no_end_has_none(token: str):
    assert expiry(token) is None


async def test_that_there_is_no_token_is_looked_up_once(tmp_path: Path) -> None:
    """Sending without one must not cost a trip to the disk for every question."""
    file = tmp_path / "token"
    credentials = Credentials(file, Clock())
    assert await credentials.token() is None
    file.write_text(json.dumps({"token": "a"}))
    assert await credentials.token() is None
    assert await credentials.renew()  # after the server has said that it wants one
    assert await credentials.token() == "a"
