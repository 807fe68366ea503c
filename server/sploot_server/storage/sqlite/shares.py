"""Share links in SQLite."""

import sqlite3

from sploot_server.domain.entities import Asset
from sploot_server.storage.rows import asset_from_row
from sploot_server.storage.sqlite.database import Database


class SqliteShares:
    """ShareStore on one SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create_link(self, asset_id: str, owner: str, slug: str, *, now_ms: int) -> str | None:
        def run(connection: sqlite3.Connection) -> str | None:
            rows = connection.execute(
                "INSERT INTO shares AS s (slug, asset, created_at) "
                "SELECT ?, row, ? FROM assets WHERE id = ? AND owner = ? AND deleted_at IS NULL "
                # Not DO NOTHING: RETURNING would then return no row for an existing link.
                "ON CONFLICT (asset) DO UPDATE SET slug = s.slug RETURNING slug",
                (slug, now_ms, asset_id, owner),
            ).fetchall()
            return str(rows[0]["slug"]) if rows else None

        return await self._database.write(run)

    async def revoke_link(self, asset_id: str, owner: str) -> None:
        def run(connection: sqlite3.Connection) -> None:
            connection.execute(
                "DELETE FROM shares WHERE asset = (SELECT row FROM assets WHERE id = ? AND owner = ?)",
                (asset_id, owner),
            )

        await self._database.write(run)

    async def get_shared_asset(self, slug: str) -> Asset | None:
        def run(connection: sqlite3.Connection) -> Asset | None:
            row = connection.execute(
                "SELECT d.* FROM asset_details d JOIN shares s ON s.asset = d.row "
                "WHERE s.slug = ? AND d.deleted_at IS NULL",
                (slug,),
            ).fetchone()
            return asset_from_row(row) if row else None

        return await self._database.read(run)
