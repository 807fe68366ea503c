"""What every AssetStore, JobStore and SearchStore must hold: one exam for SQLite and PostgreSQL."""

import asyncio
import contextlib
import hashlib
import math
import random
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import postgres
import pytest
from sploot_server.assets import AssetStore, Candidate, EndStore, Filter, JobStore, SearchStore
from sploot_server.assets.database import Database
from sploot_server.assets.ends import SqliteEnds
from sploot_server.assets.jobs import SqliteJobs
from sploot_server.assets.postgres.assets import PostgresAssets
from sploot_server.assets.postgres.database import PostgresDatabase
from sploot_server.assets.postgres.ends import PostgresEnds
from sploot_server.assets.postgres.jobs import PostgresJobs
from sploot_server.assets.postgres.texts import PostgresTexts
from sploot_server.assets.sqlite import SqliteAssets, new_id
from sploot_server.assets.texts import SqliteTexts
from sploot_server.embedding import Model, Reading, Vectors
from sploot_server.model import AssetQuery, EmbeddingState, NewAsset
from sploot_server.models import E5_SHARE
from sploot_server.words import squeeze, trigrams

MODEL = Model("m", 2)
EVERYTHING = Filter()
READING = Reading("some text", b"\0" * 8, 3, 4)


@dataclass
class Stores:
    assets: AssetStore
    jobs: JobStore
    texts: SearchStore
    ends: EndStore

    async def read(self, content: str, reading: Reading, *, owner: str = "") -> str:
        """Add an asset and complete it."""
        checksum = hashlib.sha256(content.encode()).hexdigest()
        added = await self.assets.of(owner).add(
            NewAsset(new_id(), checksum, f"{content}.jpg", "image/jpeg", 9, ()), now_ms=1000
        )
        [job] = await self.jobs.claim(1, now_ms=1000)
        await self.jobs.complete(job, reading, MODEL, now_ms=2000)
        return added.asset.id

    async def add(self, content: str, *, tags: Sequence[str] = (), now_ms: int = 1000) -> str:
        checksum = hashlib.sha256(content.encode()).hexdigest()
        new = NewAsset(new_id(), checksum, f"{content}.jpg", "image/jpeg", 9, tags)
        return (await self.assets.add(new, now_ms=now_ms)).asset.id


@contextlib.asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[Stores]:
    database = Database(folder / "library.db")
    database.open()
    yield Stores(SqliteAssets(database), SqliteJobs(database), SqliteTexts(database), SqliteEnds(database))
    await database.close()


@contextlib.asynccontextmanager
async def in_postgres(folder: Path) -> AsyncIterator[Stores]:
    database = PostgresDatabase(await postgres.empty_database())
    await database.open()
    jobs = PostgresJobs(database)
    yield Stores(PostgresAssets(database), jobs, PostgresTexts(database), PostgresEnds(database))
    jobs.close()
    await database.close()


