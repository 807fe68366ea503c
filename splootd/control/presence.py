"""Check whether the library still has a searchable item."""

import asyncio
from dataclasses import dataclass

from splootd.control.context import Context
from splootd.core.item import Item, State
from splootd.errors import ResourceExhausted, ServerError
from splootd.remote.responses import EmbeddingStatus
from splootd.store.move_journal import Move

PRESENCE_TIMEOUT_S = 5.0  # for the server's response, because a person is waiting


@dataclass(frozen=True, slots=True)
class Presence:
    """Presence of a searchable item in the library, and the recorded move of its file."""

    removed_at: float | None = None
    is_confirmed: bool = True  # the server has just confirmed it
    move: Move | None = None


async def check_presence(context: Context, item: Item) -> Presence:
    """Query the server by hash for a ready item and record the answer in the ledger."""
    if item.state is not State.READY or item.sha256 is None:
        return Presence()
    move, now = await context.move_journal.get_by_item(item.id), context.clock.now()
    entry = await context.ledger.get(item.sha256)
    removed_at = entry.removed_at if entry else None
    try:
        async with asyncio.timeout(PRESENCE_TIMEOUT_S):
            has_asset = await context.client.check(item.sha256, control=True) is not None
            if not has_asset and entry is not None:  # only the query by id proves a removal, see `Delivery`
                report = await context.client.embedding_status(entry.asset_id)
                has_asset = report.status is not EmbeddingStatus.UNKNOWN
    except (ServerError, ResourceExhausted, TimeoutError):
        return Presence(removed_at, is_confirmed=False, move=move)
    if has_asset:
        await context.ledger.mark_seen(item.sha256, now=now)
        return Presence(None, move=move)
    await context.ledger.mark_removed(item.sha256, now=now)
    return Presence(removed_at or now, move=move)
