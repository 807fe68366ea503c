"""The order in which embeddings have ended, in PostgreSQL; a trigger of the schema keeps it."""

from collections.abc import Sequence

from sploot_server.assets import Ended
from sploot_server.assets.postgres.database import PostgresDatabase
from sploot_server.assets.sqlite import asset_of


class PostgresEnds:
    """EndStore on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    async def last(self) -> tuple[str, int]:
        [row] = await self._database.fetch("SELECT name, last FROM series")
        return row["name"], row["last"]

    async def after(self, order: int, limit: int, owner: str | None = None) -> Sequence[Ended]:
        rows = await self._database.fetch(
            "SELECT * FROM whole_assets WHERE ended_order > $1 AND deleted_at IS NULL "
            "AND ($2::text IS NULL OR owner = $2) ORDER BY ended_order LIMIT $3",
            *(order, owner, limit),
        )
        return [Ended(row["ended_order"], row["id"], row["owner"], asset_of(row).embedding) for row in rows]
