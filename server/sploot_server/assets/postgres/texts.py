"""What searches read from PostgreSQL."""

import math
import struct
from collections.abc import Collection, Mapping, Sequence

from sploot_server.assets import Begun, Candidate, Filter, Found, Seed, Text
from sploot_server.assets.postgres.database import PostgresDatabase, Statements
from sploot_server.assets.postgres.index import floats, numbers, padded
from sploot_server.assets.sqlite import asset_of
from sploot_server.embedding import Model, Vectors
from sploot_server.models import E5_SHARE

EF_SEARCH_MAX = 1000  # pgvector's own limit of what a walk through the graph keeps in sight
LONG = 1.1  # longer than this is the vector of a text that only one of two models knows; else all are of length 1
POSTINGS_MAX = 6000  # texts that the trigrams looked for occur in, taken together

WANTED = """
    a.deleted_at IS NULL AND a.owner = $1 AND ($2::boolean IS NULL OR a.favorite = $2)
    AND ($3::text IS NULL OR a.mime = $3) AND ($4::bigint IS NULL OR a.created_at >= $4)
    AND ($5::bigint IS NULL OR a.created_at < $5) AND ($6::text IS NULL OR EXISTS (
      SELECT 1 FROM asset_tags at JOIN tags t ON t.row = at.tag WHERE at.asset = a.row AND t.id = $6 AND t.owner = $1))
"""
NEAREST = f"""
    SELECT v.asset FROM vectors v JOIN assets a ON a.row = v.asset JOIN embeddings e ON e.asset = v.asset
    WHERE v.owner = $1 AND e.model = $7 AND e.state = 'ready' AND {{measured}} AND {WANTED}
    ORDER BY {{expression}} <#> $8::float4[]::halfvec LIMIT $9
"""  # noqa: S608 - constants
# How common a run of letters is, say the statistics that PostgreSQL keeps of the column; what they do not name is rare.
COMMONNESS = """
    SELECT trigram, coalesce(share, 0) * (
      SELECT greatest(reltuples, 0) FROM pg_class WHERE oid = 'texts'::regclass) AS texts
    FROM unnest($1::integer[]) AS trigram LEFT JOIN (
      SELECT unnest(most_common_elems::text::integer[]) AS trigram, unnest(most_common_elem_freqs) AS share
      FROM pg_stats WHERE schemaname = current_schema() AND tablename = 'texts' AND attname = 'trigrams') AS common
    USING (trigram) ORDER BY 2, 1
"""
LIKE = f"""
    SELECT x.asset, x.squeezed, coalesce(l.kin, x.asset) FROM (
      SELECT x.asset FROM unnest($7::integer[], $8::float8[]) AS asked (trigram, weight)
      JOIN texts x ON x.trigrams @> ARRAY[asked.trigram] JOIN assets a ON a.row = x.asset WHERE {WANTED}
      GROUP BY x.asset ORDER BY sum(asked.weight) DESC, x.asset LIMIT $9) AS alike
    JOIN texts x USING (asset) LEFT JOIN looks l USING (asset)
"""  # noqa: S608 - constants
READ = f"""
    SELECT a.row, coalesce(x.squeezed, '') AS squeezed, coalesce(l.kin, a.row) AS kin,
           CASE WHEN comparable THEN -(v.meaning <#> $8::float4[]::vector) / greatest(1, -- see `vectors.inner_products`
             (v.meaning <#> v.meaning) * ($8::float4[]::vector <#> $8::float4[]::vector) * {E5_SHARE}) END AS meaning,
           CASE WHEN comparable AND vector_dims(v.picture) = cardinality($9::float4[])
                THEN -(v.picture <#> $9::float4[]::vector) END AS picture
    FROM assets a JOIN embeddings e ON e.asset = a.row CROSS JOIN LATERAL (SELECT e.model = $7 AS comparable) c
    LEFT JOIN texts x ON x.asset = a.row LEFT JOIN looks l ON l.asset = a.row LEFT JOIN vectors v ON v.asset = a.row
    WHERE a.row = ANY($10::bigint[]) AND {WANTED}
"""  # noqa: S608 - constants
SEED = """
    SELECT a.row, vector_send(v.meaning) AS meaning, vector_send(v.picture) AS picture, e.model = $3 AS comparable,
           ARRAY(SELECT b.row FROM looks l JOIN looks k ON k.kin = l.kin JOIN assets b ON b.row = k.asset
                 WHERE l.asset = a.row AND b.owner = a.owner AND b.deleted_at IS NULL AND b.row <> a.row
                 ORDER BY b.row) AS kin
    FROM assets a JOIN embeddings e ON e.asset = a.row LEFT JOIN vectors v ON v.asset = a.row
    WHERE a.id = $1 AND a.owner = $2 AND a.deleted_at IS NULL
"""


