"""Search queries in PostgreSQL: nearest vectors by HNSW, texts by trigrams."""

import math
import struct
from collections.abc import Collection, Mapping, Sequence

from sploot_server.domain.asset_query import AssetFilter
from sploot_server.domain.embedding import EmbeddingModel, Vectors
from sploot_server.inference.installed_encoders import USE_WEIGHT
from sploot_server.storage.asset_filter import Parameters, filter_condition
from sploot_server.storage.interfaces import AssetText, Candidate, PreparedSearch, SearchHit, Seed
from sploot_server.storage.postgres.database import PostgresDatabase, Transaction
from sploot_server.storage.postgres.search_index import hash_trigrams, pad_text_vector, unpack_floats
from sploot_server.storage.rows import asset_from_row

EF_SEARCH_MAX = 1000  # pgvector's limit for the size of HNSW's candidate list
# All text vectors have length 1, except those of texts that only one of two models knows: they are longer than this.
LONG_VECTOR_NORM = 1.1
POSTINGS_MAX = 6000  # the trigrams of one query match at most this many texts, all together

# The expression and the condition must be those of an HNSW index (1.sql, search_index.py), or PostgreSQL compares the
# query with every vector. `<#>` is the negative inner product, because indexes are scanned in ascending order. halfvec
# halves the index; its rounding does not matter, since SELECT_CANDIDATES computes exact products of the rows found.
SELECT_NEAREST = """
    SELECT v.asset FROM vectors v JOIN assets a ON a.row = v.asset JOIN embeddings e ON e.asset = v.asset
    WHERE v.owner = $4 AND e.model = $1 AND e.state = 'ready' AND {condition} AND {filter}
    ORDER BY {expression} <#> $2::float4[]::halfvec LIMIT $3
"""
# PostgreSQL's statistics of the column list the most common trigrams and their frequencies; all others are rare.
TRIGRAM_FREQUENCIES = """
    SELECT trigram, coalesce(frequency, 0) * (
      SELECT greatest(reltuples, 0) FROM pg_class WHERE oid = 'search_texts'::regclass) AS text_count
    FROM unnest($1::integer[]) AS trigram LEFT JOIN (
      SELECT unnest(most_common_elems::text::integer[]) AS trigram, unnest(most_common_elem_freqs) AS frequency
      FROM pg_stats
      WHERE schemaname = current_schema() AND tablename = 'search_texts' AND attname = 'trigrams') AS common
    USING (trigram) ORDER BY 2, 1
"""
# One GIN lookup per trigram (`@>` with a single element): `&&` with all of them would not return which ones matched.
MATCH_TRIGRAMS = """
    SELECT x.asset, x.normalized, coalesce(h.duplicate_group, x.asset) FROM (
      SELECT x.asset FROM unnest($1::integer[], $2::float8[]) AS query_trigrams (trigram, weight)
      JOIN search_texts x ON x.trigrams @> ARRAY[query_trigrams.trigram] JOIN assets a ON a.row = x.asset
      WHERE {filter}
      GROUP BY x.asset ORDER BY sum(query_trigrams.weight) DESC, x.asset LIMIT $3) AS matches
    JOIN search_texts x USING (asset) LEFT JOIN image_hashes h USING (asset)
"""
# The divisor of the text similarity is explained at `vector_index.cosine_similarities`.
SELECT_CANDIDATES = """
    SELECT a.row, coalesce(x.normalized, '') AS normalized, coalesce(h.duplicate_group, a.row) AS duplicate_group,
           CASE WHEN comparable THEN -(v.text_vector <#> $2::float4[]::vector) / greatest(1,
             (v.text_vector <#> v.text_vector) * ($2::float4[]::vector <#> $2::float4[]::vector) * {use_weight})
           END AS text_similarity,
           CASE WHEN comparable AND vector_dims(v.image_vector) = cardinality($3::float4[])
                THEN -(v.image_vector <#> $3::float4[]::vector) END AS image_similarity,
           coalesce(v.hubness, 0) AS hubness
    FROM assets a JOIN embeddings e ON e.asset = a.row CROSS JOIN LATERAL (SELECT e.model = $1 AS comparable) c
    LEFT JOIN search_texts x ON x.asset = a.row LEFT JOIN image_hashes h ON h.asset = a.row
    LEFT JOIN vectors v ON v.asset = a.row
    WHERE a.row = ANY($4::bigint[]) AND {filter}
"""
SELECT_SEED = """
    SELECT a.row, vector_send(v.text_vector) AS text_vector, vector_send(v.image_vector) AS image_vector,
           e.model = $3 AS comparable,
           ARRAY(SELECT b.row FROM image_hashes h JOIN image_hashes k ON k.duplicate_group = h.duplicate_group
                 JOIN assets b ON b.row = k.asset
                 WHERE h.asset = a.row AND b.owner = a.owner AND b.deleted_at IS NULL AND b.row <> a.row
                 ORDER BY b.row) AS near_duplicates
    FROM assets a JOIN embeddings e ON e.asset = a.row LEFT JOIN vectors v ON v.asset = a.row
    WHERE a.id = $1 AND a.owner = $2 AND a.deleted_at IS NULL
"""


