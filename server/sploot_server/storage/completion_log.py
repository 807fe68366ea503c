"""The completion log, the same in both databases; triggers of the schemas assign the sequence numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

from sploot_server.domain.entities import Embedding
from sploot_server.storage.rows import SqlDatabase, embedding_from_row


@dataclass(frozen=True, slots=True)
class Completion:
    """An embedding that became ready or failed, and its number in the sequence of completions."""

    seq: int
    asset_id: str
    owner: str
    embedding: Embedding


class CompletionLog:
    """The sequence in which embeddings completed. Its numbers become visible in order: no reader can miss one."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def last_seq(self) -> tuple[str, int]:
        """Return the unique id of this library and the last assigned number; 0 if there is none."""
        [row] = await self._database.fetch("SELECT library_id, last_seq FROM completion_sequence")
        return row["library_id"], row["last_seq"]

    async def list_after(self, seq: int, limit: int, owner: str | None = None) -> Sequence[Completion]:
        """Return the first `limit` completions of live assets after `seq`; of all owners if `owner` is None."""
        rows = await self._database.fetch(
            "SELECT * FROM asset_details WHERE completion_seq > $1 AND deleted_at IS NULL "
            "AND (CAST($2 AS text) IS NULL OR owner = $2) ORDER BY completion_seq LIMIT $3",
            *(seq, owner, limit),
        )
        return [Completion(row["completion_seq"], row["id"], row["owner"], embedding_from_row(row)) for row in rows]
