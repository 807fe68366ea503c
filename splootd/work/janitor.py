"""Keeps the store small and sound, and a recent copy of it at hand."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from splootd.clock import Clock
from splootd.errors import StoreDamaged, StoreError, StoreFull
from splootd.logs import logger
from splootd.store.database import Database
from splootd.store.upkeep import prune, read_through, read_through_s_ago

ROUND_INTERVAL_S = 3600.0
BACKUP_INTERVAL_S = 86_400.0
READ_THROUGH_INTERVAL_S = 86_400.0
BACKUPS_KEPT = 3


@dataclass(frozen=True, slots=True)
class Swept:
    """What one round did."""

    was_read_through: bool
    pruned: int
    backup: Path | None


class Janitor:
    """Once an hour: prune what is no longer asked for. Once a day, or when in doubt: read the database through.

    What holds together is copied once a day, too, while it is in use.
    """

    def __init__(self, database: Database, backups: Path, clock: Clock) -> None:
        self._database = database
        self._backups = backups
        self._clock = clock
        self._log = logger("janitor")

    async def run(self) -> None:
        """Raises StoreDamaged when the database turns out not to hold together."""
        while True:
            try:
                swept = await self.run_once()
                self._log.debug(
                    "swept",
                    was_read_through=swept.was_read_through,
                    pruned=swept.pruned,
                    backup=str(swept.backup or ""),
                )
            except StoreFull as error:
                self._log.warning("not swept", error=error.title)
            await asyncio.sleep(ROUND_INTERVAL_S)

    async def run_once(self) -> Swept:
        was_read_through = await self._read_through()
        pruned = await prune(self._database, now=self._clock.now())
        return Swept(was_read_through, pruned, await self._back_up())

    async def _read_through(self) -> bool:
        ago_s = await read_through_s_ago(self._database, now=self._clock.now())
        if ago_s is not None and ago_s < READ_THROUGH_INTERVAL_S:
            return False
        await read_through(self._database, now=self._clock.now())
        return True

    async def _back_up(self) -> Path | None:
        self._backups.mkdir(mode=0o700, exist_ok=True)
        kept = sorted(self._backups.glob("queue-*.db"))
        now = int(self._clock.now())
        if any(0 <= now - _made_at(each) < BACKUP_INTERVAL_S for each in kept):  # the clock may have been set back
            return None
        fresh = self._backups / f"queue-{now:012d}.db"
        try:
            await self._database.backup(fresh)
        except StoreDamaged:
            raise
        except StoreError as error:  # the work goes on without it
            self._log.warning("no copy was made", error=error.title)
            return None
        for old in kept[: max(0, len(kept) + 1 - BACKUPS_KEPT)]:
            old.unlink(missing_ok=True)
        return fresh


def _made_at(backup: Path) -> int:
    try:
        return int(backup.stem.removeprefix("queue-"))
    except ValueError:
        return 0
