"""Share links, the same in both databases."""

from collections.abc import Sequence
from typing import NamedTuple

from sploot_server.domain.entities import Asset
from sploot_server.storage.rows import Row, SqlDatabase, asset_from_row


class ShareLink(NamedTuple):
    """A share link and the asset that it shows."""

    slug: str
    created_at_ms: int
    expires_at_ms: int | None
    asset: Asset


class ShareStore:
    """Stores share links, which show an image to anyone who has the link; the slug is the secret part of the URL."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def create_link(
        self,
        asset_id: str,
        owner: str,
        slug: str,
        *,
        now_ms: int,
        expires_at_ms: int | None = None,
        keeps_end: bool = False,
    ) -> tuple[str, int | None] | None:
        """Return the slug and the end of the asset's link; None if no live asset has this id.

        The link then ends at `expires_at_ms`; with `keeps_end` an existing link ends when it would have. A link that
        has ended stays so: the asset gets another one, with `slug`.
        """
        rows = await self._database.execute(
            "INSERT INTO shares AS s (slug, asset, created_at, expires_at) "
            "SELECT $1, row, $2, CAST($5 AS bigint) FROM assets WHERE id = $3 AND owner = $4 AND deleted_at IS NULL "
            "ON CONFLICT (asset) DO UPDATE SET slug = CASE WHEN s.expires_at <= $2 THEN excluded.slug ELSE s.slug END, "
            "created_at = CASE WHEN s.expires_at <= $2 THEN excluded.created_at ELSE s.created_at END, "
            "expires_at = CASE WHEN $6 = 0 OR s.expires_at <= $2 THEN excluded.expires_at ELSE s.expires_at END "
            "RETURNING slug, expires_at",
            values=(slug, now_ms, asset_id, owner, expires_at_ms, int(keeps_end)),
        )
        return (str(rows[0]["slug"]), rows[0]["expires_at"]) if rows else None

    async def revoke_link(self, asset_id: str, owner: str) -> None:
        """Revoke the asset's link, if it has one; a later link gets another slug."""
        revoked = "DELETE FROM shares WHERE asset = (SELECT row FROM assets WHERE id = $1 AND owner = $2)"
        await self._database.execute(revoked, values=(asset_id, owner))

    async def list_links(self, owner: str, *, now_ms: int, limit: int, offset: int) -> list[ShareLink]:
        """Return the share links of live assets that have not ended, newest first."""
        rows = await self._database.fetch(
            "SELECT d.*, s.slug, s.created_at AS shared_at, s.expires_at "
            "FROM shares s JOIN asset_details d ON d.row = s.asset "
            "WHERE d.owner = $1 AND d.deleted_at IS NULL AND (s.expires_at IS NULL OR s.expires_at > $4) "
            "ORDER BY s.created_at DESC, s.slug LIMIT $2 OFFSET $3",
            *(owner, limit, offset, now_ms),
        )
        return [_link_from_row(row) for row in rows]

    async def list_all(self) -> Sequence[tuple[str, ShareLink]]:
        """Return the share links of all owners, the oldest first, each after the name of its owner, or ''."""
        rows = await self._database.fetch(
            "SELECT d.*, s.slug, s.created_at AS shared_at, s.expires_at, coalesce(u.name, '') AS owner_name "
            "FROM shares s JOIN asset_details d ON d.row = s.asset "
            "LEFT JOIN users u ON u.id = d.owner ORDER BY s.created_at, s.slug"
        )
        return [(row["owner_name"], _link_from_row(row)) for row in rows]

    async def revoke_slug(self, slug: str) -> bool:
        """Revoke a link of any owner; return False if it does not exist."""
        return bool(await self._database.execute("DELETE FROM shares WHERE slug = $1 RETURNING slug", values=(slug,)))

    async def get_shared_asset(self, slug: str, *, now_ms: int) -> Asset | None:
        """Return the live asset of this link, unless the link has ended."""
        row = await self._database.fetch_row(
            "SELECT d.* FROM asset_details d JOIN shares s ON s.asset = d.row "
            "WHERE s.slug = $1 AND d.deleted_at IS NULL AND (s.expires_at IS NULL OR s.expires_at > $2)",
            *(slug, now_ms),
        )
        return asset_from_row(row) if row else None


def _link_from_row(row: Row) -> ShareLink:
    return ShareLink(row["slug"], row["shared_at"], row["expires_at"], asset_from_row(row))