class PostgresSearch:
    """SearchStore on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    async def prepare_search(self, trigrams: Sequence[str], asset_filter: AssetFilter, count: int) -> PreparedSearch:
        async with self._database.transaction() as transaction:
            return PreparedSearch(
                asset_filter, count, await _match_trigrams(transaction, trigrams, asset_filter, count)
            )

    async def find_candidates(
        self, prepared: PreparedSearch, query_vectors: Vectors, model: EmbeddingModel
    ) -> Sequence[Candidate]:
        asset_filter, count = prepared.asset_filter, prepared.count
        rows = {text.row for text in prepared.text_matches}
        async with self._database.transaction() as transaction:
            # The default, 40, is too short for `count` rows: recall suffers when the candidate list is shorter.
            await transaction.fetch(f"SET LOCAL hnsw.ef_search = {min(count, EF_SEARCH_MAX)}")
            if query_vectors.text is not None:
                for condition in _text_vector_conditions(query_vectors.text):
                    index = {"condition": condition, "expression": "v.text_vector::halfvec(896)"}
                    vector = pad_text_vector(query_vectors.text)
                    rows |= await _find_nearest(transaction, index, asset_filter, model.name, vector, count)
            if query_vectors.image is not None:
                dim = len(query_vectors.image) // 4
                index = {
                    "condition": f"vector_dims(v.image_vector) = {dim}",
                    "expression": f"v.image_vector::halfvec({dim})",
                }
                vector = unpack_floats(query_vectors.image)
                rows |= await _find_nearest(transaction, index, asset_filter, model.name, vector, count)
            return await _read_candidates(transaction, rows, query_vectors, model, asset_filter)

    async def get_hits(self, rows: Sequence[int]) -> Mapping[int, SearchHit]:
        assets = await self._database.fetch(
            "SELECT d.*, ARRAY(SELECT b.id FROM image_hashes h "
            "  JOIN image_hashes k ON k.duplicate_group = h.duplicate_group JOIN assets b ON b.row = k.asset "
            "  WHERE h.asset = d.row AND b.row <> d.row AND b.owner = d.owner AND b.deleted_at IS NULL "
            "  ORDER BY b.row) AS near_duplicates "
            "FROM asset_details d WHERE d.row = ANY($1::bigint[]) AND d.deleted_at IS NULL",
            rows,
        )
        return {row["row"]: SearchHit(asset_from_row(row), row["near_duplicates"]) for row in assets}

    async def get_seed(self, asset_id: str, model: EmbeddingModel, owner: str) -> Seed | None:
        rows = await self._database.fetch(SELECT_SEED, asset_id, owner, model.name)
        if not rows:
            return None
        [row] = rows
        vectors = Vectors(None, None)
        if row["comparable"]:
            vectors = Vectors(
                _decode_vector(row["text_vector"], model.dim), _decode_vector(row["image_vector"], model.image_dim)
            )
        return Seed(row["row"], vectors, row["near_duplicates"])


async def _match_trigrams(
    transaction: Transaction, trigrams: Sequence[str], asset_filter: AssetFilter, count: int
) -> Sequence[AssetText]:
    """Return texts that contain the rarest of the trigrams: as many trigrams as occur in POSTINGS_MAX texts."""
    chosen: list[int] = []
    weights: list[float] = []
    left = float(POSTINGS_MAX)
    for row in await transaction.fetch(TRIGRAM_FREQUENCIES, hash_trigrams(trigrams)) if trigrams else ():
        if row["text_count"] > left and chosen:
            break
        chosen.append(row["trigram"])
        weights.append(1.0 / (1.0 + row["text_count"]) ** 0.5)
        left -= row["text_count"]
    if not chosen:
        return []
    condition, filter_values = _filter_condition(asset_filter, first=4)
    statement = MATCH_TRIGRAMS.format(filter=condition)
    return [AssetText(*row) for row in await transaction.fetch(statement, chosen, weights, count, *filter_values)]


def _text_vector_conditions(query_vector: bytes) -> Sequence[str]:
    """Return the conditions under which to search for the nearest vectors, one search each.

    The inner product of two long vectors exceeds their cosine (see `vector_index.cosine_similarities`): texts that only
    one model knows would precede all that both know, at any distance. A second search excludes them.
    """
    any_vector = "v.text_vector IS NOT NULL"
    return (
        (any_vector, f"vector_norm(v.text_vector) < {LONG_VECTOR_NORM}")
        if math.hypot(*unpack_floats(query_vector)) > LONG_VECTOR_NORM
        else (any_vector,)
    )


async def _find_nearest(
    transaction: Transaction, index: Mapping[str, str], asset_filter: AssetFilter, *values: object
) -> set[int]:
    condition, filter_values = _filter_condition(asset_filter, first=4)
    statement = SELECT_NEAREST.format(**index, filter=condition)
    return {row["asset"] for row in await transaction.fetch(statement, *values, *filter_values)}


async def _read_candidates(
    transaction: Transaction,
    rows: Collection[int],
    query_vectors: Vectors,
    model: EmbeddingModel,
    asset_filter: AssetFilter,
) -> Sequence[Candidate]:
    image_vector = None if query_vectors.image is None else unpack_floats(query_vectors.image)
    condition, filter_values = _filter_condition(asset_filter, first=5)
    found = await transaction.fetch(
        SELECT_CANDIDATES.format(filter=condition, use_weight=USE_WEIGHT),
        *(model.name, pad_text_vector(query_vectors.text), image_vector, list(rows)),
        *filter_values,
    )
    return [
        Candidate(AssetText(row, normalized, duplicate_group), *similarities)
        for row, normalized, duplicate_group, *similarities in found
    ]


def _filter_condition(asset_filter: AssetFilter, *, first: int) -> tuple[str, Sequence[object]]:
    """Return the condition of a filter, and its values from `$first` on; that of the owner is the first."""
    parameters = Parameters(first)
    return filter_condition(asset_filter, parameters), parameters.values


def _decode_vector(data: bytes | None, dim: int) -> bytes | None:
    """Return the first `dim` floats of a vector in pgvector's binary format: two 16-bit numbers, big-endian float32."""
    return None if data is None else struct.pack(f"<{dim}f", *struct.unpack_from(f">{dim}f", data, 4))
