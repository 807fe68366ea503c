"""Conversion of stored values to protocol values: times as ISO-8601 UTC, paths as text, digests as hexadecimal."""

import functools
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from splootd import protocol
from splootd.control.remedies import can_retry, describe_remedy
from splootd.core.error_code import ErrorCode
from splootd.core.item import Item, State
from splootd.core.lifecycle import FINAL_STATES
from splootd.metrics import Transfer
from splootd.store import read_queries
from splootd.store.folders import Folder


@functools.lru_cache(maxsize=1_000)
def format_iso(at: float) -> str:
    """Format seconds since the epoch as ISO-8601 UTC with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def format_iso_or_none(at: float | None) -> str | None:
    return None if at is None else format_iso(at)


def item_to_dict(item: Item, folders: Mapping[int, str]) -> dict[str, Any]:
    """Convert an item to the fields of `ItemRow`; `folders` has the paths of the watched folders by id.

    A dict instead of a dataclass: in a very long list, creating the rows would cost more than reading them.
    """
    return {
        "id": item.id,
        "path": os.fsdecode(item.path),
        "state": item.state.value,
        "priority": item.priority.label,
        "shard": item.shard,
        "size": item.version.size,
        "sha256": None if item.sha256 is None else item.sha256.hex(),
        "asset_id": item.asset_id,
        "attempts": item.attempts,
        "added_at": format_iso(item.added_at),
        "updated_at": format_iso(item.updated_at),
        "next_at": format_iso_or_none(item.next_at),
        "error_message": item.error_message,
        "duplicate": item.duplicate,
        "folder": None if item.folder_id is None else folders.get(item.folder_id),
        "tags": item.tags,
        "error_code": item.error_code,
        "remedy": describe_remedy(item),
        "can_retry": can_retry(item),
    }


def to_item_row(item: Item, folders: Mapping[int, str]) -> protocol.ItemRow:
    return protocol.ItemRow(**item_to_dict(item, folders))


def to_item_rows(items: Iterable[Item], folders: Mapping[int, str]) -> tuple[protocol.ItemRow, ...]:
    return tuple(to_item_row(item, folders) for item in items)


def to_folder_row(folder: Folder, state: str, detail: str | None) -> protocol.FolderRow:
    return protocol.FolderRow(
        os.fsdecode(folder.path), state, detail, folder.items, format_iso_or_none(folder.last_new_at)
    )


def to_attempt_row(attempt: read_queries.Attempt) -> protocol.AttemptRow:
    return protocol.AttemptRow(
        format_iso(attempt.at), str(attempt.error_code), str(attempt.action), attempt.error_message
    )


def to_progress(import_id: int, stored: read_queries.ImportProgress) -> protocol.Progress:
    states = {state.value: stored.by_state.get(state, 0) for state in State}
    is_ended = not stored.scanning and sum(states[state] for state in FINAL_STATES) == stored.total
    return protocol.Progress(
        import_id=import_id,
        scanning=stored.scanning,
        total=stored.total,
        states=states,
        duplicates=stored.duplicates,
        bytes_total=stored.bytes_total,
        bytes_done=stored.bytes_done,
        ended=is_ended,
        copies=stored.copies,
        removed=stored.errors.get(ErrorCode.REMOVED, 0),
        errors=dict(stored.errors),
        due_at=format_iso_or_none(stored.due_at),
    )


def event_to_dict(event: read_queries.ItemEvent) -> dict[str, Any]:
    """Convert an event row to the published and streamed event.

    The row of a claim still has the error of the attempt before, so the event omits it.
    """
    is_claim = event.state is State.UPLOADING
    return {
        "seq": event.seq,
        "at": format_iso(event.at),
        "item": event.item_id,
        "state": str(event.state),
        "path": os.fsdecode(event.path),
        "priority": event.priority.label,
        "size": event.size,
        "error_code": None if is_claim else event.error_code,
        "error_message": None if is_claim else event.error_message,
        "embedding_seconds": event.embedding_s,
    }


def transfers_to_dicts(in_flight: Iterable[Transfer]) -> list[dict[str, Any]]:
    """Convert the uploads in flight to the data of a `transfers` event; sizes are bytes."""
    return [{"path": os.fsdecode(each.path), "size": each.size, "sent": each.offset} for each in in_flight]
