"""Check of the library server: every acknowledged upload is there."""

import hashlib
import sqlite3
from collections.abc import Collection
from pathlib import Path

from sploot_server.storage.blobs.files import FileBlobs
from sploot_server.storage.sqlite.assets import SqliteAssets
from sploot_server.storage.sqlite.database import Database


async def check_library(data: Path, acknowledged: Collection[str], removed: Collection[str] = ()) -> int:
    """Open the library with the code of the server, and compare it byte for byte with the acknowledged uploads.

    Returns the number of assets, acknowledged or not; each has its bytes. Raises AssertionError otherwise.
    """
    database = Database(data / "library.db")
    database.open()
    try:
        blobs = FileBlobs(data)
        blobs.open()
        assert await database.read(_integrity_errors) == []
        live = await database.read(_live)
        missing = set(acknowledged) - live
        assert not missing, f"{len(missing)} uploads are lost"
        assert not live & set(removed), "a removed asset exists again"
        for checksum in live:
            _check_bytes(blobs.path(checksum), checksum)
        assets = SqliteAssets(database)
        for checksum in acknowledged:
            assert await assets.find_by_checksum(checksum) is not None
        return len(live)
    finally:
        await database.close()
        _check_names(data / "blobs")


def _check_bytes(file: Path, checksum: str) -> None:
    assert file.exists(), f"an asset has no bytes: {checksum}"
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    assert found == checksum, f"an asset has wrong bytes: {checksum}"


def _check_names(blobs: Path) -> None:
    """Check that every file under a final name is complete, with or without an asset."""
    for file in blobs.glob("*/*"):
        assert hashlib.sha256(file.read_bytes()).hexdigest() == file.name, f"{file.name} is incomplete"


def _integrity_errors(connection: sqlite3.Connection) -> list[str]:
    found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
    found += [f"foreign key: {tuple(row)}" for row in connection.execute("PRAGMA foreign_key_check")]
    return [error for error in found if error != "ok"]


def _live(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT checksum FROM assets WHERE deleted_at IS NULL")}
