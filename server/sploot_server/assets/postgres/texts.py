"""What searches read from PostgreSQL."""

import struct
from collections.abc import Mapping, Sequence

from sploot_server.assets import Filter
from sploot_server.assets.postgres.database import PostgresDatabase
from sploot_server.assets.postgres.jobs import numbers
from sploot_server.assets.sqlite import asset_of
from sploot_server.model import Asset

# How common a run of letters is, say the statistics that PostgreSQL keeps of the column; what they do not name is rare.
ROWS_LIKE = """
    WITH commonness AS (
      SELECT unnest(most_common_elems::text::integer[]) AS trigram, unnest(most_common_elem_freqs) AS share
      FROM pg_stats WHERE schemaname = current_schema() AND tablename = 'texts' AND attname = 'trigrams'),
    asked AS (
      SELECT trigram, ln(1 / coalesce(share, 0.0001)) AS weight,
             sum(coalesce(share, 0.0001)) OVER (ORDER BY coalesce(share, 0.0001), trigram) AS share_so_far
      FROM unnest($1::integer[]) AS trigram LEFT JOIN commonness USING (trigram))
    SELECT x.asset FROM asked a JOIN texts x ON x.trigrams @> ARRAY[a.trigram] JOIN assets s ON s.row = x.asset
    WHERE s.owner = $3 AND (share_so_far * (SELECT reltuples FROM pg_class WHERE oid = 'texts'::regclass) < $4
                            OR trigram = (SELECT trigram FROM asked ORDER BY share_so_far LIMIT 1))
    GROUP BY x.asset ORDER BY sum(weight) DESC, x.asset LIMIT $2
"""
LOOKED_AT_MAX = 30_000  # texts per search; the rarest runs of letters come first


class PostgresTexts:
    """SearchStore on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    async def vectors_after(self, order: int, model: str, limit: int) -> Sequence[tuple[int, int, bytes]]:
        rows = await self._database.fetch(
            "SELECT e.ended_order, e.asset, vector_send(v.vector) AS vector, e.dim "
            "FROM embeddings e JOIN vectors v ON v.asset = e.asset "
            "WHERE e.ended_order > $1 AND e.model = $2 AND e.state = 'ready' ORDER BY e.ended_order LIMIT $3",
            *(order, model, limit),
        )
        return [(row["ended_order"], row["asset"], little_endian(row["vector"], row["dim"])) for row in rows]

    async def rows_like(self, trigrams: Sequence[str], limit: int, owner: str) -> Sequence[int]:
        if not trigrams:
            return []
        rows = await self._database.fetch(ROWS_LIKE, numbers(trigrams), limit, owner, float(LOOKED_AT_MAX))
        return [row["asset"] for row in rows]

    async def texts(self, rows: Sequence[int], only: Filter) -> Mapping[int, str]:
        wanted = await self._database.fetch(
            "SELECT x.asset, x.squeezed FROM texts x JOIN assets a ON a.row = x.asset "
            "WHERE x.asset = ANY($1::bigint[]) AND a.deleted_at IS NULL AND a.owner = $4 "
            "AND ($2::boolean IS NULL OR a.favorite = $2) AND ($3::text IS NULL OR EXISTS ("
            "SELECT 1 FROM asset_tags at JOIN tags t ON t.row = at.tag WHERE at.asset = a.row AND t.id = $3))",
            *(rows, only.favorite, only.tag_id, only.owner),
        )
        return {row["asset"]: row["squeezed"] for row in wanted}

    async def found(self, rows: Sequence[int]) -> Mapping[int, tuple[Asset, str]]:
        assets = await self._database.fetch(
            "SELECT w.*, e.text FROM whole_assets w JOIN embeddings e ON e.asset = w.row "
            "WHERE w.row = ANY($1::bigint[]) AND w.deleted_at IS NULL",
            rows,
        )
        return {row["row"]: (asset_of(row), row["text"] or "") for row in assets}


def little_endian(sent: bytes, dim: int) -> bytes:
    """The first `dim` floats of a vector as pgvector sends it: two 16-bit numbers, then big-endian float32."""
    return struct.pack(f"<{dim}f", *struct.unpack_from(f">{dim}f", sent, 4))
