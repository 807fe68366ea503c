"""Between rows and values."""

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from splootd.core.after import After
from splootd.core.item import Item, Priority, State, Version

_SIGN = 1 << 63
_UNSIGNED = 1 << 64


def signed(number: int) -> int:
    """An unsigned 64-bit number as SQLite can keep it. Some file systems give inodes beyond 2^63."""
    return (number + _SIGN) % _UNSIGNED - _SIGN


def unsigned(number: int) -> int:
    """The inverse of `signed`."""
    return number % _UNSIGNED


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


_STATES = {state.value: state for state in State}
_PRIORITIES = {priority.value: priority for priority in Priority}


def item_of(row: Iterable[Any], *, leased_at: float | None = None) -> Item:
    """The item of a whole row, as it is or as it will be once it is leased.

    By position: by name, each column and each field would be looked for in every row.
    """
    (
        item_id, _server_id, path, _latest, size, mtime_ns, device, inode, state, priority, shard, added_at, updated_at,
        next_at, attempts, _lease, sha256, asset_id, _accepted_at, duplicate, fault, reason, folder_id, _add_id, tags,
        force, _after,
    ) = row  # fmt: skip
    return Item(
        item_id,
        path,
        Version(size, mtime_ns, device % _UNSIGNED, inode % _UNSIGNED),
        _STATES[state] if leased_at is None else State.UPLOADING,
        _PRIORITIES[priority],
        shard,
        float(added_at),
        float(updated_at) if leased_at is None else leased_at,
        None if next_at is None else float(next_at),
        attempts,
        sha256,
        asset_id,
        duplicate == 1,
        fault,
        reason,
        folder_id,
        () if tags == "[]" else tags_of(tags),
        force == 1,
    )


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
