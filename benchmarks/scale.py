"""Measure a library in PostgreSQL as it grows: `python benchmarks/scale.py [ASSETS ...]`.

Starts its own PostgreSQL, fills it with synthetic captions and vectors, and runs a server's queries. Times are medians;
compare the rows of one run with each other.
"""

import asyncio
import random
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import postgres
from sploot_server.domain.asset_query import AssetFilter
from sploot_server.domain.embedding import EmbeddingModel, Vectors
from sploot_server.domain.text_match import normalize, trigrams
from sploot_server.storage.postgres.database import PostgresDatabase
from sploot_server.storage.postgres.jobs import PostgresJobs
from sploot_server.storage.postgres.search import PostgresSearch
from sploot_server.storage.postgres.search_index import TEXT_VECTOR_DIM, hash_trigrams

MODEL = EmbeddingModel("made-up", TEXT_VECTOR_DIM)
BATCH = 1000
QUERIES = 40
WORDS = 4000  # in the language of the captions
TABLES = ("assets", "embeddings", "vectors", "texts")


def word(rng: random.Random) -> str:
    return "".join(rng.choices("etaoinshrdlucmfwypvbgkqjxz", weights=range(26, 0, -1), k=rng.randint(3, 9)))


def unit(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return clustered vectors, like those of texts."""
    centres = np.random.default_rng(1).standard_normal((200, TEXT_VECTOR_DIM))
    vectors = centres[rng.integers(0, 200, count)] + 0.7 * rng.standard_normal((count, TEXT_VECTOR_DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("<f4")


async def fill(
    database: PostgresDatabase,
    first: int,
    last: int,
    language: list[str],
    *,
    model: str = MODEL.name,
    owners: Sequence[str] = ("",),
) -> None:
    """Insert rows, whose owners take turns, as a worker writes them."""
    rng, numpy_rng = random.Random(first), np.random.default_rng(first)
    for start in range(first, last, BATCH):
        rows = list(range(start + 1, min(start + BATCH, last) + 1))
        captions = [" ".join(rng.choices(language, k=rng.randint(4, 14))) for _ in rows]
        normalized = [normalize(caption) for caption in captions]
        vectors = unit(numpy_rng, len(rows))
        async with database.transaction() as statements:
            await statements.fetch(
                "SET LOCAL session_replication_role = replica"
            )  # without triggers: the order is given
            await statements.fetch(
                "INSERT INTO assets (row, id, owner, checksum, filename, mime, size_bytes, created_at, updated_at) "
                "OVERRIDING SYSTEM VALUE SELECT r, 'c' || lpad(r::text, 24, '0'), o, "
                "encode(sha256(r::text::bytea), 'hex'), r || '.jpg', 'image/jpeg', 99999, r, r "
                "FROM unnest($1::bigint[], $2::text[]) x (r, o)",
                *(rows, [owners[row % len(owners)] for row in rows]),
            )
            await statements.fetch(
                "INSERT INTO embeddings "
                "(asset, state, queued_at, due_at, model, dim, text, completed_at, completion_seq) "
                "SELECT r, 'ready', r, r, $2, $3, t, r, r FROM unnest($1::bigint[], $4::text[]) x (r, t)",
                *(rows, model, MODEL.dim, captions),
            )
            for row, text, vector in zip(rows, normalized, vectors, strict=True):
                await statements.fetch(
                    "INSERT INTO search_texts VALUES ($1, $2, $3)", row, text, hash_trigrams(trigrams([text]))
                )
                await statements.fetch(
                    "INSERT INTO vectors (asset, owner, text_vector) VALUES ($1, $2, $3::float4[]::vector)",
                    *(row, owners[row % len(owners)], vector.tolist()),
                )


async def measure(database: PostgresDatabase, language: list[str]) -> tuple[float, float, float]:
    """Return the milliseconds of the search candidates, median and worst of twenty, and of a claim."""
    texts, jobs, rng = PostgresSearch(database), PostgresJobs(database), random.Random(2)
    vectors = unit(np.random.default_rng(3), QUERIES)
    took = []
    for vector in vectors:
        words = rng.sample(language, 3)
        began = time.perf_counter()
        begun = await texts.prepare_search(trigrams(words), AssetFilter(), 300)
        await texts.find_candidates(begun, Vectors(vector.tobytes(), None), MODEL)
        took.append((time.perf_counter() - began) * 1000)
    claims = []
    for _ in range(20):
        began = time.perf_counter()
        await jobs.claim(8, now_ms=1)
        claims.append((time.perf_counter() - began) * 1000)
    jobs.close()
    return statistics.median(took), sorted(took)[int(QUERIES * 0.95)], statistics.median(claims)


async def main(sizes: list[int]) -> None:
    database = PostgresDatabase(await postgres.empty_database())
    await database.open()
    rng = random.Random(0)
    language = [word(rng) for _ in range(WORDS)]
    heavy_head = "bytes each: " + " ".join(TABLES)
    print(f"{'assets':>9} {'fill/s':>7} {heavy_head:>50} {'search p50':>11} {'p95':>8} {'claim':>7}")
    before = 0
    for size in sizes:
        began = time.perf_counter()
        await fill(database, before, size, language)
        rate = (size - before) / (time.perf_counter() - began)
        await database.fetch("ANALYZE")
        heavy = [(await database.fetch(f"SELECT pg_total_relation_size('{table}') AS n"))[0]["n"] for table in TABLES]
        p50, p95, claim = await measure(database, language)
        each = " ".join(f"{total / size:.0f}" for total in heavy)
        print(f"{size:>9} {rate:>7.0f} {each:>50} {p50:>8.1f} ms {p95:>5.1f} ms {claim:>4.1f} ms", flush=True)
        before = size
    await database.close()


if __name__ == "__main__":
    asyncio.run(main([int(each) for each in sys.argv[1:]] or [1_000, 5_000, 20_000]))
