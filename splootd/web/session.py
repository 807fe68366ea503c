"""Sessions of the web UI: one-time login tokens and signed cookies.

Any local user can connect to a loopback port, and not every system reports the peer's uid. A session proves that the
browser belongs to the user who ran `sploot ui`.
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

TOKEN_TTL_S = 60.0
TOKENS_MAX = 16  # unused tokens; a new one replaces the oldest
COOKIE_TTL_S = 30 * 86_400  # since the last visit
COOKIE_CHARS_MAX = 200
SECRET_BYTES = 32
STATE_BYTES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class SessionState:
    """Port and cookie key, stored so that an open page continues after a restart of the daemon."""

    port: int
    secret: bytes

    def __repr__(self) -> str:
        return f"SessionState(port {self.port})"

    @classmethod
    def read(cls, file: Path) -> "SessionState | None":
        """Read the state; return None when it is missing or invalid. Raises OSError when it cannot be read."""
        try:
            with file.open("rb") as stream:
                values = json.loads(stream.read(STATE_BYTES_MAX))
            state = cls(values["port"], bytes.fromhex(values["secret"]))
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None
        return state if type(state.port) is int and len(state.secret) == SECRET_BYTES else None

    def write(self, file: Path) -> None:
        """Replace the state file atomically, with mode 0600."""
        new = file.with_suffix(".new")
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="ascii") as stream:  # noqa: PTH123 - a descriptor, not a path
            json.dump({"port": self.port, "secret": self.secret.hex()}, stream)
            stream.flush()
            os.fsync(descriptor)
        new.replace(file)


class LoginTokens:
    """One-time login tokens, valid for TOKEN_TTL_S."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pending: deque[tuple[bytes, float]] = deque(maxlen=TOKENS_MAX)

    def issue(self) -> str:
        token = secrets.token_urlsafe(32)
        self._pending.append((_digest(token), self._clock.monotonic() + TOKEN_TTL_S))
        return token

    def redeem(self, token: str) -> bool:
        """Return True for a valid token and invalidate it. Compare all tokens, so that the time reveals no match."""
        given, now = _digest(token), self._clock.monotonic()
        matches = [hmac.compare_digest(given, digest) for digest, _ in self._pending]
        is_valid = any(match and until > now for match, (_, until) in zip(matches, self._pending, strict=True))
        remaining = [entry for match, entry in zip(matches, self._pending, strict=True) if not match and entry[1] > now]
        self._pending.clear()
        self._pending.extend(remaining)
        return is_valid

    def clear(self) -> None:
        self._pending.clear()


class CookieSigner:
    """Creates and verifies cookies: an expiry time and a MAC over port and time.

    Cookies are not isolated by port (RFC 6265, 8.5): a browser sends them to every port of a host. The port is part of
    the name, so that two daemons do not overwrite each other's cookie, and part of the MAC.
    """

    def __init__(self, state: SessionState, clock: Clock) -> None:
        self._state = state
        self._clock = clock

    @property
    def cookie_name(self) -> str:
        return f"sploot_ui_{self._state.port}"

    def set_cookie_header(self) -> str:
        """Return the value of a `Set-Cookie` header: not readable by scripts, not sent with cross-site requests."""
        until = int(self._clock.now()) + COOKIE_TTL_S
        return (
            f"{self.cookie_name}={until}.{self._mac(until)}; Max-Age={COOKIE_TTL_S}; Path=/; HttpOnly; SameSite=Strict"
        )

    def has_valid_cookie(self, header: str) -> bool:
        """Return True when a `Cookie` header has a valid session cookie."""
        return any(self._is_valid(value) for name, value in _parse_cookies(header) if name == self.cookie_name)

    def _is_valid(self, value: str) -> bool:
        until, _, mac = value.partition(".")
        if len(value) > COOKIE_CHARS_MAX or not value.isascii() or not until.isdecimal():
            return False
        return hmac.compare_digest(mac, self._mac(int(until))) and self._clock.now() < int(until)

    def _mac(self, until: int) -> str:
        return hmac.new(self._state.secret, f"{self._state.port}.{until}".encode(), "sha256").hexdigest()


def new_secret() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _parse_cookies(header: str) -> list[tuple[str, str]]:
    pairs = (pair.partition("=") for pair in header.split(";"))
    return [(name.strip(), value.strip()) for name, _, value in pairs]
