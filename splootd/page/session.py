"""Who may look at the page: a token that opens the door once, and the cookie that a browser gets for it.

Anybody on this machine can reach a port, and not every system says who is there: what says so is this.
"""

import contextlib
import hashlib
import hmac
import json
import os
import secrets
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from splootd.clock import Clock

TOKEN_S = 60.0
TOKENS_MAX = 16  # waiting to be used; the oldest gives way
COOKIE_S = 30 * 86_400  # since the page was last opened
COOKIE_CHARS_MAX = 200
SECRET_BYTES = 32
NOTE_BYTES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Note:
    """What outlives the daemon, so that an open page goes on after a restart: the port, and the key of the cookies."""

    port: int
    secret: bytes

    def __repr__(self) -> str:
        return f"Note(port {self.port})"

    @classmethod
    def read(cls, file: Path) -> "Note | None":
        """None where there is none that can be used; OSError where it cannot be read."""
        try:
            with file.open("rb") as stream:
                told = json.loads(stream.read(NOTE_BYTES_MAX))
            note = cls(told["port"], bytes.fromhex(told["secret"]))
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None
        return note if type(note.port) is int and len(note.secret) == SECRET_BYTES else None

    def write(self, file: Path) -> None:
        """Readable by the user alone, and whole whenever the machine stops."""
        new = file.with_suffix(".new")
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="ascii") as stream:  # noqa: PTH123 - a descriptor, not a path
            json.dump({"port": self.port, "secret": self.secret.hex()}, stream)
            stream.flush()
            os.fsync(descriptor)
        new.replace(file)


class Tokens:
    """Each opens the door once, within TOKEN_S."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: deque[tuple[bytes, float]] = deque(maxlen=TOKENS_MAX)

    def new(self) -> str:
        token = secrets.token_urlsafe(32)
        self._waiting.append((_digest(token), self._clock.monotonic() + TOKEN_S))
        return token

    def redeem(self, token: str) -> bool:
        """Whether it is good; it is not any more afterwards. All are looked at, however early one fits."""
        given, now = _digest(token), self._clock.monotonic()
        fits = [hmac.compare_digest(given, digest) for digest, _ in self._waiting]
        is_good = any(fit and until > now for fit, (_, until) in zip(fits, self._waiting, strict=True))
        left = [entry for fit, entry in zip(fits, self._waiting, strict=True) if not fit and entry[1] > now]
        self._waiting.clear()
        self._waiting.extend(left)
        return is_good

    def clear(self) -> None:
        self._waiting.clear()


class Seal:
    """Makes and knows cookies: a time, and a MAC that only this daemon can make. They are good at one port alone.

    A browser tells its cookies to every port of a host; the name carries the port so that two daemons do not take each
    other's away.
    """

    def __init__(self, note: Note, clock: Clock) -> None:
        self._note = note
        self._clock = clock

    @property
    def name(self) -> str:
        return f"sploot_page_{self._note.port}"

    def cookie(self) -> str:
        """The value of a `Set-Cookie` header: no script reads it, and no other site makes a browser send it."""
        until = int(self._clock.now()) + COOKIE_S
        return f"{self.name}={until}.{self._mac(until)}; Max-Age={COOKIE_S}; Path=/; HttpOnly; SameSite=Strict"

    def knows(self, header: str) -> bool:
        """Whether a `Cookie` header holds one of ours."""
        return any(self._is_good(value) for name, value in _pairs(header) if name == self.name)

    def _is_good(self, value: str) -> bool:
        until, _, mac = value.partition(".")
        if len(value) > COOKIE_CHARS_MAX or not value.isascii() or not until.isdecimal():
            return False
        return hmac.compare_digest(mac, self._mac(int(until))) and self._clock.now() < int(until)

    def _mac(self, until: int) -> str:
        return hmac.new(self._note.secret, f"{self._note.port}.{until}".encode(), "sha256").hexdigest()


def new_secret() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _pairs(header: str) -> list[tuple[str, str]]:
    pairs = (pair.partition("=") for pair in header.split(";"))
    return [(name.strip(), value.strip()) for name, _, value in pairs]
