"""Tokens: their sources, their renewal and the permissions of the token file."""

import asyncio
import base64
import json
import stat
from pathlib import Path

import pytest

from splootd.clock import Clock
from splootd.credentials import TOKEN_ORIGINS_MAX, Credentials, TokenOrigins, token_expiry, token_subject
from splootd.errors import RequestError, TokenCommandFailed, Unauthenticated


class StoppedClock(Clock):
    def __init__(self, now: float) -> None:
        self.at = now

    def now(self) -> float:
        return self.at

    monotonic = now


def jwt(exp: float, **claims: str) -> str:
    payload = base64.urlsafe_b64encode(json.dumps({"exp": exp, **claims}).encode()).decode().rstrip("=")
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


@pytest.mark.parametrize(
    ("command", "reason"),
    [("exit 22", "exit 22"), ("true", "it printed nothing"), ("no-such-program-at-all", "exit 127")],
)
async def test_a_command_that_fails_is_named_with_its_reason(
    tmp_path: Path, clock: StoppedClock, command: str, reason: str
):
    credentials = Credentials(tmp_path / "token", clock, token_command=command)
    with pytest.raises(TokenCommandFailed, match=f"^the token command failed, {reason}$"):
        await credentials.token()


async def test_a_command_that_fails_runs_again_after_1_2_4_and_at_most_60_seconds(tmp_path: Path, clock: StoppedClock):
    runs = tmp_path / "runs"
    credentials = Credentials(tmp_path / "token", clock, token_command=f'echo run >> "{runs}"; exit 22')
    for number, delay_s in enumerate((1, 2, 4, 8, 16, 32, 60, 60), 1):
        for _ in range(3):  # requests in between do not run it
            with pytest.raises(TokenCommandFailed) as raised:
                await credentials.token()
            assert raised.value.retry_after_s == delay_s
        assert runs.read_text().count("run") == number
        clock.at += delay_s


async def test_a_token_is_used_to_its_end_while_the_command_fails(tmp_path: Path, clock: StoppedClock):
    token = tmp_path / "current"
    token.write_text(jwt(1_060))
    credentials = Credentials(tmp_path / "token", clock, token_command=f'cat "{token}"')
    assert await credentials.token() == jwt(1_060)
    token.unlink()
    clock.at = 1_055.0
    assert await credentials.token() == jwt(1_060)
    clock.at = 1_060.0
    with pytest.raises(TokenCommandFailed):
        await credentials.token()


@pytest.mark.parametrize("secret", [{"token": "s3cret"}, {"token_command": "echo s3cret"}])
async def test_a_saved_token_belongs_to_its_origin(tmp_path: Path, clock: StoppedClock, secret: dict[str, str]):
    file = tmp_path / "token"
    await Credentials(file, clock, origin="https://a:443").save(**secret)
    elsewhere = Credentials(file, clock, origin="http://b:80")
    assert await elsewhere.token() is None
    assert elsewhere.foreign_token == "the saved token is for https://a:443"
    assert await Credentials(file, clock, origin="https://a:443").token() == "s3cret"
    await elsewhere.save(token="of b")
    assert await elsewhere.token() == "of b"
    assert elsewhere.foreign_token is None
    assert await Credentials(file, clock, origin="https://a:443").token() is None


@pytest.mark.parametrize(
    ("configured", "source"),
    [({"token": "s3cret"}, "SPLOOT_TOKEN"), ({"token_command": "echo s3cret"}, "the output of `token_command`")],
)
async def test_a_configured_token_belongs_to_the_first_origin_that_accepted_it(
    tmp_path: Path, clock: StoppedClock, configured: dict[str, str], source: str
):
    def at(origin: str) -> Credentials:
        return Credentials(tmp_path / "token", clock, origin=origin, **configured)

    assert await at("https://typo:443").token() == "s3cret"  # which never answers
    first = at("https://a:443")
    assert await first.token() == "s3cret"
    first.record_accepted()
    assert "s3cret" not in (tmp_path / "token-origins").read_text()
    assert [await at(each).token() for each in ("https://a:443", "http://b:80", "local")] == ["s3cret", None, None]
    elsewhere = at("http://b:80")
    assert await elsewhere.token() is None
    assert elsewhere.foreign_token == f"{source} is for https://a:443"
    await elsewhere.save(token="of b")
    assert await elsewhere.token() == "of b"
    assert elsewhere.foreign_token is None


async def test_a_saved_token_does_not_bind_the_configured_one(tmp_path: Path, clock: StoppedClock):
    credentials = Credentials(tmp_path / "token", clock, origin="https://a:443", token_command="echo configured")
    await credentials.save(token="saved")
    assert await credentials.token() == "saved"
    credentials.record_accepted()
    assert await Credentials(tmp_path / "token", clock, origin="http://b:80", token_command="echo configured").token()


async def test_the_origins_of_the_newest_hundred_tokens_are_kept(tmp_path: Path, clock: StoppedClock):
    for number in range(TOKEN_ORIGINS_MAX + 1):
        Credentials(tmp_path / "token", clock, origin="https://a:443", token=f"{number}").record_accepted()
    origins = TokenOrigins(tmp_path / "token")
    assert origins.find("0") is None
    assert origins.find("1") == origins.find(f"{TOKEN_ORIGINS_MAX}") == "https://a:443"


async def test_an_accepted_sign_in_is_a_change_only_after_a_rejected_one(tmp_path: Path, clock: StoppedClock):
    credentials = Credentials(tmp_path / "token", clock)
    snapshot = credentials.token_changed.snapshot()
    credentials.record_accepted()
    assert not snapshot.is_set()
    credentials.record_rejected()
    credentials.record_accepted()
    assert snapshot.is_set()


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
    file.write_text(json.dumps({"token": "a", "origin": "local"}))
    assert await credentials.token() is None
    assert await credentials.refresh()  # after the server rejected a request without a token
    assert await credentials.token() == "a"


async def test_a_token_of_another_account_than_the_open_one_is_not_given_out(tmp_path: Path, clock: StoppedClock):
    credentials = Credentials(tmp_path / "token", clock, account="anna")
    await credentials.save(token=jwt(2_000.0, sub="anna"))
    assert token_subject(await credentials.token() or "") == "anna"
    await credentials.save(token=jwt(2_000.0, sub="ben"))
    with pytest.raises(Unauthenticated, match=r"for another account \(ben\) than the queue \(anna\)"):
        await credentials.token()
    assert await credentials.fetch_subject() == "ben"


async def test_a_token_that_names_no_account_is_given_out(tmp_path: Path, clock: StoppedClock):
    credentials = Credentials(tmp_path / "token", clock, account="anna")
    for token in ("an opaque token", jwt(2_000.0)):
        await credentials.save(token=token)
        assert await credentials.token() == token
        assert await credentials.fetch_subject() is None
