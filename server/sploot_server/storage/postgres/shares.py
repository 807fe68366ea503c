"""Share links in PostgreSQL."""

from sploot_server.domain.entities import Asset
from sploot_server.storage.postgres.database import PostgresDatabase
from sploot_server.storage.rows import asset_from_row


class PostgresShares:
    """ShareStore on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    async def create_link(self, asset_id: str, owner: str, slug: str, *, now_ms: int) -> str | None:
        rows = await self._database.fetch(
            "INSERT INTO shares AS s (slug, asset, created_at) "
            "SELECT $1, row, $2 FROM assets WHERE id = $3 AND owner = $4 AND deleted_at IS NULL "
            # Not DO NOTHING: RETURNING would then return no row for an existing link.
            "ON CONFLICT (asset) DO UPDATE SET slug = s.slug RETURNING s.slug",
            *(slug, now_ms, asset_id, owner),
        )
        return rows[0]["slug"] if rows else None

    async def revoke_link(self, asset_id: str, owner: str) -> None:
        await self._database.fetch(
            "DELETE FROM shares WHERE asset = (SELECT row FROM assets WHERE id = $1 AND owner = $2)", asset_id, owner
        )

    async def get_shared_asset(self, slug: str) -> Asset | None:
        rows = await self._database.fetch(
            "SELECT d.* FROM asset_details d JOIN shares s ON s.asset = d.row "
            "WHERE s.slug = $1 AND d.deleted_at IS NULL",
            slug,
        )
        return asset_from_row(rows[0]) if rows else None
