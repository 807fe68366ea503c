"""How PostgreSQL goes about a search by meaning, at a size at which it has the choice."""

import json
from typing import Any

import postgres
import pytest
from sploot_server.assets import Begun, Filter
from sploot_server.assets.postgres.database import PostgresDatabase, Statements
from sploot_server.assets.postgres.index import MEANING_DIM
from sploot_server.assets.postgres.texts import PostgresTexts
from sploot_server.embedding import Model, Vectors

MODEL = Model("m", MEANING_DIM)
FILL = """
    INSERT INTO assets (row, id, checksum, filename, mime, size_bytes, created_at, updated_at) OVERRIDING SYSTEM VALUE
      SELECT r, 'c' || r, encode(sha256(r::text::bytea), 'hex'), 'a.jpg', 'image/jpeg', 9, r, r
      FROM generate_series(1, 1500) r
"""
EMBED = """
    INSERT INTO embeddings (asset, state, queued_at, due_at, model, dim, text, completed_at, ended_order)
      SELECT row, 'ready', 1, 1, 'm', 768, '', row, row FROM assets
"""
VECTORS = """
    INSERT INTO vectors (asset, owner, meaning) SELECT r, '', (
      SELECT array_agg((random() - 0.5)::float4) FROM generate_series(1, 768) WHERE r > 0)::vector
    FROM generate_series(1, 1500) r
"""


class Asked(list[tuple[str, tuple[Any, ...]]]):
    """Every statement of a transaction, with its values."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked, fetch = Asked(), Statements.fetch

    async def noted(self: Statements, statement: str, *values: Any) -> list[Any]:
        asked.append((statement, values))
        return await fetch(self, statement, *values)

    monkeypatch.setattr(Statements, "fetch", noted)
    return asked


async def test_the_nearest_are_found_by_the_graph(asked: Asked) -> None:
    database = PostgresDatabase(await postgres.empty_database())
    await database.open()
    async with database.transaction() as statements:
        await statements.fetch("SET LOCAL session_replication_role = replica")  # no triggers: nobody listens
        for statement in (FILL, EMBED, VECTORS):
            await statements.fetch(statement)
    await database.fetch("ANALYZE")
    asked.clear()
    await PostgresTexts(database).candidates(Begun(Filter(), 50, []), Vectors(bytes(4 * MEANING_DIM), None), MODEL)
    [(statement, values)] = [each for each in asked if "<#> $8::float4[]::halfvec" in each[0]]
    async with database.transaction() as statements:
        [row] = await statements.fetch(f"EXPLAIN (FORMAT JSON) {statement}", *values)
    await database.close()
    assert '"Index Name": "meanings_nearest"' in json.dumps(json.loads(row[0]))
