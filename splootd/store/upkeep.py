"""What keeps the database small and sound: old rows go, and now and then all of it is read through."""

import contextlib
from typing import Any

from splootd.errors import StoreDamaged, StoreError, StoreFull
from splootd.store.database import Database
from splootd.store.queries import SQL
from splootd.store.schema import READ_THROUGH_AT

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


async def read_through(database: Database, *, now: float) -> None:
    """StoreDamaged when it does not hold together, which is remembered either way. Takes about 5 s a million items."""
    try:
        await database.check()
    except StoreDamaged:
        with contextlib.suppress(StoreError):
            await _remember(database, "", now=now)
        raise
    with contextlib.suppress(StoreFull):  # then it is read again the sooner
        await _remember(database, str(now), now=now)


async def _remember(database: Database, read_at: str, *, now: float) -> None:
    values = {"name": READ_THROUGH_AT, "value": read_at, "now": now}
    await database.write(lambda connection: connection.execute(SQL["set_setting"], values).fetchall())


async def read_through_s_ago(database: Database, *, now: float) -> float | None:
    """When it was last found to hold together; None where nobody can tell.

    It never was, or not since an unclean stop, or the clock has been set back since.
    """
    query = SQL["setting"], {"name": READ_THROUGH_AT}
    rows = await database.read(lambda connection: connection.execute(*query).fetchall())
    at = float(rows[0]["value"] or "inf") if rows else float("inf")
    return now - at if at <= now else None


async def _prune(database: Database, query: str, **values: Any) -> int:
    every = {**values, "limit": BATCH_MAX}
    deleted = 0
    while rows := await database.write(lambda connection: connection.execute(SQL[query], every).fetchall(), bulk=True):
        deleted += len(rows)
    return deleted
