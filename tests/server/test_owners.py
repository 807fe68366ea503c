"""Users have separate libraries; only the stored content is shared."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sploot_server.config import Config
from sploot_server.domain.asset_query import AssetFilter, AssetQuery
from sploot_server.domain.embedding import EmbeddingModel, ImageAnalysis, Vectors
from sploot_server.domain.entities import NewAsset, NotFound, new_id
from sploot_server.domain.text_match import trigrams
from sploot_server.http.push.subscriptions import Subscriber, Update
from sploot_server.library.embedding_jobs import EmbeddingQueue
from sploot_server.library.service import Library, now_ms
from sploot_server.library.thumbnails import Thumbnails
from sploot_server.pubsub.broker import Broker
from sploot_server.storage.blobs.files import FileBlobs
from sploot_server.storage.sqlite.assets import SqliteAssets
from sploot_server.storage.sqlite.database import Database
from sploot_server.storage.sqlite.jobs import SqliteJobs
from sploot_server.storage.sqlite.search import SqliteSearch
from toy_library import FakeEmbedder, picture

CONTENT = hashlib.sha256(b"x").hexdigest()


def new(*tags: str) -> NewAsset:
    return NewAsset(new_id(), CONTENT, "x.jpg", "image/jpeg", 9, tags)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "library.db")
    database.open()
    yield database
    await database.close()


@pytest.fixture
async def library(tmp_path: Path, database: Database) -> Library:
    blobs, broker = FileBlobs(tmp_path), Broker()
    blobs.open()
    queue = EmbeddingQueue(SqliteJobs(database), blobs, FakeEmbedder(), broker, now_ms)
    return Library(
        Config(data=tmp_path), SqliteAssets(database), blobs, queue, broker, thumbnails=Thumbnails(tmp_path, idle_s=1)
    )


async def add(library: Library, text: str) -> str:
    async with library.open_upload() as upload:
        upload.write(picture(text))
        return (await library.add(upload, filename="x.jpg", tags=[])).asset.id


async def test_the_same_content_is_one_asset_of_each_owner(database: Database) -> None:
    anna, ben = SqliteAssets(database, "anna"), SqliteAssets(database).for_owner("ben")
    first, second = await anna.add(new("cat"), now_ms=1), await ben.add(new("Cat"), now_ms=2)
    assert (first.created, second.created) == (True, True)
    assert first.asset.id != second.asset.id
    assert not (await anna.add(new(), now_ms=3)).created
    assert (await anna.find_by_checksum(CONTENT), await SqliteAssets(database).find_by_checksum(CONTENT)) == (
        first.asset,
        None,
    )
    assert [[each.tag.name for each in await store.list_tags()] for store in (anna, ben)] == [["cat"], ["Cat"]]


async def test_assets_of_other_owners_do_not_exist(database: Database) -> None:
    anna, ben = SqliteAssets(database, "anna"), SqliteAssets(database, "ben")
    asset = (await anna.add(new("cat"), now_ms=1)).asset
    assert await ben.get(asset.id) is None
    assert await ben.get_checksum(asset.id) is None
    assert (await ben.list(AssetQuery())).total == 0
    assert not await ben.edit(asset.id, favorite=True, tags=["dog"], now_ms=2)
    assert await ben.add_tags(asset.id, names=["dog"], tag_ids=[], now_ms=2) is None
    assert await ben.get_embeddings([asset.id]) == {}
    assert not await ben.delete(asset.id, now_ms=2)
    assert await ben.purge(asset.id) is None
    assert await anna.get(asset.id) == asset


async def test_a_tag_of_another_owner_cannot_be_given_by_its_id(database: Database) -> None:
    anna, ben = SqliteAssets(database, "anna"), SqliteAssets(database, "ben")
    tag = (await anna.add(new("secret plans"), now_ms=1)).asset.tags[0]
    asset = (await ben.add(new(), now_ms=1)).asset
    assert await ben.add_tags(asset.id, names=[], tag_ids=[tag.id], now_ms=2) == []
    assert (await ben.list(AssetQuery(AssetFilter(tag_id=tag.id)))).total == 0


async def test_a_search_covers_one_owner_only(database: Database) -> None:
    jobs, search = SqliteJobs(database), SqliteSearch(database)
    for owner in ("anna", "ben"):
        await SqliteAssets(database, owner).add(new(), now_ms=1)
    for job in await jobs.claim(9, now_ms=2):
        await jobs.complete(job, ImageAnalysis("some text", None, 1, 1), EmbeddingModel("m", 0), now_ms=3)
    nothing, model = Vectors(None, None), EmbeddingModel("m", 0)
    for owner, count in (("anna", 1), ("ben", 1), ("", 0)):
        prepared = await search.prepare_search(trigrams(["some"]), AssetFilter(owner=owner), 9)
        candidates = await search.find_candidates(prepared, nothing, model)
        hits = (await search.get_hits([each.text.row for each in candidates])).values()
        assert len(hits) == count
        for each in hits:
            assert await SqliteAssets(database, owner).get(each.asset.id) == each.asset


async def test_bytes_are_kept_while_any_owner_has_them(library: Library, tmp_path: Path) -> None:
    anna, ben = library.for_owner("anna"), library.for_owner("ben")
    of_anna, of_ben = await add(anna, "shared"), await add(ben, "shared")
    async with ben.local_file(await ben.get(of_ben)) as path:
        assert path.exists()
    with pytest.raises(NotFound):
        await ben.purge(of_anna)
    await anna.purge(of_anna)
    assert path.read_bytes() == picture("shared")
    await ben.delete(of_ben)
    assert path.exists()
    await ben.purge(of_ben)
    assert not path.exists()


async def test_an_update_matches_subscribers_of_its_owner_and_one_without_owner_those_that_named_it() -> None:
    all_assets, named, other = Subscriber("anna", None), Subscriber("anna", {"a"}), Subscriber("ben", {"a"})
    owned, missing = Update("a", "anna", {}), Update("a", None, {})
    assert [each.matches(owned) for each in (all_assets, named, other)] == [True, True, False]
    assert [each.matches(missing) for each in (all_assets, named, other)] == [False, True, True]
    assert not named.matches(Update("b", "anna", {}))
