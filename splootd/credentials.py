"""Token of the server: from the environment, a command, the keychain or a 0600 file."""

import asyncio
import base64
import contextlib
import hashlib
import importlib
import json
import math
import os
import secrets
from pathlib import Path
from typing import Any

from splootd.clock import Clock
from splootd.config import LOCAL, name_token_source
from splootd.core.backoff import doubled_s
from splootd.errors import RequestError, SplootError, TokenCommandFailed, Unauthenticated
from splootd.event_bus import WakeSignal

REFRESH_BEFORE_S = 10.0
COMMAND_TIMEOUT_S = 30.0
COMMAND_RETRY_MIN_S, COMMAND_RETRY_MAX_S = 1.0, 60.0
TOKEN_BYTES_MAX = 65_536
TOKEN_ORIGINS_MAX = 100
_KEYCHAIN_SERVICE = "sploot"  # the account name is the path of the token file, different for each profile


def token_expiry(token: str) -> float | None:
    """Return the expiry of a JWT (`exp`, seconds since the epoch), or None for any other token.

    The signature is not verified: only the server decides about a token, this only avoids sending an expired one.
    """
    try:
        return float(_claims(token)["exp"])
    except (ValueError, KeyError, TypeError):
        return None


def token_subject(token: str) -> str | None:
    """Return the user id of a JWT (`sub`), or None for any other token. The signature is not verified."""
    subject = _claims(token).get("sub")
    return subject if isinstance(subject, str) and subject else None


def _claims(token: str) -> dict[str, Any]:
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


class TokenOrigins:
    """The server of each configured token (SPLOOT_TOKEN, or `token_command`): the first one that accepted it.

    They are kept across restarts beside the saved token `file`, by the digest of the token or command.
    """

    def __init__(self, file: Path) -> None:
        self._file = file.with_name("token-origins")
        self._origins = _read_file(self._file)

    def find(self, configured: str) -> str | None:
        """Return the server of a configured token, or None if none has accepted it yet."""
        return self._origins.get(_digest(configured))

    def is_foreign(self, configured: str, origin: str) -> bool:
        """Return whether a configured token belongs to another server than the one at `origin`."""
        return self.find(configured) not in (None, origin)

    def record(self, configured: str, origin: str) -> None:
        """Record that the server at `origin` accepted a configured token. The first one is kept."""
        if origin == LOCAL or self.find(configured) is not None:
            return
        self._origins = dict([*self._origins.items(), (_digest(configured), origin)][-TOKEN_ORIGINS_MAX:])
        with contextlib.suppress(OSError):  # a full disk: the next run records it
            _write_private(self._file, json.dumps(self._origins))


