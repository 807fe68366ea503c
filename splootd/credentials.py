"""Token of the server: from the environment, a command, the keychain or a 0600 file."""

import asyncio
import base64
import contextlib
import importlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from splootd.clock import Clock
from splootd.errors import RequestError, SplootError
from splootd.event_bus import WakeSignal

REFRESH_BEFORE_S = 10.0
COMMAND_TIMEOUT_S = 30.0
TOKEN_BYTES_MAX = 65_536
_KEYCHAIN_SERVICE = "sploot"  # the account name is the path of the token file, different for each profile
_IN_KEYCHAIN = {"in": "keychain"}


def token_expiry(token: str) -> float | None:
    """Return the expiry of a JWT (`exp`, seconds since the epoch), or None for any other token.

    The signature is not verified: only the server decides about a token, this only avoids sending an expired one.
    """
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, ValueError, KeyError, TypeError):
        return None


class Credentials:
    """Provides the current token and fetches the next one. `token_changed` is notified after a new login."""

    def __init__(self, file: Path, clock: Clock, *, token: str = "", token_command: str = "") -> None:
        self._file = file
        self._clock = clock
        self._static_token = token
        self._token_command = token_command
        self._current: str | None = None
        self._is_loaded = False  # distinguishes "no token" from "not loaded", so a missing one is not read per request
        self._lock = asyncio.Lock()
        self.token_changed = WakeSignal()

    def __repr__(self) -> str:
        return "Credentials(hidden)"

    async def token(self) -> str | None:
        """Return the current token or None. The token command runs again shortly before its last token expires."""
        if self._static_token:
            return self._static_token
        async with self._lock:
            if not self._is_loaded or (self._current is not None and self._is_expiring(self._current)):
                await self._load()
            return self._current

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
            stored = _IN_KEYCHAIN if is_in_keychain else stored
            await asyncio.to_thread(_write_private, self._file, json.dumps(stored))
            self._current, self._is_loaded = None, False
        self.token_changed.notify()

    async def clear(self) -> None:
        async with self._lock:
            self._current, self._is_loaded = None, False
            await asyncio.to_thread(self._file.unlink, missing_ok=True)
            await asyncio.to_thread(_delete_from_keychain, self._file)

    def _is_expiring(self, token: str) -> bool:
        ends_at = token_expiry(token)
        return ends_at is not None and ends_at - REFRESH_BEFORE_S <= self._clock.now()

    async def _load(self) -> None:
        self._current, self._is_loaded = await self._fetch(), True

    async def _fetch(self) -> str | None:
        stored = await asyncio.to_thread(_read_file, self._file)
        if stored == _IN_KEYCHAIN:
            return await asyncio.to_thread(_get_from_keychain, self._file)
        command = str(stored.get("token_command") or ("" if stored.get("token") else self._token_command))
        if command:
            return await _run_token_command(command)
        return str(stored["token"]) if stored.get("token") else None


async def _run_token_command(command: str) -> str | None:
    """Run the token command and return its output, or None when it fails or times out."""
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
        return None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return output.decode("ascii", "ignore").strip() or None if code == 0 else None


def _read_file(file: Path) -> dict[str, Any]:
    try:
        stored = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SplootError(f"the saved token in {file} cannot be read", "sign in again: sploot login") from error
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
