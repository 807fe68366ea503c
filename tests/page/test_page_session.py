"""Who is let in, and for how long."""

import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.clock import Clock
from splootd.page.session import COOKIE_S, SECRET_BYTES, TOKEN_S, TOKENS_MAX, Note, Seal, Tokens, new_secret


class Hands(Clock):
    """A clock that stands still until it is put forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> float:
        return 1_800_000_000.0 + self.ahead_s

    def monotonic(self) -> float:
        return self.ahead_s


NOTE = Note(4711, bytes(range(SECRET_BYTES)))


def given_to_browser(seal: Seal) -> str:
    """What the browser says from then on."""
    return seal.cookie().partition(";")[0]


def test_a_token_is_good_once():
    tokens = Tokens(Hands())
    token, other = tokens.new(), tokens.new()
    assert tokens.redeem(token)
    assert not tokens.redeem(token)
    assert tokens.redeem(other)


def test_a_token_is_good_for_a_minute():
    clock = Hands()
    tokens = Tokens(clock)
    early, late = tokens.new(), tokens.new()
    clock.ahead_s = TOKEN_S - 1
    assert tokens.redeem(early)
    clock.ahead_s = TOKEN_S + 1
    assert not tokens.redeem(late)


@given(st.text())
def test_what_was_never_given_is_no_token(word: str):
    tokens = Tokens(Hands())
    tokens.new()
    assert not tokens.redeem(word)


def test_tokens_that_wait_are_few():
    tokens = Tokens(Hands())
    given = [tokens.new() for _ in range(TOKENS_MAX + 1)]
    assert len(set(given)) == len(given)
    assert [tokens.redeem(token) for token in given] == [False, *[True] * TOKENS_MAX]


def test_a_cookie_is_for_no_script_and_no_other_site():
    seal = Seal(NOTE, Hands())
    name, *attributes = seal.cookie().split("; ")
    assert name.startswith("sploot_page_4711=")
    assert set(attributes) == {f"Max-Age={COOKIE_S}", "Path=/", "HttpOnly", "SameSite=Strict"}
    assert seal.knows(f"theme=dark; {name}; other=1")


def test_a_cookie_is_known_after_a_restart_and_at_no_other_port():
    clock = Hands()
    cookie = given_to_browser(Seal(NOTE, clock))
    assert Seal(NOTE, clock).knows(cookie)
    elsewhere = Seal(Note(4712, NOTE.secret), clock)
    assert not elsewhere.knows(cookie)
    assert not elsewhere.knows(cookie.replace("4711", "4712"))


def test_a_cookie_ends():
    clock = Hands()
    cookie = given_to_browser(Seal(NOTE, clock))
    clock.ahead_s = COOKIE_S - 60
    assert Seal(NOTE, clock).knows(cookie)
    clock.ahead_s = COOKIE_S + 60
    assert not Seal(NOTE, clock).knows(cookie)


def test_a_cookie_cannot_be_made_to_last():
    clock = Hands()
    seal = Seal(NOTE, clock)
    name, _, value = given_to_browser(seal).partition("=")
    until, _, mac = value.partition(".")
    for forged in (f"{int(until) + 1}.{mac}", until, f"{until}.", f"{until}.{mac}0", mac, f".{mac}", "", "." * 50):
        assert not seal.knows(f"{name}={forged}")
    assert not seal.knows(f"{name}={'9' * 1000}.{mac}")
    assert not seal.knows(f"{name}=\u0661.{mac}")


@given(st.text())
def test_no_header_at_all_is_more_than_a_no(header: str):
    assert not Seal(NOTE, Hands()).knows(header)


def test_another_secret_knows_nobody():
    clock = Hands()
    assert not Seal(Note(NOTE.port, new_secret()), clock).knows(given_to_browser(Seal(NOTE, clock)))


def test_a_note_is_the_users_alone_and_shows_no_secret(tmp_path: Path):
    file = tmp_path / "page.json"
    file.with_suffix(".new").write_text("what a crash has left")
    NOTE.write(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Note.read(file) == NOTE
    assert NOTE.secret.hex() not in repr(NOTE)
    assert re.fullmatch(r"Note\(port 4711\)", repr(NOTE))
    Note(4712, NOTE.secret).write(file)
    assert Note.read(file) == Note(4712, NOTE.secret)
    assert [each.name for each in tmp_path.iterdir()] == ["page.json"]


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
def test_a_note_that_cannot_be_read_is_none(tmp_path: Path, text: str):
    file = tmp_path / "page.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert Note.read(file) is None
    assert Note.read(tmp_path / "nowhere") is None
