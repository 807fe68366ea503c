"""A file to attach to a report: what the doctor found, the status and the end of the log, and nobody's secrets.

Nothing is let through because it looks harmless: of all texts, only those under names that are known to hold words of
our own stay. Every other text becomes a short hash, the same for the same text within one bundle and in no other.
"""

import hashlib
import json
import os
import platform
import secrets
import sqlite3
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sploot.reach import client
from splootd import __version__
from splootd.config import KEYS, Config, Paths
from splootd.errors import SplootError
from splootd.protocol import Finding, Findings, GetStatus, Status
from splootd.wire import encode

LOG_BYTES = 1_000_000
KEPT = frozenset(
    {
        *("timestamp", "level", "event", "part", "boot", "version", "fault", "verdict", "request", "state", "breaker"),
        *("push", "check", "priority", "worker", "last_new_at", "retry_at"),
        *("python", "sqlite", "system", "machine", "libc"),
        *("log_level", "metered", "notify", "limit"),
    }
)
"""Names whose texts are words of the programs: never of a user, a file or a server."""
SPEAKING = frozenset({"limits", "tls", "clock", "watches", "versions", "sqlite", "lingering"})
"""Checks whose sentences name nothing of the user's."""
SPEAKING_UNLESS_BAD = frozenset({"database"})
"""Checks whose sentences name a file of the user's only where something is wrong with it."""


class Mask:
    """Turns texts into hashes under one salt."""

    def __init__(self) -> None:
        self._salt = secrets.token_bytes(16)

    def hashed(self, text: str) -> str:
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self._salt, digest_size=4)
        return f"#{digest.hexdigest()}"

    def masked(self, value: Any, name: str = "") -> Any:
        """`value` of JSON with every text hashed that is not under one of KEPT."""
        if isinstance(value, dict):
            return {key: self.masked(each, key) for key, each in value.items()}
        if isinstance(value, list):
            return [self.masked(each, name) for each in value]
        return self.hashed(value) if isinstance(value, str) and name not in KEPT else value


def write(file: Path, found: Findings) -> None:
    """Write the bundle; SplootError when it cannot be written."""
    paths, mask = Paths.find(os.environ), Mask()
    parts = {
        "versions.json": json.dumps(_versions(), indent=1),
        "doctor.json": json.dumps([_finding(each, mask) for each in found.findings], indent=1),
        "configuration.json": json.dumps(mask.masked(_configuration(paths)), indent=1),
        "status.json": json.dumps(mask.masked(_status()), indent=1),
        "log.jsonl": "".join(_log(paths.log, mask)),
    }
    try:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in parts.items():
                archive.writestr(name, text)
    except OSError as error:
        raise SplootError(f"{file} cannot be written: {error.strerror}") from error


def _finding(found: Finding, mask: Mask) -> dict[str, Any]:
    masked: dict[str, Any] = mask.masked(encode(found))
    speaks = found.check in SPEAKING or (found.state != "bad" and found.check in SPEAKING_UNLESS_BAD)
    return masked | {"says": found.says} if speaks else masked


def _versions() -> dict[str, Any]:
    return {
        "version": __version__,
        "python": sys.version,
        "sqlite": sqlite3.sqlite_version,
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
    }


def _configuration(paths: Paths) -> dict[str, Any]:
    """Every key; of texts that may hold anything, the hash says whether there is one."""
    try:
        config = Config.load(paths.config_file, os.environ)
    except SplootError:
        return {"is_readable": False}
    return {name: config.value(name) for name in KEYS} | {"is_local": config.is_local}


def _status() -> dict[str, Any]:
    try:
        return encode(client().ask(GetStatus(), Status))
    except SplootError as error:
        return {"error": error.title}


def _log(file: Path, mask: Mask) -> Iterator[str]:
    """The end of the log, line by line; what is not one of its JSON lines, or not a whole one, is left out."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - LOG_BYTES))
            lines = stream.read(LOG_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            trace = _places_in(str(entry.pop("exception", "")))
            yield json.dumps(mask.masked(entry) | ({"exception": trace} if trace else {})) + "\n"


def _places_in(trace: str) -> list[str]:
    """Where a traceback went: modules, lines and functions, and not what the error said."""
    places = []
    for line in trace.splitlines():
        file, _, rest = line.strip().removeprefix('File "').partition('", line ')
        if rest:
            places.append(f"{Path(file).name}:{rest.replace(', in ', ' ')}")
    return places