class Credentials:
    """Provides the current token and fetches the next one, for the server at `origin` only.

    `token_changed` is notified after a new login, and when the server accepts a token after it has rejected one. A
    token of another server is not given out, which `foreign_token` then says: a saved token belongs to the server of
    its login, a configured one to the first server that accepted it.

    `account` is the user whose items and ledger are open; None while no token has named a user. A token of another
    user is never given out: its uploads would be recorded for the wrong account.
    """

    def __init__(
        self,
        file: Path,
        clock: Clock,
        *,
        origin: str = "local",
        token: str = "",
        token_command: str = "",
        account: str | None = None,
    ) -> None:
        self.account = account
        self.foreign_token: str | None = None
        self._origin = origin
        self._origins = TokenOrigins(file)
        self._foreign_configured: str | None = None
        if self._origins.is_foreign(token or token_command, origin):
            own_server = self._origins.find(token or token_command)
            self._foreign_configured = f"{name_token_source(token)} is for {own_server}"
            token = token_command = ""
        self._unproven = token  # the configured token in use, until the server has accepted it
        self._file = file
        self._clock = clock
        self._static_token = token
        self._token_command = token_command
        self._current: str | None = None
        self._is_loaded = False  # distinguishes "no token" from "not loaded", so a missing one is not read per request
        self._is_rejected = False  # by the server, in its last response
        self._command_failures = 0  # in a row
        self._command_retry_at = -math.inf  # monotonic
        self._command_error = ""
        self._lock = asyncio.Lock()
        self.token_changed = WakeSignal()

    def __repr__(self) -> str:
        return "Credentials(hidden)"

    async def token(self) -> str | None:
        """Return the current token or None. Raises TokenCommandFailed.

        The token command runs again shortly before its last token expires. That token is used while the command fails.
        """
        if self._static_token:
            return self._static_token
        async with self._lock:
            if not self._is_loaded or (self._current is not None and self._expires_within(REFRESH_BEFORE_S)):
                try:
                    await self._load()
                except TokenCommandFailed:
                    if self._current is None or self._expires_within(0):
                        raise
            self._check_account(self._current)
            return self._current

    async def fetch_subject(self) -> str | None:
        """Return the user id of the current token, if it has one, whichever account is open."""
        try:
            token = await self.token()
        except Unauthenticated:
            token = self._current
        return None if token is None else token_subject(token)

    async def refresh(self) -> bool:
        """Reload the token after the server rejected it. Return True when there is a different one to try."""
        if self._static_token:
            return False
        async with self._lock:
            before = self._current
            await self._load()
            return self._current is not None and self._current != before

    async def save(self, token: str = "", token_command: str = "") -> None:
        """Save a token or a token command. Raises RequestError when both are empty."""
        if not token and not token_command:
            raise RequestError("no_token", "no token was given", "give a token or a token command")
        async with self._lock:
            stored = {"token_command": token_command} if token_command else {"token": token}
            is_in_keychain = bool(token) and await asyncio.to_thread(_store_in_keychain, self._file, token)
            stored = {"in": "keychain"} if is_in_keychain else stored
            await asyncio.to_thread(_write_private, self._file, json.dumps({**stored, "origin": self._origin}))
            self._forget()
        self.token_changed.notify()

    async def clear(self) -> bool:
        """Delete the saved token; return whether there was one."""
        async with self._lock:
            had_token = await asyncio.to_thread(self._file.exists)
            self._forget()
            await asyncio.to_thread(self._file.unlink, missing_ok=True)
            await asyncio.to_thread(_delete_from_keychain, self._file)
            return had_token

    def record_rejected(self) -> None:
        """Record that the server rejected the sign-in."""
        self._is_rejected = True

    def record_accepted(self) -> None:
        """Record that the server accepted the sign-in."""
        if self._unproven:
            self._origins.record(self._unproven, self._origin)
            self._unproven = ""
        if self._is_rejected:
            self._is_rejected = False
            self.token_changed.notify()

    def _forget(self) -> None:
        self._current, self._is_loaded = None, False
        self._command_failures, self._command_retry_at = 0, -math.inf

    def _check_account(self, token: str | None) -> None:
        subject = None if token is None else token_subject(token)
        if None not in (subject, self.account) and subject != self.account:
            title = f"the token is for another account ({subject}) than the queue ({self.account})"
            raise Unauthenticated(title, "sign in again to change the account: `sploot login`")

    def _expires_within(self, seconds: float) -> bool:
        ends_at = None if self._current is None else token_expiry(self._current)
        return ends_at is not None and ends_at - seconds <= self._clock.now()

    async def _load(self) -> None:
        self._current, self._is_loaded = await self._fetch(), True

    async def _fetch(self) -> str | None:
        stored = await asyncio.to_thread(_read_file, self._file)
        self.foreign_token = self._foreign_configured
        if stored and stored.get("origin") != self._origin:
            self.foreign_token = f"the saved token is for {stored.get('origin', 'another server')}"
            stored = {}
        if stored or self._token_command:
            self.foreign_token = None
        self._unproven = "" if stored else self._token_command
        if stored.get("in") == "keychain":
            return await asyncio.to_thread(_get_from_keychain, self._file)
        if command := str(stored.get("token_command", "" if stored else self._token_command)):
            return await self._run_command(command)
        return str(stored["token"]) if stored.get("token") else None

    async def _run_command(self, command: str) -> str:
        """Return the output of the token command. After failures it runs again after 1, 2, 4 ... 60 s only."""
        left_s = self._command_retry_at - self._clock.monotonic()
        if left_s > 0:
            raise TokenCommandFailed(self._command_error, retry_after_s=left_s)
        try:
            token = await _run_token_command(command)
        except ValueError as error:
            delay_s = doubled_s(COMMAND_RETRY_MIN_S, self._command_failures, COMMAND_RETRY_MAX_S)
            self._command_failures += 1
            self._command_retry_at = self._clock.monotonic() + delay_s
            self._command_error = f"the token command failed, {error}"
            self._is_rejected = True
            raise TokenCommandFailed(self._command_error, retry_after_s=delay_s) from error
        self._command_failures = 0
        return token


def _digest(configured: str) -> str:
    return hashlib.sha256(configured.encode()).hexdigest()


async def _run_token_command(command: str) -> str:
    """Run the token command and return its output. Raises ValueError, with the reason, if it prints no token."""
    process = await asyncio.create_subprocess_shell(
        command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=TOKEN_BYTES_MAX,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            output = await process.stdout.read(TOKEN_BYTES_MAX)
            code = await process.wait()
    except TimeoutError:
        raise ValueError(f"no end within {COMMAND_TIMEOUT_S:.0f} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if code:
        raise ValueError(f"exit {code}")
    token = output.decode("ascii", "ignore").strip()
    if not token:
        raise ValueError("it printed nothing")
    return token


def _read_file(file: Path) -> dict[str, Any]:
    try:
        stored = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SplootError(f"{file} cannot be read", "delete it, then sign in again: sploot login") from error
    return stored if isinstance(stored, dict) else {}


def _write_private(file: Path, text: str) -> None:
    """Replace `file` atomically. The mode is set at creation: a later chmod would leave it readable for a moment."""
    temporary = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)


def _keychain() -> Any | None:
    """Return the `keyring` package if it is installed and has a working backend, else None."""
    try:
        keyring = importlib.import_module("keyring")
    except ImportError:
        return None
    return keyring if keyring.get_keyring().priority > 0 else None


def _store_in_keychain(file: Path, token: str) -> bool:
    keychain = _keychain()
    if keychain is None:
        return False
    try:
        keychain.set_password(_KEYCHAIN_SERVICE, str(file), token)
    except Exception:  # noqa: BLE001 - each backend raises its own exceptions; the file is the fallback
        return False
    return True


def _get_from_keychain(file: Path) -> str | None:
    keychain = _keychain()
    try:
        return keychain.get_password(_KEYCHAIN_SERVICE, str(file)) if keychain else None
    except Exception:  # noqa: BLE001 - each backend raises its own exceptions; a locked keychain means signed out
        return None


def _delete_from_keychain(file: Path) -> None:
    keychain = _keychain()
    if keychain is not None:
        with contextlib.suppress(Exception):
            keychain.delete_password(_KEYCHAIN_SERVICE, str(file))
