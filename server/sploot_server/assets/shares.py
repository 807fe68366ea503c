"""Links to pictures that their owners show to everybody, in SQLite."""

import sqlite3

from sploot_server.assets.database import Database
from sploot_server.assets.sqlite import asset_of
from sploot_server.model import Asset


class SqliteShares:
    """ShareStore on one SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def share(self, asset_id: str, owner: str, slug: str, *, now_ms: int) -> str | None:
        def run(connection: sqlite3.Connection) -> str | None:
            rows = connection.execute(
                "INSERT INTO shares AS s (slug, asset, created_at) "
                "SELECT ?, row, ? FROM assets WHERE id = ? AND owner = ? AND deleted_at IS NULL "
                "ON CONFLICT (asset) DO UPDATE SET slug = s.slug RETURNING slug",  # else nothing would be returned
                (slug, now_ms, asset_id, owner),
            ).fetchall()
            return str(rows[0]["slug"]) if rows else None

        return await self._database.write(run)

    async def unshare(self, asset_id: str, owner: str) -> None:
        def run(connection: sqlite3.Connection) -> None:
            connection.execute(
                "DELETE FROM shares WHERE asset = (SELECT row FROM assets WHERE id = ? AND owner = ?)",
                (asset_id, owner),
            )

        await self._database.write(run)

    async def shared(self, slug: str) -> Asset | None:
        def run(connection: sqlite3.Connection) -> Asset | None:
            row = connection.execute(
                "SELECT w.* FROM whole_assets w JOIN shares s ON s.asset = w.row "
                "WHERE s.slug = ? AND w.deleted_at IS NULL",
                (slug,),
            ).fetchone()
            return asset_of(row) if row else None

        return await self._database.read(run)
