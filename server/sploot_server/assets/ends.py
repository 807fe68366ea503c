"""The order in which embeddings have ended, in SQLite; triggers of the schema keep it."""

import sqlite3
from collections.abc import Sequence

from sploot_server.assets import Ended
from sploot_server.assets.database import Database
from sploot_server.assets.sqlite import asset_of


class SqliteEnds:
    """EndStore on one SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def last(self) -> tuple[str, int]:
        def run(connection: sqlite3.Connection) -> tuple[str, int]:
            row = connection.execute("SELECT name, last FROM series").fetchone()
            return row["name"], row["last"]

        return await self._database.read(run)

    async def after(self, order: int, limit: int, owner: str | None = None) -> Sequence[Ended]:
        def run(connection: sqlite3.Connection) -> Sequence[Ended]:
            rows = connection.execute(
                "SELECT w.*, e.ended_order FROM embeddings e JOIN whole_assets w ON w.row = e.asset "
                "WHERE e.ended_order > :order AND w.deleted_at IS NULL AND (:owner IS NULL OR w.owner = :owner) "
                "ORDER BY e.ended_order LIMIT :limit",
                {"order": order, "owner": owner, "limit": limit},
            )
            return [Ended(row["ended_order"], row["id"], row["owner"], asset_of(row).embedding) for row in rows]

        return await self._database.read(run)
