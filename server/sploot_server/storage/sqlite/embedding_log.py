"""The completion log in SQLite; triggers of the schema assign the sequence numbers."""

import sqlite3
from collections.abc import Sequence

from sploot_server.storage.interfaces import Completion
from sploot_server.storage.rows import embedding_from_row
from sploot_server.storage.sqlite.database import Database


class SqliteCompletionLog:
    """CompletionLog on one SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def last_seq(self) -> tuple[str, int]:
        def run(connection: sqlite3.Connection) -> tuple[str, int]:
            row = connection.execute("SELECT library_id, last_seq FROM completion_sequence").fetchone()
            return row["library_id"], row["last_seq"]

        return await self._database.read(run)

    async def list_after(self, seq: int, limit: int, owner: str | None = None) -> Sequence[Completion]:
        def run(connection: sqlite3.Connection) -> Sequence[Completion]:
            rows = connection.execute(
                "SELECT * FROM asset_details WHERE completion_seq > :seq AND deleted_at IS NULL "
                "AND (:owner IS NULL OR owner = :owner) ORDER BY completion_seq LIMIT :limit",
                {"seq": seq, "owner": owner, "limit": limit},
            )
            return [Completion(row["completion_seq"], row["id"], row["owner"], embedding_from_row(row)) for row in rows]

        return await self._database.read(run)
