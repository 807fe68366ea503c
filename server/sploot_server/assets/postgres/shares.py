"""Links to pictures that their owners show to everybody, in PostgreSQL."""

from sploot_server.assets.postgres.database import PostgresDatabase
from sploot_server.assets.sqlite import asset_of
from sploot_server.model import Asset


class PostgresShares:
    """ShareStore on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    async def share(self, asset_id: str, owner: str, slug: str, *, now_ms: int) -> str | None:
        rows = await self._database.fetch(
            "INSERT INTO shares AS s (slug, asset, created_at) "
            "SELECT $1, row, $2 FROM assets WHERE id = $3 AND owner = $4 AND deleted_at IS NULL "
            "ON CONFLICT (asset) DO UPDATE SET slug = s.slug RETURNING s.slug",  # else nothing would be returned
            *(slug, now_ms, asset_id, owner),
        )
        return rows[0]["slug"] if rows else None

    async def unshare(self, asset_id: str, owner: str) -> None:
        await self._database.fetch(
            "DELETE FROM shares WHERE asset = (SELECT row FROM assets WHERE id = $1 AND owner = $2)", asset_id, owner
        )

    async def shared(self, slug: str) -> Asset | None:
        rows = await self._database.fetch(
            "SELECT w.* FROM whole_assets w JOIN shares s ON s.asset = w.row "
            "WHERE s.slug = $1 AND w.deleted_at IS NULL",
            slug,
        )
        return asset_of(rows[0]) if rows else None
