"""What every AssetStore, JobStore and SearchStore must hold: one exam for SQLite and PostgreSQL."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import postgres
import pytest
from sploot_server.assets import AssetStore, JobStore
from sploot_server.assets.database import Database
from sploot_server.assets.jobs import SqliteJobs
from sploot_server.assets.postgres.assets import PostgresAssets
from sploot_server.assets.postgres.database import PostgresDatabase
from sploot_server.assets.postgres.jobs import PostgresJobs
from sploot_server.assets.sqlite import SqliteAssets, new_id
from sploot_server.embedding import Model, Reading
from sploot_server.model import AssetQuery, EmbeddingState, NewAsset

MODEL = Model("m", 2)
READING = Reading("some text", b"\0" * 8, 3, 4)


@dataclass
class Stores:
    assets: AssetStore
    jobs: JobStore

    async def add(self, content: str, *, tags: Sequence[str] = (), now_ms: int = 1000) -> str:
        checksum = hashlib.sha256(content.encode()).hexdigest()
        new = NewAsset(new_id(), checksum, f"{content}.jpg", "image/jpeg", 9, tags)
        return (await self.assets.add(new, now_ms=now_ms)).asset.id


@contextlib.asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[Stores]:
    database = Database(folder / "library.db")
    database.open()
    yield Stores(SqliteAssets(database), SqliteJobs(database))
    await database.close()


@contextlib.asynccontextmanager
async def in_postgres(folder: Path) -> AsyncIterator[Stores]:
    database = PostgresDatabase(await postgres.empty_database())
    await database.open()
    jobs = PostgresJobs(database)
    yield Stores(PostgresAssets(database), jobs)
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
