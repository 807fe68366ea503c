"""What searches read from SQLite."""

import json
import sqlite3
from collections.abc import Mapping, Sequence

from sploot_server.assets import Filter
from sploot_server.assets.database import Database
from sploot_server.assets.sqlite import asset_of
from sploot_server.model import Asset


class SqliteTexts:
    """SearchStore on one SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def vectors_after(self, order: int, model: str, limit: int) -> Sequence[tuple[int, int, bytes]]:
        def run(connection: sqlite3.Connection) -> Sequence[tuple[int, int, bytes]]:
            rows = connection.execute(
                "SELECT ready_order, asset, vector FROM embeddings "
                "WHERE ready_order > ? AND vector IS NOT NULL AND model = ? ORDER BY ready_order LIMIT ?",
                (order, model, limit),
            )
            return [tuple(row) for row in rows]

        return await self._database.read(run)

    async def rows_like(self, trigrams: Sequence[str], limit: int, owner: str) -> Sequence[int]:
        def run(connection: sqlite3.Connection) -> Sequence[int]:
            any_of = " OR ".join(f'"{trigram}"' for trigram in trigrams)  # letters and digits only: nothing to escape
            rows = connection.execute(
                "SELECT rowid FROM texts WHERE squeezed MATCH ? "
                "AND (SELECT owner FROM assets WHERE row = texts.rowid) = ? ORDER BY rank LIMIT ?",
                (any_of, owner, limit),
            )
            return [row["rowid"] for row in rows]

        return await self._database.read(run) if trigrams else []

    async def texts(self, rows: Sequence[int], only: Filter) -> Mapping[int, str]:
        def run(connection: sqlite3.Connection) -> Mapping[int, str]:
            wanted = connection.execute(
                "SELECT x.rowid, x.squeezed FROM texts x JOIN assets a ON a.row = x.rowid "
                "WHERE x.rowid IN (SELECT value FROM json_each(:rows)) AND a.deleted_at IS NULL "
                "AND a.owner = :owner AND (:favorite IS NULL OR a.favorite = :favorite) AND (:tag IS NULL OR EXISTS ("
                "SELECT 1 FROM asset_tags at JOIN tags t ON t.row = at.tag WHERE at.asset = a.row AND t.id = :tag))",
                {"rows": json.dumps(rows), "favorite": only.favorite, "tag": only.tag_id, "owner": only.owner},
            )
            return {row["rowid"]: row["squeezed"] for row in wanted}

        return await self._database.read(run)

    async def found(self, rows: Sequence[int]) -> Mapping[int, tuple[Asset, str]]:
        def run(connection: sqlite3.Connection) -> Mapping[int, tuple[Asset, str]]:
            assets = connection.execute(
                "SELECT w.*, e.text FROM whole_assets w JOIN embeddings e ON e.asset = w.row "
                "WHERE w.row IN (SELECT value FROM json_each(?)) AND w.deleted_at IS NULL",
                (json.dumps(rows),),
            )
            return {row["row"]: (asset_of(row), row["text"] or "") for row in assets}

        return await self._database.read(run)
