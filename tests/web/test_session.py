"""Login tokens and session cookies of the web UI."""

import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.clock import Clock
from splootd.web.session import (
    COOKIE_TTL_S,
    SECRET_BYTES,
    TOKEN_TTL_S,
    TOKENS_MAX,
    CookieSigner,
    LoginTokens,
    SessionState,
    new_secret,
)


class ManualClock(Clock):
    """A clock that only advances when `ahead_s` is set."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> float:
        return 1_800_000_000.0 + self.ahead_s

    def monotonic(self) -> float:
        return self.ahead_s


STATE = SessionState(4711, bytes(range(SECRET_BYTES)))


def browser_cookie(signer: CookieSigner) -> str:
    """Return the Cookie header that a browser sends after the login."""
    return signer.set_cookie_header().partition(";")[0]


def test_a_token_is_valid_once():
    tokens = LoginTokens(ManualClock())
    token, other = tokens.issue(), tokens.issue()
    assert tokens.redeem(token)
    assert not tokens.redeem(token)
    assert tokens.redeem(other)


def test_a_token_is_valid_for_a_minute():
    clock = ManualClock()
    tokens = LoginTokens(clock)
    early, late = tokens.issue(), tokens.issue()
    clock.ahead_s = TOKEN_TTL_S - 1
    assert tokens.redeem(early)
    clock.ahead_s = TOKEN_TTL_S + 1
    assert not tokens.redeem(late)


@given(st.text())
def test_an_unknown_token_is_rejected(text: str):
    tokens = LoginTokens(ManualClock())
    tokens.issue()
    assert not tokens.redeem(text)


def test_the_number_of_pending_tokens_is_bounded():
    tokens = LoginTokens(ManualClock())
    issued = [tokens.issue() for _ in range(TOKENS_MAX + 1)]
    assert len(set(issued)) == len(issued)
    assert [tokens.redeem(token) for token in issued] == [False, *[True] * TOKENS_MAX]


def test_a_cookie_is_http_only_and_same_site():
    signer = CookieSigner(STATE, ManualClock())
    name, *attributes = signer.set_cookie_header().split("; ")
    assert name.startswith("sploot_ui_4711=")
    assert set(attributes) == {f"Max-Age={COOKIE_TTL_S}", "Path=/", "HttpOnly", "SameSite=Strict"}
    assert signer.has_valid_cookie(f"theme=dark; {name}; other=1")


def test_a_cookie_survives_a_restart_but_is_invalid_on_another_port():
    clock = ManualClock()
    cookie = browser_cookie(CookieSigner(STATE, clock))
    assert CookieSigner(STATE, clock).has_valid_cookie(cookie)
    elsewhere = CookieSigner(SessionState(4712, STATE.secret), clock)
    assert not elsewhere.has_valid_cookie(cookie)
    assert not elsewhere.has_valid_cookie(cookie.replace("4711", "4712"))


def test_a_cookie_expires():
    clock = ManualClock()
    cookie = browser_cookie(CookieSigner(STATE, clock))
    clock.ahead_s = COOKIE_TTL_S - 60
    assert CookieSigner(STATE, clock).has_valid_cookie(cookie)
    clock.ahead_s = COOKIE_TTL_S + 60
    assert not CookieSigner(STATE, clock).has_valid_cookie(cookie)


def test_a_forged_cookie_is_invalid():
    clock = ManualClock()
    signer = CookieSigner(STATE, clock)
    name, _, value = browser_cookie(signer).partition("=")
    until, _, mac = value.partition(".")
    for forged in (f"{int(until) + 1}.{mac}", until, f"{until}.", f"{until}.{mac}0", mac, f".{mac}", "", "." * 50):
        assert not signer.has_valid_cookie(f"{name}={forged}")
    assert not signer.has_valid_cookie(f"{name}={'9' * 1000}.{mac}")
    assert not signer.has_valid_cookie(f"{name}=\u0661.{mac}")


@given(st.text())
def test_any_header_is_handled(header: str):
    assert not CookieSigner(STATE, ManualClock()).has_valid_cookie(header)


def test_a_new_secret_invalidates_all_cookies():
    clock = ManualClock()
    assert not CookieSigner(SessionState(STATE.port, new_secret()), clock).has_valid_cookie(
        browser_cookie(CookieSigner(STATE, clock))
    )


def test_the_state_file_is_private_and_repr_hides_the_secret(tmp_path: Path):
    file = tmp_path / "web-ui.json"
    file.with_suffix(".new").write_text("left by a crash")
    STATE.write(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert SessionState.read(file) == STATE
    assert STATE.secret.hex() not in repr(STATE)
    assert re.fullmatch(r"SessionState\(port 4711\)", repr(STATE))
    SessionState(4712, STATE.secret).write(file)
    assert SessionState.read(file) == SessionState(4712, STATE.secret)
    assert [each.name for each in tmp_path.iterdir()] == ["web-ui.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "{}",
        '{"port": "x", "secret": ""}',
        '{"port": 1, "secret": "00"}',
        '{"port": true}',
        "\udcff",
    ],
)
def test_an_invalid_state_file_is_ignored(tmp_path: Path, text: str):
    file = tmp_path / "web-ui.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert SessionState.read(file) is None
    assert SessionState.read(tmp_path / "missing") is None
