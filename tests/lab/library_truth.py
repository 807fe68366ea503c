"""What the library server has acknowledged, and whether it is there."""

import hashlib
import sqlite3
from collections.abc import Collection
from pathlib import Path

from sploot_server.assets.database import Database
from sploot_server.assets.sqlite import SqliteAssets
from sploot_server.blobs import FileBlobs


async def check_library(data: Path, acknowledged: Collection[str], removed: Collection[str] = ()) -> int:
    """Open the library with the server's own code, and hold it to what it has acknowledged, byte for byte.

    Returns how many assets it has, acknowledged or not: none is without its bytes. AssertionError when it fails.
    """
    database = Database(data / "library.db")
    database.open()
    try:
        blobs = FileBlobs(data)
        blobs.open()
        assert await database.read(_faults) == []
        live = await database.read(_live)
        missing = set(acknowledged) - live
        assert not missing, f"{len(missing)} uploads are lost"
        assert not live & set(removed), "what was removed is back"
        for checksum in live:
            _check_bytes(blobs.path(checksum), checksum)
        assets = SqliteAssets(database)
        for checksum in acknowledged:
            assert await assets.find(checksum) is not None
        return len(live)
    finally:
        await database.close()
        _check_names(data / "blobs")


def _check_bytes(file: Path, checksum: str) -> None:
    assert file.exists(), f"an asset is without its bytes: {checksum}"
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    assert found == checksum, f"an asset has other bytes than its own: {checksum}"


def _check_names(blobs: Path) -> None:
    """A file under its final name is whole, whether or not there is an asset for it."""
    for file in blobs.rglob("*"):
        assert file.is_dir() or hashlib.sha256(file.read_bytes()).hexdigest() == file.name, f"{file.name} is not whole"


def _faults(connection: sqlite3.Connection) -> list[str]:
    found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
    found += [f"foreign key: {tuple(row)}" for row in connection.execute("PRAGMA foreign_key_check")]
    return [fault for fault in found if fault != "ok"]


def _live(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT checksum FROM assets WHERE deleted_at IS NULL")}
