"""Maintenance of the database: pruning of old rows and the regular integrity check."""

import contextlib
from typing import Any

from splootd.errors import StoreDamaged, StoreError, StoreFull
from splootd.store.database import Database
from splootd.store.queries import SQL
from splootd.store.schema import INTEGRITY_CHECKED_AT
from splootd.store.settings import SettingsStore

EVENTS_MAX = 100_000
RESPONSE_RETENTION_S = 24 * 3600.0
IMPORT_RETENTION_S = 7 * 24 * 3600.0
UPLOAD_RETENTION_S = 30 * 24 * 3600.0
BATCH_MAX = 1_000  # rows deleted in one transaction


async def prune(database: Database, *, now: float) -> int:
    """Delete old events, responses, finished imports and abandoned uploads. Returns the number of rows."""
    return (
        await _prune(database, "prune_events", keep=EVENTS_MAX)
        + await _prune(database, "prune_idempotency_keys", before=now - RESPONSE_RETENTION_S)
        + await _prune(database, "prune_imports", before=now - IMPORT_RETENTION_S)
        + await _prune(database, "prune_uploads", before=now - UPLOAD_RETENTION_S)
    )


async def check_integrity(database: Database, *, now: float) -> None:
    """Raise StoreDamaged if the file is damaged, and record the result. Takes about 5 s per million items."""
    try:
        await database.check_integrity()
    except StoreDamaged:
        with contextlib.suppress(StoreError):
            await _save_checked_at(database, "", now=now)
        raise
    with contextlib.suppress(StoreFull):  # without the record, the next check comes sooner
        await _save_checked_at(database, str(now), now=now)


async def _save_checked_at(database: Database, checked_at: str, *, now: float) -> None:
    await SettingsStore(database).set(INTEGRITY_CHECKED_AT, checked_at, now=now)


async def seconds_since_integrity_check(database: Database, *, now: float) -> float | None:
    """Return the age of the last successful integrity check, or None if it is unknown.

    It is unknown if there was no check, none since an unclean shutdown, or if the clock was set back since.
    """
    checked_at = float(await SettingsStore(database).get(INTEGRITY_CHECKED_AT) or "inf")
    return now - checked_at if checked_at <= now else None


async def _prune(database: Database, query: str, **values: Any) -> int:
    params = {**values, "limit": BATCH_MAX}
    deleted = 0
    while rows := await database.write(lambda connection: connection.execute(SQL[query], params).fetchall(), bulk=True):
        deleted += len(rows)
    return deleted
