"""Settings that the daemon keeps across restarts, such as `paused`."""

from typing import cast

from splootd.store.database import Database
from splootd.store.queries import SQL


class SettingsStore:
    """Stores named text values. Times are seconds since the epoch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str) -> str | None:
        """Return the value of a setting, or None if it was never set."""
        rows = await self._database.read(
            lambda connection: connection.execute(SQL["setting"], {"name": name}).fetchall()
        )
        return cast(str, rows[0]["value"]) if rows else None

    async def set(self, name: str, value: str, *, now: float) -> None:
        """Set a setting."""
        values = {"name": name, "value": value, "now": now}
        await self._database.write(lambda connection: connection.execute(SQL["set_setting"], values).rowcount)
