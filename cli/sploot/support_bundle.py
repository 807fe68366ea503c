"""Writes a support bundle: the findings of `sploot doctor`, the status and the end of the log, without secrets.

Redaction uses an allow-list: only texts under keys whose values come from the programs themselves stay. Every other
text becomes a short hash, which is the same for the same text within one bundle and differs between bundles.
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

from sploot.daemon_connect import open_client
from splootd import __version__
from splootd.codec import encode
from splootd.config import CONFIG_KEYS, Config, Paths
from splootd.errors import SplootError
from splootd.protocol import Finding, Findings, GetStatus, Status

LOG_BYTES = 1_000_000
UNREDACTED_KEYS = frozenset(
    {
        *(
            "timestamp",
            "level",
            "event",
            "part",
            "instance_id",
            "version",
            "error_code",
            "action",
            "request",
            "state",
            "breaker",
        ),
        *("push", "check", "priority", "worker", "last_new_at", "retry_at"),
        *("python", "sqlite", "system", "machine", "libc"),
        *("log_level", "on_metered_network", "desktop_notifications", "bandwidth_limit"),
    }
)
"""Keys whose texts come from the programs, never from a user, a file or a server."""
UNREDACTED_CHECKS = frozenset({"limits", "tls", "clock", "watches", "versions", "sqlite", "lingering"})
"""Checks whose messages contain no data of the user."""
UNREDACTED_CHECKS_UNLESS_ERROR = frozenset({"database"})
"""Checks whose messages contain a file name of the user only in an error."""


class Redactor:
    """Replaces texts by hashes with one salt."""

    def __init__(self) -> None:
        self._salt = secrets.token_bytes(16)

    def hash_text(self, text: str) -> str:
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self._salt, digest_size=4)
        return f"#{digest.hexdigest()}"

    def redact(self, value: Any, name: str = "") -> Any:
        """Return a JSON value with every text hashed, except those under UNREDACTED_KEYS."""
        if isinstance(value, dict):
            return {key: self.redact(each, key) for key, each in value.items()}
        if isinstance(value, list):
            return [self.redact(each, name) for each in value]
        return self.hash_text(value) if isinstance(value, str) and name not in UNREDACTED_KEYS else value


def write_bundle(file: Path, findings: Findings) -> None:
    """Write the bundle; SplootError if it cannot be written."""
    paths, redactor = Paths.from_environ(os.environ), Redactor()
    parts = {
        "versions.json": json.dumps(_collect_versions(), indent=1),
        "doctor.json": json.dumps([_redact_finding(each, redactor) for each in findings.findings], indent=1),
        "configuration.json": json.dumps(redactor.redact(_collect_configuration(paths)), indent=1),
        "status.json": json.dumps(redactor.redact(_fetch_status()), indent=1),
        "log.jsonl": "".join(_read_log_tail(paths.log, redactor)),
    }
    try:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in parts.items():
                archive.writestr(name, text)
    except OSError as error:
        raise SplootError(f"{file} cannot be written: {error.strerror}") from error


def _redact_finding(finding: Finding, redactor: Redactor) -> dict[str, Any]:
    redacted: dict[str, Any] = redactor.redact(encode(finding))
    is_unredacted = finding.check in UNREDACTED_CHECKS or (
        finding.state != "error" and finding.check in UNREDACTED_CHECKS_UNLESS_ERROR
    )
    return redacted | {"message": finding.message} if is_unredacted else redacted


def _collect_versions() -> dict[str, Any]:
    return {
        "version": __version__,
        "python": sys.version,
        "sqlite": sqlite3.sqlite_version,
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
    }


def _collect_configuration(paths: Paths) -> dict[str, Any]:
    """Return every key. The hash of a text shows only whether it is set."""
    try:
        config = Config.load(paths.config_file, os.environ)
    except SplootError:
        return {"is_readable": False}
    return {name: config.get(name) for name in CONFIG_KEYS} | {"is_local": config.is_local}


def _fetch_status() -> dict[str, Any]:
    try:
        return encode(open_client().request(GetStatus(), Status))
    except SplootError as error:
        return {"error": error.title}


def _read_log_tail(file: Path, redactor: Redactor) -> Iterator[str]:
    """Yield the redacted lines at the end of the log. Lines that are not JSON, or cut off, are left out."""
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
            trace = _traceback_locations(str(entry.pop("exception", "")))
            yield json.dumps(redactor.redact(entry) | ({"exception": trace} if trace else {})) + "\n"


def _traceback_locations(trace: str) -> list[str]:
    """Return the modules, lines and functions of a traceback. The error message is left out: it may name files."""
    locations = []
    for line in trace.splitlines():
        file, _, rest = line.strip().removeprefix('File "').partition('", line ')
        if rest:
            locations.append(f"{Path(file).name}:{rest.replace(', in ', ' ')}")
    return locations
