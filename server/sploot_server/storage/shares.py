"""Share links, the same in both databases."""

from sploot_server.domain.entities import Asset
from sploot_server.storage.rows import SqlDatabase, asset_from_row


class ShareStore:
    """Stores share links, which show an image to anyone who has the link; the slug is the secret part of the URL."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def create_link(self, asset_id: str, owner: str, slug: str, *, now_ms: int) -> str | None:
        """Return the asset's existing slug, else `slug` after storing it; None if no live asset has this id."""
        rows = await self._database.execute(
            "INSERT INTO shares AS s (slug, asset, created_at) "
            "SELECT $1, row, $2 FROM assets WHERE id = $3 AND owner = $4 AND deleted_at IS NULL "
            # Not DO NOTHING: RETURNING would then return no row for an existing link.
            "ON CONFLICT (asset) DO UPDATE SET slug = s.slug RETURNING slug",
            values=(slug, now_ms, asset_id, owner),
        )
        return str(rows[0]["slug"]) if rows else None

    async def revoke_link(self, asset_id: str, owner: str) -> None:
        """Revoke the asset's link, if it has one; a later link gets another slug."""
        revoked = "DELETE FROM shares WHERE asset = (SELECT row FROM assets WHERE id = $1 AND owner = $2)"
        await self._database.execute(revoked, values=(asset_id, owner))

    async def get_shared_asset(self, slug: str) -> Asset | None:
        """Return the live asset of this link."""
        rows = await self._database.fetch(
            "SELECT d.* FROM asset_details d JOIN shares s ON s.asset = d.row "
            "WHERE s.slug = $1 AND d.deleted_at IS NULL",
            slug,
        )
        return asset_from_row(rows[0]) if rows else None
