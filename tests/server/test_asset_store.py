"""The contract of AssetStore, JobStore, CompletionLog and SearchStore: the same tests for SQLite and PostgreSQL."""

import asyncio
import contextlib
import hashlib
import math
import random
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import postgres
import pytest
from sploot_server.domain.asset_query import SEED_MAX, AssetFilter, AssetKind, AssetQuery, AssetSort
from sploot_server.domain.embedding import EmbeddingModel, ImageAnalysis, Vectors
from sploot_server.domain.entities import EmbeddingState, NewAsset, new_id
from sploot_server.domain.text_match import normalize, trigrams
from sploot_server.inference.installed_encoders import USE_WEIGHT
from sploot_server.storage.assets import AssetStore
from sploot_server.storage.completion_log import CompletionLog
from sploot_server.storage.interfaces import Candidate, JobStore, SearchStore
from sploot_server.storage.postgres.assets import PostgresAssets
from sploot_server.storage.postgres.database import PostgresDatabase
from sploot_server.storage.postgres.jobs import PostgresJobs
from sploot_server.storage.postgres.search import PostgresSearch
from sploot_server.storage.sqlite.assets import SqliteAssets
from sploot_server.storage.sqlite.database import Database
from sploot_server.storage.sqlite.jobs import SqliteJobs
from sploot_server.storage.sqlite.search import SqliteSearch

MODEL = EmbeddingModel("m", 2)
ALL_ASSETS = AssetFilter()
ANALYSIS = ImageAnalysis("some text", b"\0" * 8, 3, 4)


@dataclass
class Stores:
    assets: AssetStore
    jobs: JobStore
    search: SearchStore
    completions: CompletionLog

    async def complete(self, content: str, analysis: ImageAnalysis, *, owner: str = "") -> str:
        """Add an asset and complete its embedding."""
        checksum = hashlib.sha256(content.encode()).hexdigest()
        added = await self.assets.for_owner(owner).add(
            NewAsset(new_id(), checksum, f"{checksum[:12]}.jpg", "image/jpeg", 9, ()), now_ms=1000
        )
        [job] = await self.jobs.claim(1, now_ms=1000)
        await self.jobs.complete(job, analysis, MODEL, now_ms=2000)
        return added.asset.id

    async def add(self, content: str, *, tags: Sequence[str] = (), now_ms: int = 1000) -> str:
        checksum = hashlib.sha256(content.encode()).hexdigest()
        new = NewAsset(new_id(), checksum, f"{checksum[:12]}.jpg", "image/jpeg", 9, tags)
        return (await self.assets.add(new, now_ms=now_ms)).asset.id


@contextlib.asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[Stores]:
    database = Database(folder / "library.db")
    database.open()
    yield Stores(SqliteAssets(database), SqliteJobs(database), SqliteSearch(database), CompletionLog(database))
    await database.close()


@contextlib.asynccontextmanager
async def in_postgres(folder: Path) -> AsyncIterator[Stores]:
    database = PostgresDatabase(await postgres.empty_database())
    await database.open()
    jobs = PostgresJobs(database)
    yield Stores(PostgresAssets(database), jobs, PostgresSearch(database), CompletionLog(database))
    jobs.close()
    await database.close()


