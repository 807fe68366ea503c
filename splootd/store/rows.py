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


_STATES = {state.value: state for state in State}
_PRIORITIES = {priority.value: priority for priority in Priority}


def item_of(row: sqlite3.Row) -> Item:
    """The item of a whole row. By position: by name, each column would be looked for anew in every row."""
    item_id, _server_id, path, _latest, size, mtime_ns, device, inode, *others = row
    state, priority, shard, added_at, updated_at, next_at, attempts, _lease, sha256, *others = others
    asset_id, _accepted_at, duplicate, fault, reason, folder_id, _add_id, tags, force, _after = others
    return Item(
        id=item_id,
        path=path,
        version=Version(size, mtime_ns, unsigned(device), unsigned(inode)),
        state=_STATES[state],
        priority=_PRIORITIES[priority],
        shard=shard,
        added_at=float(added_at),
        updated_at=float(updated_at),
        next_at=seconds(next_at),
        attempts=attempts,
        sha256=sha256,
        asset_id=asset_id,
        duplicate=bool(duplicate),
        fault=fault,
        reason=reason,
        folder_id=folder_id,
        tags=tags_of(tags),
        force=bool(force),
    )


def leased_of(row: sqlite3.Row) -> Leased:
    return Leased(item_of(row), row["lease"])


def tags_of(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text)) if text != "[]" else ()


def after_of(word: bytes | None) -> After | None:
    return None if word is None else After.of(word)


def seconds(value: float | None) -> float | None:
    """A time that may be missing. RETURNING gives whole seconds as integers."""
    return None if value is None else float(value)


def json_list(values: Iterable[int | str]) -> str:
    """As `json_each` takes it."""
    return json.dumps(list(values))
