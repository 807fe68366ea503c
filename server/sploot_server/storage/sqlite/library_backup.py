"""Backup of a library in one folder while it is in use, and its restoration.

A backup has the same files as the library: the database, the originals below `blobs/` and the picture models below
`models/`. `backup.json` says of which library it is, when it was made and whether it is complete. Thumbnails are made
anew.
"""

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sploot_server.config import ConfigError
from sploot_server.domain.entities import InvalidInput
from sploot_server.server_process import lock_data_dir
from sploot_server.storage.blobs.files import STORE_ID
from sploot_server.storage.sqlite.database import DATABASE_NAME, Database

DESCRIPTION = "backup.json"
FORMAT, VERSION = "sploot-backup", 1
ORIGINALS, MODELS = "blobs", "models"
NEW_DATABASE = f"{DATABASE_NAME}.new"


@dataclass(frozen=True, slots=True)
class Copied:
    """The number of originals in a backup, their bytes, and the number of those that the library lacks."""

    count: int
    size_bytes: int
    missing_count: int


class LibraryBackup:
    """Backs up the library in the folder `data`, whose database is open here."""

    def __init__(self, data: Path, database: Database) -> None:
        self._data = data
        self._database = database

    async def run(self, target: Path) -> Copied:
        """Copy the library into a new folder, or what is new into an earlier backup of it.

        Raise InvalidInput if the folder holds anything else, OSError if a file cannot be written.
        """
        await asyncio.to_thread(_begin, self._data, target)
        missing_count = -1
        while True:
            await self._database.copy_to(target / NEW_DATABASE)
            copied = await asyncio.to_thread(_copy_originals, self._data, target)
            # An original may be removed for good while others are copied: the next copy does not list it.
            if copied.missing_count in (0, missing_count):
                break
            missing_count = copied.missing_count
        await asyncio.to_thread(_complete, self._data, target)
        return copied


def restore(source: Path, data: Path) -> str:
    """Copy a backup to the folder `data` and return when it was made.

    A repeated call continues an interrupted one. Raise ConfigError, DataDirLocked or OSError.
    """
    description = _read_description(source)
    if not description.get("complete"):
        raise ConfigError(f"{source} is not a complete backup of a library.")
    with lock_data_dir(data, 0):
        if (data / DATABASE_NAME).exists():
            raise ConfigError(f"{data} holds a library already. Move it away, or choose another folder with --data.")
        for file in _files(source / ORIGINALS):
            _copy(file, data / file.relative_to(source))
        _copy_models(source, data)
        shutil.copyfile(source / DATABASE_NAME, data / NEW_DATABASE)
        _finish(data)
    return str(description["madeAt"])


def _begin(data: Path, target: Path) -> None:
    """Create the folder of a backup, or mark the earlier one as incomplete. Raise InvalidInput."""
    store = (data / ORIGINALS / STORE_ID).read_text().strip()
    if target.exists() and any(target.iterdir()) and _read_description(target).get("store") != store:
        raise InvalidInput(f"{target} is not empty and is no backup of this library; choose another folder.")
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write_description(target, store, complete=False)


def _copy_originals(data: Path, target: Path) -> Copied:
    """Copy the originals that the new database lists and the backup lacks."""
    sizes, missing_count = [], 0
    for checksum in _listed(target):
        name = Path(ORIGINALS, checksum[:2], checksum)
        try:
            sizes.append(_copy(data / name, target / name))
        except FileNotFoundError:
            missing_count += 1
    return Copied(len(sizes), sum(sizes), missing_count)


def _complete(data: Path, target: Path) -> None:
    """Put the new database in the place of the earlier one, and remove the originals that it does not list."""
    _copy(data / ORIGINALS / STORE_ID, target / ORIGINALS / STORE_ID)
    _copy_models(data, target)
    listed = {*_listed(target), STORE_ID}
    _finish(target)
    _write_description(target, (target / ORIGINALS / STORE_ID).read_text().strip(), complete=True)
    for file in list(_files(target / ORIGINALS)):
        if file.name not in listed:
            file.unlink()


def _finish(folder: Path) -> None:
    """Make all copies durable, then give the new database its name."""
    os.sync()
    (folder / NEW_DATABASE).replace(folder / DATABASE_NAME)
    os.sync()


def _listed(folder: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(folder / NEW_DATABASE)) as connection:
        return [checksum for (checksum,) in connection.execute("SELECT DISTINCT checksum FROM assets")]


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if file.is_file())


def _copy(source: Path, target: Path) -> int:
    """Copy a file that never changes, unless it is there, and return its size. Raise FileNotFoundError."""
    size_bytes = source.stat().st_size
    if not target.exists() or target.stat().st_size != size_bytes:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return size_bytes


def _copy_models(source: Path, target: Path) -> None:
    shutil.rmtree(target / MODELS, ignore_errors=True)
    if (source / MODELS).exists():
        shutil.copytree(source / MODELS, target / MODELS)


def _read_description(folder: Path) -> dict[str, Any]:
    """Return the description of a backup; {} if the folder is none."""
    with contextlib.suppress(OSError, ValueError):
        described = json.loads((folder / DESCRIPTION).read_text())
        if isinstance(described, dict) and (described.get("format"), described.get("version")) == (FORMAT, VERSION):
            return described
    return {}


def _write_description(folder: Path, store: str, *, complete: bool) -> None:
    made_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    description = {"format": FORMAT, "version": VERSION, "store": store, "madeAt": made_at, "complete": complete}
    temporary = folder / f"{DESCRIPTION}.new"
    temporary.write_text(json.dumps(description) + "\n")
    temporary.replace(folder / DESCRIPTION)