class PostgresTexts:
    """SearchStore on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    async def begin(self, trigrams: Sequence[str], only: Filter, count: int) -> Begun:
        async with self._database.transaction() as statements:
            return Begun(only, count, await _like(statements, trigrams, only, count))

    async def candidates(self, begun: Begun, sought: Vectors, model: Model) -> Sequence[Candidate]:
        only, count = begun.only, begun.count
        rows = {text.row for text in begun.like}
        async with self._database.transaction() as statements:
            await statements.fetch(f"SET LOCAL hnsw.ef_search = {min(count, EF_SEARCH_MAX)}")
            if sought.text is not None:
                for measured in _meanings(sought.text):
                    place = {"measured": measured, "expression": "v.meaning::halfvec(768)"}
                    rows |= await _nearest(statements, place, *_filter(only), model.name, padded(sought.text), count)
            if sought.picture is not None:
                dim = len(sought.picture) // 4
                place = {"measured": f"vector_dims(v.picture) = {dim}", "expression": f"v.picture::halfvec({dim})"}
                rows |= await _nearest(statements, place, *_filter(only), model.name, floats(sought.picture), count)
            return await _read(statements, rows, sought, model, only)

    async def found(self, rows: Sequence[int]) -> Mapping[int, Found]:
        assets = await self._database.fetch(
            "SELECT w.*, e.text, ARRAY(SELECT b.id FROM looks l JOIN looks k ON k.kin = l.kin "
            "  JOIN assets b ON b.row = k.asset WHERE l.asset = w.row AND b.row <> w.row AND b.owner = w.owner "
            "  AND b.deleted_at IS NULL ORDER BY b.row) AS others "
            "FROM whole_assets w JOIN embeddings e ON e.asset = w.row "
            "WHERE w.row = ANY($1::bigint[]) AND w.deleted_at IS NULL",
            rows,
        )
        return {row["row"]: Found(asset_of(row), row["text"] or "", row["others"]) for row in assets}

    async def seed(self, asset_id: str, model: Model, owner: str) -> Seed | None:
        rows = await self._database.fetch(
            SEED,
            *(asset_id, owner, model.name),
        )
        if not rows:
            return None
        [row] = rows
        vectors = Vectors(None, None)
        if row["comparable"]:
            vectors = Vectors(_received(row["meaning"], model.dim), _received(row["picture"], model.picture_dim))
        return Seed(row["row"], vectors, row["kin"])


async def _like(statements: Statements, trigrams: Sequence[str], only: Filter, count: int) -> Sequence[Text]:
    """Texts that share the rarest of the trigrams, as many of these as occur in POSTINGS_MAX texts."""
    chosen: list[int] = []
    weights: list[float] = []
    left = float(POSTINGS_MAX)
    for row in await statements.fetch(COMMONNESS, numbers(trigrams)) if trigrams else ():
        if row["texts"] > left and chosen:
            break
        chosen.append(row["trigram"])
        weights.append(1.0 / (1.0 + row["texts"]) ** 0.5)
        left -= row["texts"]
    if not chosen:
        return []
    return [Text(*row) for row in await statements.fetch(LIKE, *_filter(only), chosen, weights, count)]


def _meanings(sought: bytes) -> Sequence[str]:
    """Among which vectors the nearest are to be looked for.

    If both are long, so is their inner product (see `vectors.inner_products`): what only the one model knows would be
    before all that both know, however far it is.
    """
    everything = "v.meaning IS NOT NULL"
    return (everything, f"vector_norm(v.meaning) < {LONG}") if math.hypot(*floats(sought)) > LONG else (everything,)


async def _nearest(statements: Statements, place: Mapping[str, str], *values: object) -> set[int]:
    return {row["asset"] for row in await statements.fetch(NEAREST.format(**place), *values)}


async def _read(
    statements: Statements, rows: Collection[int], sought: Vectors, model: Model, only: Filter
) -> Sequence[Candidate]:
    picture = None if sought.picture is None else floats(sought.picture)
    found = await statements.fetch(READ, *_filter(only), model.name, padded(sought.text), picture, list(rows))
    return [Candidate(Text(row, squeezed, kin), *products) for row, squeezed, kin, *products in found]


def _filter(only: Filter) -> Sequence[object]:
    return (only.owner, only.favorite, only.mime, only.created_from_ms, only.created_before_ms, only.tag_id)


def _received(sent: bytes | None, dim: int) -> bytes | None:
    """The first `dim` floats of a vector as pgvector sends it: two 16-bit numbers, then big-endian float32."""
    return None if sent is None else struct.pack(f"<{dim}f", *struct.unpack_from(f">{dim}f", sent, 4))
