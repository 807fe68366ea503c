"""Searches in SQLite: which candidates they find, and that no query scans a whole table."""

import math
import random
import re
import struct
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from sploot_server.domain.asset_query import AssetFilter, AssetQuery
from sploot_server.domain.embedding import EmbeddingModel, ImageAnalysis, Vectors
from sploot_server.domain.entities import NewAsset, new_id
from sploot_server.domain.text_match import normalize, trigrams
from sploot_server.storage.interfaces import Candidate
from sploot_server.storage.sqlite import search as module
from sploot_server.storage.sqlite.assets import SqliteAssets
from sploot_server.storage.sqlite.database import Database
from sploot_server.storage.sqlite.jobs import SqliteJobs
from sploot_server.storage.sqlite.search import SqliteSearch
from toy_library import DIM, dhash, vector

MODEL = EmbeddingModel("m", DIM)
NO_VECTORS = Vectors(None, None)
ALL_ASSETS = AssetFilter()


class SearchHarness:
    """A library whose assets are ready as soon as they are added."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.search = SqliteSearch(database)
        self._jobs = SqliteJobs(database)
        self._count = 0

    async def add(
        self, text: str, *, owner: str = "", image_vector: bytes | None = None, model: EmbeddingModel = MODEL
    ) -> str:
        self._count += 1
        new = NewAsset(new_id(), f"{self._count:064x}", f"{self._count:012x}.jpg", "image/jpeg", 9, [])
        asset = (await SqliteAssets(self.database, owner).add(new, now_ms=self._count)).asset
        (job,) = await self._jobs.claim(1, now_ms=self._count)
        analysis = ImageAnalysis(text, vector(text) if text else None, 1, 1, image_vector, dhash(text))
        await self._jobs.complete(job, analysis, model, now_ms=self._count)
        return asset.id

    async def analyze_again(self, text: str) -> None:
        await self._jobs.release_stale(EmbeddingModel("another", DIM), now_ms=99)
        (job,) = await self._jobs.claim(1, now_ms=99)
        await self._jobs.complete(job, ImageAnalysis(text, None, 1, 1), MODEL, now_ms=99)

    async def by_words(self, *words: str, count: int = 9, asset_filter: AssetFilter = ALL_ASSETS) -> list[str]:
        candidates = await self.candidates(NO_VECTORS, trigrams(words), asset_filter, count)
        return [each.text.normalized for each in candidates]

    async def candidates(
        self,
        query_vectors: Vectors,
        trigrams: Sequence[str] = (),
        asset_filter: AssetFilter = ALL_ASSETS,
        count: int = 9,
    ) -> Sequence[Candidate]:
        prepared = await self.search.prepare_search(trigrams, asset_filter, count)
        return await self.search.find_candidates(prepared, query_vectors, MODEL)

    async def nearest(
        self, query_vectors: Vectors, count: int = 9, asset_filter: AssetFilter = ALL_ASSETS
    ) -> list[str]:
        candidates = await self.candidates(query_vectors, [], asset_filter, count)
        return [
            each.text.normalized
            for each in sorted(candidates, key=lambda each: -(each.text_similarity or each.image_similarity or 0))
        ]

    @contextmanager
    def traced(self) -> Iterator[list[str]]:
        """Collect the statements that readers run in the block, with their values."""
        statements: list[str] = []
        readers = list(self.database._idle_connections.queue)
        for connection in readers:
            connection.set_trace_callback(statements.append)
        yield statements
        for connection in readers:
            connection.set_trace_callback(None)

    async def plan(self, statement: str) -> list[str]:
        """Return the steps of SQLite's plan."""
        return [row["detail"] for row in await self.database.fetch(f"EXPLAIN QUERY PLAN {statement}")]


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[SearchHarness]:
    database = Database(tmp_path / "library.db")
    database.open()
    yield SearchHarness(database)
    await database.close()