@pytest.fixture(params=[sqlite, in_postgres], ids=["sqlite", "postgres"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    async with request.param(tmp_path) as stores:
        yield stores


def new(content: str, *tags: str) -> NewAsset:
    return NewAsset(new_id(), hashlib.sha256(content.encode()).hexdigest(), "x.jpg", "image/jpeg", 9, tags)


async def test_the_same_content_added_at_once_is_created_once(stores: Stores) -> None:
    added = await asyncio.gather(*(stores.assets.add(new("a"), now_ms=1) for _ in range(20)))
    assert sum(each.created for each in added) == 1
    assert len({each.asset.id for each in added}) == 1


async def test_many_are_added_as_one_by_one(stores: Stores) -> None:
    first = await stores.add("b")
    added = await stores.assets.add_all([new("a", "t"), new("b", "t"), new("a")], now_ms=1)
    assert [each.created for each in added] == [True, False, False]
    assert added[1].asset.id == first
    assert added[0].asset.id == added[2].asset.id
    assert [[tag.name for tag in each.asset.tags] for each in added] == [["t"]] * 3


async def test_a_deleted_asset_comes_back_under_its_old_id(stores: Stores) -> None:
    asset_id = await stores.add("a", tags=["old"])
    assert await stores.assets.delete(asset_id, now_ms=2)
    assert await stores.assets.get(asset_id) is None
    restored = await stores.assets.add(new("a", "new"), now_ms=3)
    assert (restored.asset.id, restored.created) == (asset_id, True)
    assert [tag.name for tag in restored.asset.tags] == ["new", "old"]


async def test_a_purged_asset_is_gone_with_its_job(stores: Stores) -> None:
    asset_id = await stores.add("a", tags=["t"])
    assert await stores.assets.purge(asset_id) == hashlib.sha256(b"a").hexdigest()
    assert await stores.assets.purge(asset_id) is None
    assert await stores.jobs.claim(9, now_ms=9999) == []
    assert await stores.add("a") != asset_id


async def test_tags_differ_by_more_than_case(stores: Stores) -> None:
    asset_id = await stores.add("a", tags=["Cat", "d\u00f6g"])
    added = await stores.assets.add_tags(asset_id, names=["cat", "D\u00d6G", "x"], tag_ids=[], now_ms=1)
    assert added is not None
    assert [tag.name for tag in added] == ["Cat", "d\u00f6g", "x"]
    other = await stores.add("b")
    by_id = await stores.assets.add_tags(other, names=[], tag_ids=[added[0].id, "unknown"], now_ms=1)
    assert [tag.name for tag in by_id or ()] == ["Cat"]
    assert [(count.tag.name, count.asset_count) for count in await stores.assets.tags()] == [
        ("Cat", 2),
        ("d\u00f6g", 1),
        ("x", 1),
    ]


async def test_pages_follow_each_other_without_gap(stores: Stores) -> None:
    ids = [await stores.add(str(number), now_ms=1000 + number // 2) for number in range(7)]
    pages = [await stores.assets.list(AssetQuery(limit=3, offset=offset)) for offset in (0, 3, 6)]
    assert [asset.id for page in pages for asset in page.assets] == ids[::-1]
    assert {page.total for page in pages} == {7}


async def test_lists_can_be_narrowed(stores: Stores) -> None:
    await stores.add("a", tags=["t"])
    liked = await stores.add("b")
    assert await stores.assets.edit(liked, favorite=True, tags=["u"], now_ms=5000)
    page = await stores.assets.list(AssetQuery(favorite=True))
    assert [(asset.id, asset.updated_at_ms) for asset in page.assets] == [(liked, 5000)]
    tag_id = page.assets[0].tags[0].id
    assert [asset.id for asset in (await stores.assets.list(AssetQuery(tag_id=tag_id))).assets] == [liked]
    assert (await stores.assets.list(AssetQuery(tag_id="unknown"))).total == 0


async def test_a_job_is_claimed_once_and_ends_ready(stores: Stores) -> None:
    asset_id = await stores.add("a")
    claims = await asyncio.gather(*(stores.jobs.claim(5, now_ms=1000) for _ in range(5)))
    [job] = [job for jobs in claims for job in jobs]
    assert (await stores.assets.embeddings([asset_id]))[asset_id].state is EmbeddingState.PROCESSING
    await stores.jobs.complete(job, READING, MODEL, now_ms=2000)
    asset = await stores.assets.get(asset_id)
    assert asset is not None
    assert (asset.embedding.state, asset.embedding.dim, asset.width, asset.height) == (EmbeddingState.READY, 2, 3, 4)


async def test_a_ghost_changes_nothing(stores: Stores) -> None:
    """A job that was taken away meanwhile: by another outcome, or with its asset."""
    asset_id = await stores.add("a")
    [job] = await stores.jobs.claim(1, now_ms=1000)
    await stores.jobs.release(MODEL, now_ms=1000)
    await stores.jobs.complete(job, READING, MODEL, now_ms=2000)
    await stores.jobs.fail(job, "no", now_ms=2000)
    assert (await stores.assets.embeddings([asset_id]))[asset_id].state is EmbeddingState.PENDING
    [job] = await stores.jobs.claim(1, now_ms=1000)
    await stores.assets.purge(asset_id)
    await stores.jobs.complete(job, READING, MODEL, now_ms=2000)
    assert await stores.assets.get(asset_id) is None


async def test_what_people_ask_for_comes_first(stores: Stores) -> None:
    ids = [await stores.add(str(number), now_ms=1000 + number) for number in range(3)]
    assert await stores.jobs.retry(ids[2], now_ms=1500)
    assert [job.asset_id for job in await stores.jobs.claim(9, now_ms=2000)] == [ids[2], ids[0], ids[1]]


async def test_a_delayed_job_waits_for_its_time(stores: Stores) -> None:
    await stores.add("a", now_ms=1000)
    [job] = await stores.jobs.claim(1, now_ms=1000)
    await stores.jobs.put_back(job, due_ms=5000)
    assert await stores.jobs.next_due_ms() == 5000
    assert await stores.jobs.claim(1, now_ms=4999) == []
    assert [job.attempts for job in await stores.jobs.claim(1, now_ms=5000)] == [1]


async def test_a_failure_can_be_retried_afresh(stores: Stores) -> None:
    asset_id = await stores.add("a")
    [job] = await stores.jobs.claim(1, now_ms=1000)
    await stores.jobs.fail(job, "because", now_ms=1000)
    failed = (await stores.assets.embeddings([asset_id]))[asset_id]
    assert (failed.state, failed.error) == (EmbeddingState.FAILED, "because")
    assert await stores.jobs.retry(asset_id, now_ms=2000)
    assert [job.attempts for job in await stores.jobs.claim(1, now_ms=2000)] == [0]


async def test_another_model_makes_everything_anew(stores: Stores) -> None:
    await stores.add("a")
    [job] = await stores.jobs.claim(1, now_ms=1000)
    await stores.jobs.complete(job, READING, MODEL, now_ms=1000)
    assert await stores.jobs.release(MODEL, now_ms=2000) == 0
    assert await stores.jobs.release(Model("newer", 2), now_ms=2000) == 1
    assert len(await stores.jobs.claim(9, now_ms=2000)) == 1


async def test_many_contents_are_asked_about_at_once(stores: Stores) -> None:
    ids = [await stores.add(content) for content in "abc"]
    await stores.assets.delete(ids[2], now_ms=2)
    sums = [hashlib.sha256(content.encode()).hexdigest() for content in "abcd"]
    found = await stores.assets.find_all(sums)
    assert {checksum: asset.id for checksum, asset in found.items()} == dict(zip(sums, ids[:2], strict=False))


async def test_text_that_no_database_could_hold_finds_nothing(stores: Stores) -> None:
    assert await stores.assets.get("\0") is None
    assert await stores.assets.embeddings(["\0"]) == {}
    assert await stores.assets.list(AssetQuery(tag_id="\0")) is not None
    asset_id = await stores.read("a", Reading("nul \0 inside", None, 1, 1))
    assert (await stores.assets.embeddings([asset_id]))[asset_id].state is EmbeddingState.READY


async def test_embeddings_are_told_in_the_order_in_which_they_ended(stores: Stores) -> None:
    name, before = await stores.ends.last()
    assert (len(name), before) == (8, 0)
    ids = [await stores.add(str(number), now_ms=1000 + number) for number in range(4)]
    jobs = await stores.jobs.claim(4, now_ms=9000)
    await stores.jobs.complete(jobs[2], READING, MODEL, now_ms=9000)
    await stores.jobs.fail(jobs[0], "no", now_ms=9000)
    await stores.jobs.complete(jobs[3], READING, MODEL, now_ms=9000)
    ended = await stores.ends.after(0, 9)
    assert [(each.order, each.asset_id) for each in ended] == [(1, ids[2]), (2, ids[0]), (3, ids[3])]
    assert (ended[1].owner, ended[1].embedding.error) == ("", "no")
    assert await stores.ends.last() == (name, 3)
    assert [each.order for each in await stores.ends.after(1, 1)] == [2]
    assert await stores.ends.after(0, 9, owner="somebody") == []


async def test_a_place_in_the_order_of_ends_is_never_taken_twice(stores: Stores) -> None:
    last = await stores.read("a", READING)
    await stores.assets.purge(last)
    await stores.read("b", READING)
    assert [each.order for each in await stores.ends.after(0, 9)] == [2]


async def test_what_is_hidden_or_made_anew_has_no_end(stores: Stores) -> None:
    hidden, other = await stores.read("a", READING), await stores.read("b", READING)
    await stores.assets.delete(hidden, now_ms=3000)
    assert [each.asset_id for each in await stores.ends.after(0, 9)] == [other]
    await stores.jobs.release(Model("newer", 2), now_ms=4000)
    assert await stores.ends.after(0, 9) == []


def unit(*numbers: float) -> bytes:
    length = math.hypot(*numbers)
    return struct.pack(f"<{len(numbers)}f", *(number / length for number in numbers))


async def candidates(
    stores: Stores, vector: bytes | None, words: str = "", only: Filter = EVERYTHING
) -> list[Candidate]:
    return await compared(stores, Vectors(vector, None), MODEL, words, only)


async def compared(
    stores: Stores, sought: Vectors, model: Model, words: str = "", only: Filter = EVERYTHING
) -> list[Candidate]:
    begun = await stores.texts.begin(trigrams([squeeze(words)]), only, 60)
    return sorted(await stores.texts.candidates(begun, sought, model), key=lambda each: each.text.row)


async def test_candidates_share_words_or_meaning(stores: Stores) -> None:
    await stores.read("a", Reading("The Cat Sat", unit(1, 0), 1, 1))
    await stores.read("b", Reading("dogs bark", unit(0, 1), 1, 1))
    await stores.read("c", Reading("", None, 1, 1))
    by_words = await candidates(stores, None, "cats")
    assert [(each.text.squeezed, each.meaning) for each in by_words] == [("thecatsat", None)]
    by_meaning = await candidates(stores, unit(3, 4))
    assert [each.text.squeezed for each in by_meaning] == ["thecatsat", "dogsbark"]
    assert [round(each.meaning or 0, 4) for each in by_meaning] == [0.6, 0.8]


async def test_candidates_are_ones_own_live_and_wanted(stores: Stores) -> None:
    mine = await stores.read("a", Reading("cat one", unit(1, 0), 1, 1))
    hidden = await stores.read("b", Reading("cat two", unit(1, 0), 1, 1))
    await stores.read("a", Reading("cat three", unit(1, 0), 1, 1), owner="her")
    await stores.assets.delete(hidden, now_ms=3000)
    assert [each.text.squeezed for each in await candidates(stores, unit(1, 0), "cat")] == ["catone"]
    assert [each.text.squeezed for each in await candidates(stores, unit(1, 0), "cat", Filter("her"))] == ["catthree"]
    assert await candidates(stores, unit(1, 0), "cat", Filter(favorite=True)) == []
    await stores.assets.edit(mine, favorite=True, tags=["t"], now_ms=3000)
    [tag] = await stores.assets.tags()
    for only in (
        Filter(favorite=True),
        Filter(tag_id=tag.tag.id),
        Filter(mime="image/jpeg"),
        Filter(created_from_ms=1000, created_before_ms=1001),
    ):
        assert [each.text.squeezed for each in await candidates(stores, unit(1, 0), "cat", only)] == ["catone"]
    for only in (Filter(mime="image/png"), Filter(created_from_ms=1001), Filter(created_before_ms=1000)):
        assert await candidates(stores, unit(1, 0), "cat", only) == []


async def test_the_nearest_of_many_are_the_nearest(stores: Stores) -> None:
    rng = random.Random(7)
    turns = [rng.random() * math.tau for _ in range(60)]
    for number, turn in enumerate(turns):
        await stores.read(str(number), Reading(f"n{number}", unit(math.cos(turn), math.sin(turn)), 1, 1))
    nearest = sorted(range(60), key=lambda number: -math.cos(turns[number]))[:5]
    found = await candidates(stores, unit(1, 0))
    best = sorted(found, key=lambda each: -(each.meaning or 0))[:5]
    assert [each.text.squeezed for each in best] == [f"n{number}" for number in nearest]
    assert [each.meaning for each in best] == pytest.approx([math.cos(turns[number]) for number in nearest], abs=1e-5)


async def test_what_one_of_two_models_knows_counts_once_however_many_sides_it_does_not_know(stores: Stores) -> None:
    first, second = math.sqrt(E5_SHARE), math.sqrt(1 - E5_SHARE)
    whole = 1 / first
    model = Model("m", 4)
    await stores.jobs.release(model, now_ms=1)
    await stores.read("a", Reading("known to both", struct.pack("<4f", first, 0, 0, second), 1, 1))
    await stores.read("b", Reading("to the first", struct.pack("<4f", whole * 0.6, whole * 0.8, 0, 0), 1, 1))
    for query, cosines in (
        ((first, 0, second, 0), [E5_SHARE, 0.6]),  # of both models, the mean; of one, its own
        ((whole, 0, 0, 0), [1.0, 0.6]),
    ):
        found = await compared(stores, Vectors(struct.pack("<4f", *query), None), model)
        assert [each.meaning for each in found] == pytest.approx(cosines, abs=1e-5)


async def test_what_both_models_know_is_not_crowded_out_where_only_one_knows_the_query(stores: Stores) -> None:
    first, second, alone = math.sqrt(E5_SHARE), math.sqrt(1 - E5_SHARE), 1 / math.sqrt(E5_SHARE)
    model = Model("m", 4)
    await stores.jobs.release(model, now_ms=1)
    for number in range(100):
        turn = -1.1 - number / 1000
        vector = struct.pack("<4f", alone * math.cos(turn), alone * math.sin(turn), 0, 0)
        await stores.read(f"{number}", Reading(f"far{number}", vector, 1, 1))
    await stores.read("near", Reading("near", struct.pack("<4f", first * 0.6, first * 0.8, second, 0), 1, 1))
    query = struct.pack("<4f", alone * math.cos(0.1), alone * math.sin(0.1), 0, 0)
    found = await compared(stores, Vectors(query, None), model)
    assert max(found, key=lambda each: each.meaning or 0).text.squeezed == "near"


async def test_vectors_of_another_model_are_not_compared(stores: Stores) -> None:
    await stores.read("a", Reading("cat", unit(1, 0), 1, 1))
    found = await compared(stores, Vectors(unit(1, 0), None), Model("newer", 2))
    assert [each for each in found if each.meaning is not None] == []


async def test_pictures_are_compared_in_a_space_of_their_own(stores: Stores) -> None:
    model = Model("m", 2, 3)
    await stores.jobs.release(model, now_ms=1)
    await stores.read("a", Reading("cat", unit(1, 0), 1, 1, unit(1, 2, 2)))
    await stores.read("b", Reading("", None, 1, 1, unit(0, 0, 1)))
    found = await compared(stores, Vectors(None, unit(0, 0, 5)), model)
    assert [(each.meaning, round(each.picture or 0, 4)) for each in found] == [(None, 0.6667), (None, 1.0)]


async def test_near_duplicates_are_known_to_each_other(stores: Stores) -> None:
    look = bytes(range(16))
    first = await stores.read("a", Reading("one cat", unit(1, 0), 1, 1, None, look))
    second = await stores.read("b", Reading("one cat", unit(1, 0), 1, 1, None, look[:-1] + b"\x0e"))
    other = await stores.read("c", Reading("two dogs", unit(1, 0), 1, 1, None, look))
    found = await candidates(stores, unit(1, 0))
    assert [each.text.kin == found[0].text.kin for each in found] == [True, True, False]
    seed = await stores.texts.seed(second, MODEL, "")
    assert seed is not None
    assert (seed.vectors.text, list(seed.kin)) == (unit(1, 0), [found[0].text.row])
    assert await stores.texts.seed(second, MODEL, "her") is None
    whole = await stores.texts.found([each.text.row for each in found])
    assert {there.asset.id: list(there.others) for there in whole.values()} == {
        first: [second],
        second: [first],
        other: [],
    }
