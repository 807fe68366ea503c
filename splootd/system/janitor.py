"""Maintain the store: prune old rows, check integrity, and keep recent backups."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from splootd.clock import Clock
from splootd.errors import StoreDamaged, StoreError, StoreFull
from splootd.logs import get_logger
from splootd.store.database import Database
from splootd.store.maintenance import check_integrity, prune, seconds_since_integrity_check

MAINTENANCE_INTERVAL_S = 3600.0
BACKUP_INTERVAL_S = 86_400.0
INTEGRITY_CHECK_INTERVAL_S = 86_400.0
BACKUPS_KEPT = 3


@dataclass(frozen=True, slots=True)
class MaintenanceResult:
    """What one round of maintenance did."""

    was_integrity_checked: bool
    pruned: int
    backup: Path | None


class Janitor:
    """Prunes old rows every hour; checks integrity and makes a backup every day.

    The integrity check runs before the backup, so that a damaged database never replaces a good backup. The backup uses
    SQLite's backup API: copying a WAL database file while it is in use gives a damaged copy.
    """

    def __init__(self, database: Database, backups: Path, clock: Clock) -> None:
        self._database = database
        self._backups = backups
        self._clock = clock
        self._log = get_logger("janitor")

    async def run(self) -> None:
        """Run maintenance until cancelled. Raise StoreDamaged if the integrity check fails."""
        while True:
            try:
                result = await self.run_once()
                self._log.debug(
                    "maintenance finished",
                    was_integrity_checked=result.was_integrity_checked,
                    pruned=result.pruned,
                    backup=str(result.backup or ""),
                )
            except StoreFull as error:
                self._log.warning("maintenance failed", error=error.title)
            await asyncio.sleep(MAINTENANCE_INTERVAL_S)

    async def run_once(self) -> MaintenanceResult:
        """Run one round of maintenance."""
        was_integrity_checked = await self._check_integrity()
        pruned = await prune(self._database, now=self._clock.now())
        return MaintenanceResult(was_integrity_checked, pruned, await self._back_up())

    async def _check_integrity(self) -> bool:
        ago_s = await seconds_since_integrity_check(self._database, now=self._clock.now())
        if ago_s is not None and ago_s < INTEGRITY_CHECK_INTERVAL_S:
            return False
        await check_integrity(self._database, now=self._clock.now())
        return True

    async def _back_up(self) -> Path | None:
        self._backups.mkdir(mode=0o700, exist_ok=True)
        existing = sorted(self._backups.glob("queue-*.db"))
        now = int(self._clock.now())
        # A backup dated in the future, from before the clock was set back, must not prevent new ones.
        if any(0 <= now - _created_at(each) < BACKUP_INTERVAL_S for each in existing):
            return None
        new_backup = self._backups / f"queue-{now:012d}.db"
        try:
            await self._database.backup(new_backup)
        except StoreDamaged:
            raise
        except StoreError as error:  # a missing backup must not stop the daemon
            self._log.warning("backup failed", error=error.title)
            return None
        for old in existing[: max(0, len(existing) + 1 - BACKUPS_KEPT)]:
            old.unlink(missing_ok=True)
        return new_backup


def _created_at(backup: Path) -> int:
    try:
        return int(backup.stem.removeprefix("queue-"))
    except ValueError:
        return 0