async def test_the_rarest_trigrams_decide_if_common_ones_match_too_many_texts(
    harness: SearchHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POSTINGS_MAX", 5)
    for number in range(20):
        await harness.add(f"common {number}")
    await harness.add("common walrus")
    assert await harness.by_words("common", "walrus") == ["commonwalrus"]
    assert await harness.by_words("common", count=2) == ["commonwalrus", "common19"]  # the newest, if none is rare


async def test_trigram_counts_are_updated_when_an_asset_is_analyzed_again(harness: SearchHarness) -> None:
    await harness.add("walrus")
    await harness.analyze_again("penguin")
    assert await harness.by_words("walrus") == []
    assert await harness.by_words("penguin") == ["penguin"]
    counts = await harness.database.read(
        lambda connection: connection.execute(
            "SELECT trigram, text_count FROM trigram_counts WHERE text_count > 0"
        ).fetchall()
    )
    assert dict(counts) == dict.fromkeys(trigrams(["penguin"]), 1)


def random_vector(seed: str) -> bytes:
    """Return a vector of length 1 in a random direction."""
    rng = random.Random(seed)
    direction = [rng.gauss(0, 1) for _ in range(DIM)]
    length = math.hypot(*direction)
    return struct.pack(f"<{DIM}f", *(each / length for each in direction))


async def test_the_nearest_image_is_found_among_many(harness: SearchHarness) -> None:
    for number in range(40):
        await harness.add(f"filler{number}", image_vector=random_vector(f"{number}"))
    await harness.add("", image_vector=random_vector("walrus"))
    (candidate,) = await harness.candidates(Vectors(None, random_vector("walrus")), count=1)
    assert (candidate.text.row, candidate.text.normalized, candidate.text_similarity) == (41, "", None)
    assert candidate.image_similarity == pytest.approx(1)


async def test_an_owner_is_not_crowded_out_by_others(harness: SearchHarness) -> None:
    for number in range(30):
        await harness.add(f"walrus number{number}", owner="anna")
    await harness.add("walrus", owner="ben")
    assert await harness.nearest(Vectors(vector("walrus"), None), 2, AssetFilter(owner="ben")) == ["walrus"]
    assert await harness.by_words("walrus", count=2, asset_filter=AssetFilter(owner="ben")) == ["walrus"]


async def test_deleted_assets_do_not_crowd_out_live_ones(harness: SearchHarness) -> None:
    for number in range(30):
        asset_id = await harness.add(f"walrus number{number}")
        await SqliteAssets(harness.database).delete(asset_id, now_ms=99)
    await harness.add("something else")
    assert await harness.nearest(Vectors(vector("walrus"), None), 2) == ["somethingelse"]


async def test_vectors_of_another_model_are_not_compared(harness: SearchHarness) -> None:
    await harness.add("walrus", model=EmbeddingModel("old", DIM))
    assert await harness.nearest(Vectors(vector("walrus"), None)) == []
    candidates = await harness.candidates(Vectors(vector("walrus"), None), trigrams(["walrus"]))
    assert [(each.text.normalized, each.text_similarity) for each in candidates] == [("walrus", None)]


async def test_no_search_scans_a_whole_table(harness: SearchHarness) -> None:
    await harness.add("walrus sleeps")
    with harness.traced() as statements:
        await harness.candidates(Vectors(vector("walrus"), None), trigrams(["walrus"]))
        await harness.search.get_hits([1])
    own = [each for each in statements if each.startswith("SELECT")]  # not the internal statements of FTS5
    assert len(own) >= 5
    for statement in own:
        plan = await harness.plan(statement)
        scans = [step for step in plan if re.match(r"SCAN (a|b|d|e|h|k|x)\b(?!.*VIRTUAL)", step) or "(owner=?" in step]
        assert not scans, (statement, plan)


async def test_a_filtered_search_reads_the_rows_of_its_owner_only(harness: SearchHarness) -> None:
    with harness.traced() as statements:
        await harness.candidates(NO_VECTORS, asset_filter=AssetFilter("ben", favorite=True))
    [allowed] = [each for each in statements if each.startswith("SELECT a.row FROM assets a")]
    plan = await harness.plan(allowed)
    assert [step for step in plan if step.startswith("SEARCH a ") and "(owner=?" in step], plan


async def test_a_page_counts_near_duplicates_without_reading_the_whole_library(harness: SearchHarness) -> None:
    with harness.traced() as statements:
        await SqliteAssets(harness.database).list(AssetQuery())
    [page] = [each for each in statements if "image_hashes" in each]
    plan = await harness.plan(page)
    [by_group] = [step for step in plan if step.startswith("SEARCH k ")]
    assert "image_hashes_by_duplicate_group" in by_group
    assert not [step for step in plan if re.match(r"(SEARCH|SCAN) b\b(?!.*\(rowid=\?\))", step)], plan


async def test_texts_are_stored_normalized(harness: SearchHarness) -> None:
    await harness.add("C\u00f4te d'Azur\nIS NICE!")
    assert await harness.by_words("azur") == [normalize("C\u00f4te d'Azur\nIS NICE!")]
