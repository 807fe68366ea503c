"""PostgreSQL's plan for a search by text vector, with enough rows that it can choose one."""

import json
from typing import Any

import postgres
import pytest
from sploot_server.domain.asset_query import AssetFilter
from sploot_server.domain.embedding import EmbeddingModel, Vectors
from sploot_server.storage.interfaces import PreparedSearch
from sploot_server.storage.postgres.database import PostgresDatabase, Transaction
from sploot_server.storage.postgres.search import PostgresSearch
from sploot_server.storage.postgres.search_index import TEXT_VECTOR_DIM

MODEL = EmbeddingModel("m", TEXT_VECTOR_DIM)
FILL = """
    INSERT INTO assets (row, id, checksum, filename, mime, size_bytes, created_at, updated_at) OVERRIDING SYSTEM VALUE
      SELECT r, 'c' || r, encode(sha256(r::text::bytea), 'hex'), 'a.jpg', 'image/jpeg', 9, r, r
      FROM generate_series(1, 1500) r
"""
EMBED = """
    INSERT INTO embeddings (asset, state, queued_at, due_at, model, dim, text, completed_at, completion_seq)
      SELECT row, 'ready', 1, 1, 'm', 896, '', row, row FROM assets
"""
VECTORS = """
    INSERT INTO vectors (asset, owner, text_vector) SELECT r, '', (
      SELECT array_agg((random() - 0.5)::float4) FROM generate_series(1, 896) WHERE r > 0)::vector
    FROM generate_series(1, 1500) r
"""


class Statements(list[tuple[str, tuple[Any, ...]]]):
    """The executed statements of all transactions, with their values."""


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    statements, fetch = Statements(), Transaction.fetch

    async def recorded(self: Transaction, statement: str, *values: Any) -> list[Any]:
        statements.append((statement, values))
        return await fetch(self, statement, *values)

    monkeypatch.setattr(Transaction, "fetch", recorded)
    return statements


async def test_the_nearest_vectors_are_found_by_the_hnsw_index(statements: Statements) -> None:
    database = PostgresDatabase(await postgres.empty_database())
    await database.open()
    async with database.transaction() as transaction:
        await transaction.fetch("SET LOCAL session_replication_role = replica")  # without triggers
        for statement in (FILL, EMBED, VECTORS):
            await transaction.fetch(statement)
    await database.fetch("ANALYZE")
    statements.clear()
    await PostgresSearch(database).find_candidates(
        PreparedSearch(AssetFilter(), 50, []), Vectors(bytes(4 * TEXT_VECTOR_DIM), None), MODEL
    )
    [(statement, values)] = [each for each in statements if "<#> $2::float4[]::halfvec" in each[0]]
    async with database.transaction() as transaction:
        [row] = await transaction.fetch(f"EXPLAIN (FORMAT JSON) {statement}", *values)
    await database.close()
    assert '"Index Name": "text_vectors_hnsw"' in json.dumps(json.loads(row[0]))