@pytest.fixture(params=[sqlite, in_postgres], ids=["sqlite", "postgres"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    async with request.param(tmp_path) as stores:
        yield stores


def new(content: str, *tags: str) -> NewAsset:
    return NewAsset(new_id(), hashlib.sha256(content.encode()).hexdigest(), "x.jpg", "image/jpeg", 9, tags)


async def test_concurrent_additions_of_the_same_content_create_it_once(stores: Stores) -> None:
    added = await asyncio.gather(*(stores.assets.add(new("a"), now_ms=1) for _ in range(20)))
    assert sum(each.created for each in added) == 1
    assert len({each.asset.id for each in added}) == 1


async def test_add_all_equals_adding_one_by_one(stores: Stores) -> None:
    first = await stores.add("b")
    added = await stores.assets.add_all([new("a", "t"), new("b", "t"), new("a")], now_ms=1)
    assert [each.created for each in added] == [True, False, False]
    assert added[1].asset.id == first
    assert added[0].asset.id == added[2].asset.id
    assert [[tag.name for tag in each.asset.tags] for each in added] == [["t"]] * 3


async def test_a_deleted_asset_is_restored_under_its_old_id(stores: Stores) -> None:
    asset_id = await stores.add("a", tags=["old"])
    assert await stores.assets.delete(asset_id, now_ms=2)
    assert await stores.assets.get(asset_id) is None
    restored = await stores.assets.add(new("a", "new"), now_ms=3)
    assert (restored.asset.id, restored.created) == (asset_id, True)
    assert [tag.name for tag in restored.asset.tags] == ["new", "old"]


async def test_purging_an_asset_removes_its_job(stores: Stores) -> None:
    asset_id = await stores.add("a", tags=["t"])
    assert await stores.assets.purge(asset_id) == hashlib.sha256(b"a").hexdigest()
    assert await stores.assets.purge(asset_id) is None
    assert await stores.jobs.claim(9, now_ms=9999) == []
    assert await stores.add("a") != asset_id


async def test_tags_are_case_insensitive(stores: Stores) -> None:
    asset_id = await stores.add("a", tags=["Cat", "d\u00f6g"])
    added = await stores.assets.add_tags(asset_id, names=["cat", "D\u00d6G", "x"], tag_ids=[], now_ms=1)
    assert added is not None
    assert [tag.name for tag in added] == ["Cat", "d\u00f6g", "x"]
    other = await stores.add("b")
    by_id = await stores.assets.add_tags(other, names=[], tag_ids=[added[0].id, "unknown"], now_ms=1)
    assert [tag.name for tag in by_id or ()] == ["Cat"]
    assert [(count.tag.name, count.asset_count) for count in await stores.assets.list_tags()] == [
        ("Cat", 2),
        ("d\u00f6g", 1),
        ("x", 1),
    ]


async def test_pages_are_contiguous(stores: Stores) -> None:
    ids = [await stores.add(str(number), now_ms=1000 + number // 2) for number in range(7)]
    pages = [await stores.assets.list(AssetQuery(limit=3, offset=offset)) for offset in (0, 3, 6)]
    assert [asset.id for page in pages for asset in page.assets] == ids[::-1]
    assert {page.total for page in pages} == {7}


async def test_lists_can_be_filtered(stores: Stores) -> None:
    await stores.add("a", tags=["t"])
    liked = await stores.add("b")
    assert await stores.assets.edit(liked, favorite=True, tags=["u"], now_ms=5000)
    page = await stores.assets.list(AssetQuery(AssetFilter(favorite=True)))
    assert [(asset.id, asset.updated_at_ms) for asset in page.assets] == [(liked, 5000)]
    tag_id = page.assets[0].tags[0].id
    assert [asset.id for asset in (await stores.assets.list(AssetQuery(AssetFilter(tag_id=tag_id)))).assets] == [liked]
    assert (await stores.assets.list(AssetQuery(AssetFilter(tag_id="unknown")))).total == 0


async def listed(stores: Stores, query: AssetQuery) -> list[str]:
    page = await stores.assets.list(query)
    assert page.total == len(page.assets)
    return [asset.id for asset in page.assets]


async def test_lists_and_searches_can_be_filtered_by_kind_and_folder(stores: Stores) -> None:
    wide = await stores.complete("wide", ImageAnalysis("cat", unit(1, 0), 40, 30))
    tall = await stores.complete("tall", ImageAnalysis("cat", unit(1, 0), 30, 60))
    mute = await stores.complete("mute", ImageAnalysis("", None, 40, 30))
    await stores.assets.edit(wide, favorite=None, tags=["t"], now_ms=3000)
    moving = replace(new("moving"), mime="image/gif", folder="trip")
    gif = (await stores.assets.add(moving, now_ms=4000)).asset.id
    for expected, asset_filter in [
        ([gif], AssetFilter(kind=AssetKind.GIF)),
        ([tall], AssetFilter(kind=AssetKind.TALL)),
        ([mute], AssetFilter(kind=AssetKind.NO_TEXT)),
        ([gif, mute, tall], AssetFilter(kind=AssetKind.UNTAGGED)),
        ([gif], AssetFilter(folder="trip")),
        ([], AssetFilter(folder="trip", kind=AssetKind.TALL)),
    ]:
        assert await listed(stores, AssetQuery(asset_filter)) == expected, asset_filter
    found = await candidates(stores, unit(1, 0), "cat", AssetFilter(kind=AssetKind.TALL))
    assert len(found) == 1
    assert [(each.name, each.asset_count) for each in await stores.assets.list_folders()] == [("trip", 1)]
    texts = {asset.id: asset.text for asset in (await stores.assets.list(AssetQuery())).assets}
    assert texts == {wide: "cat", tall: "cat", mute: "", gif: None}


async def test_lists_can_be_sorted_by_size_and_by_when_they_were_copied(stores: Stores) -> None:
    small, large, middle = [
        (await stores.assets.add(replace(new(f"{size}"), size_bytes=size), now_ms=size)).asset.id for size in (1, 9, 5)
    ]
    assert await listed(stores, AssetQuery(sort=AssetSort.SIZE)) == [large, middle, small]
    assert await listed(stores, AssetQuery(sort=AssetSort.SIZE, descending=False)) == [small, middle, large]
    assert await stores.assets.mark_copied(middle, now_ms=10)
    assert await stores.assets.mark_copied(small, now_ms=11)
    assert not await stores.assets.mark_copied("unknown", now_ms=12)
    assert not await stores.assets.for_owner("ben").mark_copied(large, now_ms=12)
    assert await listed(stores, AssetQuery(sort=AssetSort.COPIED)) == [small, middle, large]


async def test_a_shuffled_list_keeps_its_order_for_one_seed(stores: Stores) -> None:
    ids = [await stores.add(str(number)) for number in range(40)]
    orders = [await listed(stores, AssetQuery(sort=AssetSort.SHUFFLE, seed=seed)) for seed in (1, 1, 2, SEED_MAX)]
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in [*orders, ids, ids[::-1]]}) == 5, "each seed has another order"
    assert all(sorted(order) == sorted(ids) for order in orders)
    pages = [
        await stores.assets.list(AssetQuery(sort=AssetSort.SHUFFLE, seed=1, limit=15, offset=offset))
        for offset in (0, 15, 30)
    ]
    assert [asset.id for page in pages for asset in page.assets] == orders[0]
    await stores.assets.delete(ids[7], now_ms=2)
    assert await listed(stores, AssetQuery(sort=AssetSort.SHUFFLE, seed=1)) == [
        each for each in orders[0] if each != ids[7]
    ]
    assert await listed(stores, AssetQuery(AssetFilter(is_deleted=True))) == [ids[7]]


async def test_a_list_counts_the_near_duplicates_of_each_asset_and_selects_a_group(stores: Stores) -> None:
    look = ImageAnalysis("", None, 40, 30, dhash=b"\1" * 32, colours=b"\1" * 12)
    one, two, gone = [await stores.complete(name, look) for name in ("one", "two", "gone")]
    other = await stores.complete("other", ANALYSIS)
    await stores.complete("one", look, owner="ben")
    await stores.assets.delete(gone, now_ms=3000)
    page = await stores.assets.list(AssetQuery())
    assert page.near_duplicate_counts == {one: 1, two: 1, other: 0}
    for of, found in ((one, [two, one]), (other, []), ("unknown", [])):
        assert await listed(stores, AssetQuery(AssetFilter(duplicates_of=of))) == found
    assert (await stores.assets.for_owner("ben").list(AssetQuery(AssetFilter(duplicates_of=one)))).total == 0


async def test_a_job_is_claimed_once_and_completed(stores: Stores) -> None:
    asset_id = await stores.add("a")
    claims = await asyncio.gather(*(stores.jobs.claim(5, now_ms=1000) for _ in range(5)))
    [job] = [job for jobs in claims for job in jobs]
    assert (await stores.assets.get_embeddings([asset_id]))[asset_id].state is EmbeddingState.PROCESSING
    await stores.jobs.complete(job, ANALYSIS, MODEL, now_ms=2000)
    asset = await stores.assets.get(asset_id)
    assert asset is not None
    assert (asset.embedding.state, asset.embedding.dim, asset.width, asset.height) == (EmbeddingState.READY, 2, 3, 4)


async def test_a_job_whose_claim_was_lost_cannot_write(stores: Stores) -> None:
    """The claim was released, or the asset was purged."""
    asset_id = await stores.add("a")
    [job] = await stores.jobs.claim(1, now_ms=1000)
    await stores.jobs.release_stale(MODEL, now_ms=1000)
    await stores.jobs.complete(job, ANALYSIS, MODEL, now_ms=2000)
    await stores.jobs.fail(job, "no", now_ms=2000)
    assert (await stores.assets.get_embeddings([asset_id]))[asset_id].state is EmbeddingState.PENDING
    [job] = await stores.jobs.claim(1, now_ms=1000)
    await stores.assets.purge(asset_id)
    await stores.jobs.complete(job, ANALYSIS, MODEL, now_ms=2000)
    assert await stores.assets.get(asset_id) is None


async def test_urgent_jobs_are_claimed_first(stores: Stores) -> None:
    ids = [await stores.add(str(number), now_ms=1000 + number) for number in range(3)]
    assert await stores.jobs.requeue(ids[2], now_ms=1500)
    assert [job.asset_id for job in await stores.jobs.claim(9, now_ms=2000)] == [ids[2], ids[0], ids[1]]


async def test_a_rescheduled_job_is_not_claimed_before_it_is_due(stores: Stores) -> None:
    await stores.add("a", now_ms=1000)
    [job] = await stores.jobs.claim(1, now_ms=1000)
    await stores.jobs.reschedule(job, due_ms=5000)
    assert await stores.jobs.next_due_ms() == 5000
    assert await stores.jobs.claim(1, now_ms=4999) == []
    assert [job.attempts for job in await stores.jobs.claim(1, now_ms=5000)] == [1]


async def test_requeueing_a_failed_job_resets_its_attempts(stores: Stores) -> None:
    asset_id = await stores.add("a")
    [job] = await stores.jobs.claim(1, now_ms=1000)
    await stores.jobs.fail(job, "because", now_ms=1000)
    failed = (await stores.assets.get_embeddings([asset_id]))[asset_id]
    assert (failed.state, failed.error_message) == (EmbeddingState.FAILED, "because")
    assert await stores.jobs.requeue(asset_id, now_ms=2000)
    assert [job.attempts for job in await stores.jobs.claim(1, now_ms=2000)] == [0]


async def test_another_model_requeues_all_embeddings(stores: Stores) -> None:
    await stores.add("a")
    [job] = await stores.jobs.claim(1, now_ms=1000)
    await stores.jobs.complete(job, ANALYSIS, MODEL, now_ms=1000)
    assert await stores.jobs.release_stale(MODEL, now_ms=2000) == 0
    assert await stores.jobs.release_stale(EmbeddingModel("newer", 2), now_ms=2000) == 1
    assert len(await stores.jobs.claim(9, now_ms=2000)) == 1


async def test_many_checksums_are_found_with_one_call(stores: Stores) -> None:
    ids = [await stores.add(content) for content in "abc"]
    await stores.assets.delete(ids[2], now_ms=2)
    sums = [hashlib.sha256(content.encode()).hexdigest() for content in "abcd"]
    found = await stores.assets.find_by_checksums(sums)
    assert {checksum: asset.id for checksum, asset in found.items()} == dict(zip(sums, ids[:2], strict=False))


async def test_text_with_nul_finds_nothing_and_can_be_stored(stores: Stores) -> None:
    assert await stores.assets.get("\0") is None
    assert await stores.assets.get_embeddings(["\0"]) == {}
    assert await stores.assets.list(AssetQuery(AssetFilter(tag_id="\0"))) is not None
    asset_id = await stores.complete("a", ImageAnalysis("nul \0 inside", None, 1, 1))
    assert (await stores.assets.get_embeddings([asset_id]))[asset_id].state is EmbeddingState.READY


async def test_the_completion_log_lists_completions_in_order(stores: Stores) -> None:
    library_id, before = await stores.completions.last_seq()
    assert (len(library_id), before) == (8, 0)
    ids = [await stores.add(str(number), now_ms=1000 + number) for number in range(4)]
    jobs = await stores.jobs.claim(4, now_ms=9000)
    await stores.jobs.complete(jobs[2], ANALYSIS, MODEL, now_ms=9000)
    await stores.jobs.fail(jobs[0], "no", now_ms=9000)
    await stores.jobs.complete(jobs[3], ANALYSIS, MODEL, now_ms=9000)
    completions = await stores.completions.list_after(0, 9)
    assert [(each.seq, each.asset_id) for each in completions] == [(1, ids[2]), (2, ids[0]), (3, ids[3])]
    assert (completions[1].owner, completions[1].embedding.error_message) == ("", "no")
    assert await stores.completions.last_seq() == (library_id, 3)
    assert [each.seq for each in await stores.completions.list_after(1, 1)] == [2]
    assert await stores.completions.list_after(0, 9, owner="anna") == []


async def test_a_completion_number_is_never_reused(stores: Stores) -> None:
    last = await stores.complete("a", ANALYSIS)
    await stores.assets.purge(last)
    await stores.complete("b", ANALYSIS)
    assert [each.seq for each in await stores.completions.list_after(0, 9)] == [2]


async def test_deleted_and_requeued_assets_are_not_in_the_completion_log(stores: Stores) -> None:
    deleted, other = await stores.complete("a", ANALYSIS), await stores.complete("b", ANALYSIS)
    await stores.assets.delete(deleted, now_ms=3000)
    assert [each.asset_id for each in await stores.completions.list_after(0, 9)] == [other]
    await stores.jobs.release_stale(EmbeddingModel("newer", 2), now_ms=4000)
    assert await stores.completions.list_after(0, 9) == []


def unit(*numbers: float) -> bytes:
    length = math.hypot(*numbers)
    return struct.pack(f"<{len(numbers)}f", *(number / length for number in numbers))


async def candidates(
    stores: Stores, vector: bytes | None, words: str = "", asset_filter: AssetFilter = ALL_ASSETS
) -> list[Candidate]:
    return await find_candidates(stores, Vectors(vector, None), MODEL, words, asset_filter)


async def find_candidates(
    stores: Stores,
    query_vectors: Vectors,
    model: EmbeddingModel,
    words: str = "",
    asset_filter: AssetFilter = ALL_ASSETS,
) -> list[Candidate]:
    prepared = await stores.search.prepare_search(trigrams([normalize(words)]), asset_filter, 60)
    found = await stores.search.find_candidates(prepared, query_vectors, model)
    return sorted(found, key=lambda each: each.text.row)


async def test_candidates_share_trigrams_or_have_similar_vectors(stores: Stores) -> None:
    await stores.complete("a", ImageAnalysis("The Cat Sat", unit(1, 0), 1, 1))
    await stores.complete("b", ImageAnalysis("dogs bark", unit(0, 1), 1, 1))
    await stores.complete("c", ImageAnalysis("", None, 1, 1))
    by_words = await candidates(stores, None, "cats")
    assert [(each.text.normalized, each.text_similarity) for each in by_words] == [("thecatsat", None)]
    by_vector = await candidates(stores, unit(3, 4))
    assert [each.text.normalized for each in by_vector] == ["thecatsat", "dogsbark"]
    assert [round(each.text_similarity or 0, 4) for each in by_vector] == [0.6, 0.8]


async def test_candidates_are_live_assets_of_the_owner_that_match_the_filter(stores: Stores) -> None:
    live = await stores.complete("a", ImageAnalysis("cat one", unit(1, 0), 1, 1))
    deleted = await stores.complete("b", ImageAnalysis("cat two", unit(1, 0), 1, 1))
    await stores.complete("a", ImageAnalysis("cat three", unit(1, 0), 1, 1), owner="anna")
    await stores.assets.delete(deleted, now_ms=3000)
    assert [each.text.normalized for each in await candidates(stores, unit(1, 0), "cat")] == ["catone"]
    assert [each.text.normalized for each in await candidates(stores, unit(1, 0), "cat", AssetFilter("anna"))] == [
        "catthree"
    ]
    assert await candidates(stores, unit(1, 0), "cat", AssetFilter(favorite=True)) == []
    await stores.assets.edit(live, favorite=True, tags=["t"], now_ms=3000)
    [tag] = await stores.assets.list_tags()
    for asset_filter in (
        AssetFilter(favorite=True),
        AssetFilter(tag_id=tag.tag.id),
        AssetFilter(mime="image/jpeg"),
        AssetFilter(created_from_ms=1000, created_before_ms=1001),
    ):
        found = await candidates(stores, unit(1, 0), "cat", asset_filter)
        assert [each.text.normalized for each in found] == ["catone\nt"], "the words of its text and of its tag"
    for asset_filter in (
        AssetFilter(mime="image/png"),
        AssetFilter(created_from_ms=1001),
        AssetFilter(created_before_ms=1000),
    ):
        assert await candidates(stores, unit(1, 0), "cat", asset_filter) == []


async def test_candidates_include_the_nearest_vectors(stores: Stores) -> None:
    rng = random.Random(7)
    angles = [rng.random() * math.tau for _ in range(60)]
    for number, angle in enumerate(angles):
        await stores.complete(str(number), ImageAnalysis(f"n{number}", unit(math.cos(angle), math.sin(angle)), 1, 1))
    nearest = sorted(range(60), key=lambda number: -math.cos(angles[number]))[:5]
    found = await candidates(stores, unit(1, 0))
    best = sorted(found, key=lambda each: -(each.text_similarity or 0))[:5]
    assert [each.text.normalized for each in best] == [f"n{number}" for number in nearest]
    assert [each.text_similarity for each in best] == pytest.approx(
        [math.cos(angles[number]) for number in nearest], abs=1e-5
    )


async def test_a_text_that_only_one_of_two_models_knows_has_that_models_cosine(stores: Stores) -> None:
    """Also if only that model knows the query."""
    first, second = math.sqrt(USE_WEIGHT), math.sqrt(1 - USE_WEIGHT)
    alone = 1 / first
    model = EmbeddingModel("m", 4)
    await stores.jobs.release_stale(model, now_ms=1)
    await stores.complete("a", ImageAnalysis("known to both", struct.pack("<4f", first, 0, 0, second), 1, 1))
    await stores.complete("b", ImageAnalysis("to the first", struct.pack("<4f", alone * 0.6, alone * 0.8, 0, 0), 1, 1))
    for query, cosines in (
        ((first, 0, second, 0), [USE_WEIGHT, 0.6]),  # the weighted mean of both models; the cosine of one
        ((alone, 0, 0, 0), [1.0, 0.6]),
    ):
        found = await find_candidates(stores, Vectors(struct.pack("<4f", *query), None), model)
        assert [each.text_similarity for each in found] == pytest.approx(cosines, abs=1e-5)


async def test_texts_that_both_models_know_are_not_crowded_out_if_only_one_knows_the_query(stores: Stores) -> None:
    first, second, alone = math.sqrt(USE_WEIGHT), math.sqrt(1 - USE_WEIGHT), 1 / math.sqrt(USE_WEIGHT)
    model = EmbeddingModel("m", 4)
    await stores.jobs.release_stale(model, now_ms=1)
    for number in range(100):
        angle = -1.1 - number / 1000
        vector = struct.pack("<4f", alone * math.cos(angle), alone * math.sin(angle), 0, 0)
        await stores.complete(f"{number}", ImageAnalysis(f"far{number}", vector, 1, 1))
    await stores.complete("near", ImageAnalysis("near", struct.pack("<4f", first * 0.6, first * 0.8, second, 0), 1, 1))
    query = struct.pack("<4f", alone * math.cos(0.1), alone * math.sin(0.1), 0, 0)
    found = await find_candidates(stores, Vectors(query, None), model)
    assert max(found, key=lambda each: each.text_similarity or 0).text.normalized == "near"


async def test_vectors_of_another_model_are_not_compared(stores: Stores) -> None:
    await stores.complete("a", ImageAnalysis("cat", unit(1, 0), 1, 1))
    found = await find_candidates(stores, Vectors(unit(1, 0), None), EmbeddingModel("newer", 2))
    assert [each for each in found if each.text_similarity is not None] == []


async def test_image_vectors_are_compared_separately(stores: Stores) -> None:
    model = EmbeddingModel("m", 2, 3)
    await stores.jobs.release_stale(model, now_ms=1)
    await stores.complete("a", ImageAnalysis("cat", unit(1, 0), 1, 1, unit(1, 2, 2)))
    await stores.complete("b", ImageAnalysis("", None, 1, 1, unit(0, 0, 1)))
    found = await find_candidates(stores, Vectors(None, unit(0, 0, 5)), model)
    assert [(each.text_similarity, round(each.image_similarity or 0, 4)) for each in found] == [
        (None, 0.6667),
        (None, 1.0),
    ]


async def test_near_duplicates_are_in_one_group(stores: Stores) -> None:
    dhash = bytes(range(16))
    first = await stores.complete("a", ImageAnalysis("one cat", unit(1, 0), 1, 1, None, dhash))
    second = await stores.complete("b", ImageAnalysis("one cat", unit(1, 0), 1, 1, None, dhash[:-1] + b"\x0e"))
    other = await stores.complete("c", ImageAnalysis("two dogs", unit(1, 0), 1, 1, None, dhash))
    found = await candidates(stores, unit(1, 0))
    assert [each.text.duplicate_group == found[0].text.duplicate_group for each in found] == [True, True, False]
    seed = await stores.search.get_seed(second, MODEL, "")
    assert seed is not None
    assert (seed.vectors.text, list(seed.near_duplicates)) == (unit(1, 0), [found[0].text.row])
    assert await stores.search.get_seed(second, MODEL, "anna") is None
    hits = await stores.search.get_hits([each.text.row for each in found])
    assert {hit.asset.id: list(hit.near_duplicates) for hit in hits.values()} == {
        first: [second],
        second: [first],
        other: [],
    }
