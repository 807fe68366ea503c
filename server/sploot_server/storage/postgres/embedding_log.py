"""The completion log in PostgreSQL; a trigger of the schema assigns the sequence numbers."""

from collections.abc import Sequence

from sploot_server.storage.interfaces import Completion
from sploot_server.storage.postgres.database import PostgresDatabase
from sploot_server.storage.rows import embedding_from_row


class PostgresCompletionLog:
    """CompletionLog on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    async def last_seq(self) -> tuple[str, int]:
        [row] = await self._database.fetch("SELECT library_id, last_seq FROM completion_sequence")
        return row["library_id"], row["last_seq"]

    async def list_after(self, seq: int, limit: int, owner: str | None = None) -> Sequence[Completion]:
        rows = await self._database.fetch(
            "SELECT * FROM asset_details WHERE completion_seq > $1 AND deleted_at IS NULL "
            "AND ($2::text IS NULL OR owner = $2) ORDER BY completion_seq LIMIT $3",
            *(seq, owner, limit),
        )
        return [Completion(row["completion_seq"], row["id"], row["owner"], embedding_from_row(row)) for row in rows]
