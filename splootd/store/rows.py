"""Conversion between rows and values."""

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from splootd.core.item import Item, Priority, State, Version
from splootd.core.post_upload_action import PostUploadAction

_SIGN_BIT = 1 << 63
_UINT64_RANGE = 1 << 64


def to_signed(number: int) -> int:
    """Convert an unsigned 64-bit number to the signed one that SQLite stores. Some inodes are greater than 2^63."""
    return (number + _SIGN_BIT) % _UINT64_RANGE - _SIGN_BIT


def to_unsigned(number: int) -> int:
    """Convert a stored number back. The inverse of `to_signed`."""
    return number % _UINT64_RANGE


def version_values(version: Version) -> dict[str, int]:
    """Return the columns of a version."""
    return {
        "size": version.size,
        "mtime_ns": version.mtime_ns,
        "device": to_signed(version.device),
        "inode": to_signed(version.inode),
    }


def version_from_row(row: sqlite3.Row) -> Version:
    return Version(row["size"], row["mtime_ns"], to_unsigned(row["device"]), to_unsigned(row["inode"]))


_STATES = {state.value: state for state in State}
_PRIORITIES = {priority.value: priority for priority in Priority}


def item_from_row(row: Iterable[Any], *, leased_at: float | None = None) -> Item:
    """Return the item of a whole row, or with `leased_at` the item as it is after its lease.

    The row is unpacked by position, in the column order of the schema: sqlite3.Row would search each name in each row.
    """
    (
        item_id, _server_id, path, _latest, size, mtime_ns, device, inode, state, priority, shard, added_at, updated_at,
        next_at, attempts, _lease, sha256, asset_id, _accepted_at, duplicate, error_code, error_message, folder_id,
        _import_id, tags, force, _after_upload, _embedding_requested, attempted,
    ) = row  # fmt: skip
    return Item(
        item_id,
        path,
        Version(size, mtime_ns, device % _UINT64_RANGE, inode % _UINT64_RANGE),
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
        error_code,
        error_message,
        folder_id,
        () if tags == "[]" else parse_tags(tags),
        force == 1,
        attempted == 1,
    )


def parse_tags(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def parse_after_upload(value: bytes | None) -> PostUploadAction | None:
    return None if value is None else PostUploadAction.parse(value)


def float_or_none(value: float | None) -> float | None:
    """Convert an optional time to float.

    SQLite stores a whole number in a REAL column as an integer, and RETURNING passes it on as one.
    """
    return None if value is None else float(value)


def json_list(values: Iterable[int | str]) -> str:
    """Return the array that `json_each` reads: one parameter for any number of values, and one prepared statement."""
    return json.dumps(list(values))
