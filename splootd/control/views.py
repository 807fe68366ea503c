"""What the store holds, as the protocol shows it: times as ISO-8601 UTC, paths as text, digests as hexadecimal."""

import functools
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from splootd import protocol
from splootd.core.item import Item, State
from splootd.core.lifecycle import ENDED
from splootd.metrics import Transfer
from splootd.store import listing
from splootd.store.arrivals import Folder


@functools.lru_cache(maxsize=1_000)
def iso(at: float) -> str:
    """Seconds since the epoch as ISO-8601 UTC with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_or_none(at: float | None) -> str | None:
    return None if at is None else iso(at)


def item_values(item: Item, folders: Mapping[int, str]) -> dict[str, Any]:
    """The fields of an item's row; in a list of very many, making rows of them would cost more than reading them.

    `folders` are the watched folders' paths by id.
    """
    return {
        "id": item.id,
        "path": os.fsdecode(item.path),
        "state": item.state.value,
        "priority": item.priority.word,
        "shard": item.shard,
        "size": item.version.size,
        "sha256": None if item.sha256 is None else item.sha256.hex(),
        "asset_id": item.asset_id,
        "attempts": item.attempts,
        "added_at": iso(item.added_at),
        "updated_at": iso(item.updated_at),
        "next_at": iso_or_none(item.next_at),
        "reason": item.reason,
        "duplicate": item.duplicate,
        "folder": None if item.folder_id is None else folders.get(item.folder_id),
        "tags": item.tags,
        "fault": item.fault,
    }


def item_row(item: Item, folders: Mapping[int, str]) -> protocol.ItemRow:
    return protocol.ItemRow(**item_values(item, folders))


def item_rows(items: Iterable[Item], folders: Mapping[int, str]) -> tuple[protocol.ItemRow, ...]:
    return tuple(item_row(item, folders) for item in items)


def folder_row(folder: Folder, state: str, detail: str | None) -> protocol.FolderRow:
    return protocol.FolderRow(os.fsdecode(folder.path), state, detail, folder.items, iso_or_none(folder.last_new_at))


def attempt_row(attempt: listing.Attempt) -> protocol.AttemptRow:
    return protocol.AttemptRow(iso(attempt.at), str(attempt.fault), str(attempt.verdict), attempt.reason)


def progress(add: int, of: listing.Progress) -> protocol.Progress:
    states = {state.value: of.by_state.get(state, 0) for state in State}
    ended = not of.walking and sum(states[state] for state in ENDED) == of.total
    return protocol.Progress(
        add=add,
        walking=of.walking,
        total=of.total,
        states=states,
        duplicates=of.duplicates,
        bytes_total=of.bytes_total,
        bytes_done=of.bytes_done,
        ended=ended,
        due_at=iso_or_none(of.due_at),
    )


def news(event: listing.Event) -> dict[str, Any]:
    """One event row as it is published and streamed. Of the claim, fault and reason are those of the try before."""
    is_claim = event.state is State.UPLOADING
    embedded_s = None
    if event.state is State.READY and event.accepted_at is not None and event.at > event.accepted_at:
        embedded_s = event.at - event.accepted_at
    return {
        "seq": event.seq,
        "at": iso(event.at),
        "item": event.item_id,
        "state": str(event.state),
        "path": os.fsdecode(event.path),
        "fault": None if is_claim else event.fault,
        "reason": None if is_claim else event.reason,
        "embedded_s": embedded_s,
    }


def transfers(under_way: Iterable[Transfer]) -> list[dict[str, Any]]:
    """The uploads under way as they are streamed; sizes are bytes."""
    return [{"path": os.fsdecode(each.path), "size": each.size, "sent": each.sent} for each in under_way]
