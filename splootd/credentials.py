"""The token that signs the daemon in: from the environment, a command that prints one, the keychain or a 0600 file."""

import asyncio
import base64
import contextlib
import importlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from splootd.bus import Bell
from splootd.clock import Clock
from splootd.errors import RequestError, SplootError

RENEW_BEFORE_S = 10.0
COMMAND_TIMEOUT_S = 30.0
TOKEN_BYTES_MAX = 65_536
_KEYCHAIN_SERVICE = "sploot"  # the account in it is the token file, which each profile has of its own
_IN_KEYCHAIN = {"in": "keychain"}


def expiry(token: str) -> float | None:
    """When a JWT ends (its `exp`, seconds since the epoch), or None for a token that does not say."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, ValueError, KeyError, TypeError):
        return None


class Credentials:
    """Knows the current token and how to get the next one. `signal` rings when the user has signed in anew."""

    def __init__(self, file: Path, clock: Clock, *, token: str = "", token_command: str = "") -> None:
        self._file = file
        self._clock = clock
        self._fixed = token
        self._command = token_command
        self._current: str | None = None
        self._is_known = False  # that there is none is known, too, and not looked up for every question
        self._lock = asyncio.Lock()
        self.signal = Bell()

    def __repr__(self) -> str:
        return "Credentials(hidden)"

    async def token(self) -> str | None:
        """The token to send now, or None when there is none. A command runs when its last token is about to end."""
        if self._fixed:
            return self._fixed
        async with self._lock:
            if not self._is_known or (self._current is not None and self._is_ending(self._current)):
                await self._look()
            return self._current

    async def renew(self) -> bool:
        """After the server refused the token: whether there is another one to try."""
        if self._fixed:
            return False
        async with self._lock:
            before = self._current
            await self._look()
            return self._current is not None and self._current != before

    async def keep(self, token: str = "", token_command: str = "") -> None:
        """Remember how to sign in, across restarts."""
        if not token and not token_command:
            raise RequestError("no_token", "no token was given", "give a token, or a command that prints one")
        async with self._lock:
            kept = {"token_command": token_command} if token_command else {"token": token}
            is_in_keychain = bool(token) and await asyncio.to_thread(_put_in_keychain, self._file, token)
            kept = _IN_KEYCHAIN if is_in_keychain else kept
            await asyncio.to_thread(_write_private, self._file, json.dumps(kept))
            self._current, self._is_known = None, False
        self.signal.ring()

    async def clear(self) -> None:
        async with self._lock:
            self._current, self._is_known = None, False
            await asyncio.to_thread(self._file.unlink, missing_ok=True)
            await asyncio.to_thread(_take_from_keychain, self._file)

    def _is_ending(self, token: str) -> bool:
        ends_at = expiry(token)
        return ends_at is not None and ends_at - RENEW_BEFORE_S <= self._clock.now()

    async def _look(self) -> None:
        self._current, self._is_known = await self._next(), True

    async def _next(self) -> str | None:
        kept = await asyncio.to_thread(_read, self._file)
        if kept == _IN_KEYCHAIN:
            return await asyncio.to_thread(_get_from_keychain, self._file)
        command = str(kept.get("token_command") or ("" if kept.get("token") else self._command))
        if command:
            return await _run(command)
        return str(kept["token"]) if kept.get("token") else None


async def _run(command: str) -> str | None:
    """What `command` prints. Its failure is the user's to see: the sentence names the exit code, not the output."""
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
            printed = await process.stdout.read(TOKEN_BYTES_MAX)
            code = await process.wait()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return printed.decode("ascii", "ignore").strip() or None if code == 0 else None


def _read(file: Path) -> dict[str, Any]:
    try:
        kept = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SplootError(f"the kept token in {file} cannot be read", "sign in again: sploot login") from error
    return kept if isinstance(kept, dict) else {}


def _write_private(file: Path, text: str) -> None:
    """Replace `file` as a whole, never readable by others, not even for a moment."""
    fresh = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(file)


def _keychain() -> Any | None:
    """The system's keychain, where the `keyring` package is installed and finds one that works."""
    try:
        keyring = importlib.import_module("keyring")
    except ImportError:
        return None
    return keyring if keyring.get_keyring().priority > 0 else None


def _put_in_keychain(file: Path, token: str) -> bool:
    chain = _keychain()
    if chain is None:
        return False
    try:
        chain.set_password(_KEYCHAIN_SERVICE, str(file), token)
    except Exception:  # noqa: BLE001 - every backend has errors of its own; the file is always there instead
        return False
    return True


def _get_from_keychain(file: Path) -> str | None:
    chain = _keychain()
    try:
        return chain.get_password(_KEYCHAIN_SERVICE, str(file)) if chain else None
    except Exception:  # noqa: BLE001 - a locked keychain means signed out for now, whatever its backend calls it
        return None


def _take_from_keychain(file: Path) -> None:
    chain = _keychain()
    if chain is not None:
        with contextlib.suppress(Exception):
            chain.delete_password(_KEYCHAIN_SERVICE, str(file))
