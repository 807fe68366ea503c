"""What is kept for a while only, so that the database does not grow with its age."""

from typing import Any

from splootd.store.database import Database
from splootd.store.queries import SQL

EVENTS_MAX = 100_000
REPLIES_KEPT_S = 24 * 3600.0
ADDS_KEPT_S = 7 * 24 * 3600.0
UPLOADS_KEPT_S = 30 * 24 * 3600.0
BATCH_MAX = 1_000  # rows deleted in one transaction


async def prune(database: Database, *, now: float) -> int:
    """Delete old news, answers to commands, finished adds and uploads that were left. Returns how many rows."""
    return (
        await _prune(database, "prune_events", keep=EVENTS_MAX)
        + await _prune(database, "prune_replies", before=now - REPLIES_KEPT_S)
        + await _prune(database, "prune_adds", before=now - ADDS_KEPT_S)
        + await _prune(database, "prune_uploads", before=now - UPLOADS_KEPT_S)
    )


async def _prune(database: Database, query: str, **values: Any) -> int:
    every = {**values, "limit": BATCH_MAX}
    deleted = 0
    while rows := await database.write(lambda connection: connection.execute(SQL[query], every).fetchall(), bulk=True):
        deleted += len(rows)
    return deleted
