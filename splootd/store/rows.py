"""Between rows and values."""

import json
import sqlite3
from collections.abc import Iterable

from splootd.core.after import After
from splootd.core.item import Item, Leased, Priority, State, Version

_SIGN = 1 << 63


def signed(number: int) -> int:
    """An unsigned 64-bit number as SQLite can keep it. Some file systems give inodes beyond 2^63."""
    return (number + _SIGN) % (1 << 64) - _SIGN


def unsigned(number: int) -> int:
    """The inverse of `signed`."""
    return number % (1 << 64)


def version_values(version: Version) -> dict[str, int]:
    """The columns of a version."""
    return {
        "size": version.size,
        "mtime_ns": version.mtime_ns,
        "device": signed(version.device),
        "inode": signed(version.inode),
    }


def version_of(row: sqlite3.Row) -> Version:
    return Version(row["size"], row["mtime_ns"], unsigned(row["device"]), unsigned(row["inode"]))


def item_of(row: sqlite3.Row) -> Item:
    return Item(
        id=row["id"],
        path=row["path"],
        version=version_of(row),
        state=State(row["state"]),
        priority=Priority(row["priority"]),
        shard=row["shard"],
        added_at=float(row["added_at"]),
        updated_at=float(row["updated_at"]),
        next_at=seconds(row["next_at"]),
        attempts=row["attempts"],
        sha256=row["sha256"],
        asset_id=row["asset_id"],
        duplicate=bool(row["duplicate"]),
        fault=row["fault"],
        reason=row["reason"],
        folder_id=row["folder_id"],
        tags=tags_of(row["tags"]),
        force=bool(row["force"]),
    )


def leased_of(row: sqlite3.Row) -> Leased:
    return Leased(item_of(row), row["lease"])


def tags_of(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def after_of(word: bytes | None) -> After | None:
    return None if word is None else After.of(word)


def seconds(value: float | None) -> float | None:
    """A time that may be missing. RETURNING gives whole seconds as integers."""
    return None if value is None else float(value)


def json_list(values: Iterable[int | str]) -> str:
    """As `json_each` takes it."""
    return json.dumps(list(values))
