"""The stored responses to commands, by Idempotency-Key."""

from splootd.store.database import Database
from splootd.store.queries import SQL


class IdempotencyStore:
    """Stores the response to each command for a day. Times are seconds since the epoch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get_response(self, key: str) -> str | None:
        """Return the response to the command with this key."""
        rows = await self._database.read(
            lambda connection: connection.execute(SQL["response"], {"key": key}).fetchall()
        )
        return rows[0]["response"] if rows else None

    async def store_response(self, key: str, response: str, *, now: float) -> None:
        """Store the response to a command. A response that is stored already stays."""
        values = {"key": key, "response": response, "now": now}
        await self._database.write(lambda connection: connection.execute(SQL["store_response"], values).rowcount)
