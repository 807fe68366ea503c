"""Each owner has a library of his own, whatever others have; only the bytes are shared."""

import hashlib
import sqlite3
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path

import pytest
from sploot_server.assets import Filter
from sploot_server.assets.database import APPLICATION_ID, Database, DatabaseError
from sploot_server.assets.jobs import SqliteJobs
from sploot_server.assets.sqlite import SqliteAssets, new_id
from sploot_server.assets.texts import SqliteTexts
from sploot_server.blobs import FileBlobs
from sploot_server.config import Config
from sploot_server.embedding import Model, Reading, Vectors
from sploot_server.jobs import EmbeddingQueue
from sploot_server.library import Library, now_ms
from sploot_server.model import AssetQuery, NewAsset, NotFound
from sploot_server.notify import Notifier
from sploot_server.thumbnails import Thumbnails
from sploot_server.updates import Listener, Update
from sploot_server.words import trigrams
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
    blobs, news = FileBlobs(tmp_path), Notifier()
    blobs.open()
    queue = EmbeddingQueue(SqliteJobs(database), blobs, FakeEmbedder(), news, now_ms)
    return Library(
        Config(data=tmp_path), SqliteAssets(database), blobs, queue, news, thumbnails=Thumbnails(tmp_path, idle_s=1)
    )


async def add(library: Library, text: str) -> str:
    async with library.incoming() as incoming:
        incoming.write(picture(text))
        return (await library.add(incoming, filename="x.jpg", tags=[])).asset.id


async def test_the_same_content_is_one_asset_of_each_owner(database: Database) -> None:
    anna, ben = SqliteAssets(database, "anna"), SqliteAssets(database).of("ben")
    first, second = await anna.add(new("cat"), now_ms=1), await ben.add(new("Cat"), now_ms=2)
    assert (first.created, second.created) == (True, True)
    assert first.asset.id != second.asset.id
    assert not (await anna.add(new(), now_ms=3)).created
    assert (await anna.find(CONTENT), await SqliteAssets(database).find(CONTENT)) == (first.asset, None)
    assert [[each.tag.name for each in await store.tags()] for store in (anna, ben)] == [["cat"], ["Cat"]]


async def test_what_others_have_does_not_exist(database: Database) -> None:
    anna, ben = SqliteAssets(database, "anna"), SqliteAssets(database, "ben")
    asset = (await anna.add(new("cat"), now_ms=1)).asset
    assert await ben.get(asset.id) is None
    assert await ben.checksum_of(asset.id) is None
    assert (await ben.list(AssetQuery())).total == 0
    assert not await ben.edit(asset.id, favorite=True, tags=["dog"], now_ms=2)
    assert await ben.add_tags(asset.id, names=["dog"], tag_ids=[], now_ms=2) is None
    assert await ben.embeddings([asset.id]) == {}
    assert not await ben.delete(asset.id, now_ms=2)
    assert await ben.purge(asset.id) is None
    assert await anna.get(asset.id) == asset


async def test_a_tag_of_another_owner_cannot_be_given_by_its_id(database: Database) -> None:
    anna, ben = SqliteAssets(database, "anna"), SqliteAssets(database, "ben")
    tag = (await anna.add(new("secret plans"), now_ms=1)).asset.tags[0]
    asset = (await ben.add(new(), now_ms=1)).asset
    assert await ben.add_tags(asset.id, names=[], tag_ids=[tag.id], now_ms=2) == []
    assert (await ben.list(AssetQuery(tag_id=tag.id))).total == 0


async def test_a_search_sees_one_owner_only(database: Database) -> None:
    jobs, texts = SqliteJobs(database), SqliteTexts(database)
    for owner in ("anna", "ben"):
        await SqliteAssets(database, owner).add(new(), now_ms=1)
    for job in await jobs.claim(9, now_ms=2):
        await jobs.complete(job, Reading("some text", None, 1, 1), Model("m", 0), now_ms=3)
    nothing, model = Vectors(None, None), Model("m", 0)
    for owner, count in (("anna", 1), ("ben", 1), ("", 0)):
        begun = await texts.begin(trigrams(["some"]), Filter(owner=owner), 9)
        found = await texts.candidates(begun, nothing, model)
        assets = (await texts.found([each.text.row for each in found])).values()
        assert len(assets) == count
        for each in assets:
            assert await SqliteAssets(database, owner).get(each.asset.id) == each.asset


async def test_bytes_stay_as_long_as_anybody_has_them(library: Library, tmp_path: Path) -> None:
    anna, ben = library.of("anna"), library.of("ben")
    hers, his = await add(anna, "shared"), await add(ben, "shared")
    async with ben.local(await ben.get(his)) as path:
        assert path.exists()
    with pytest.raises(NotFound):
        await ben.purge(hers)
    await anna.purge(hers)
    assert path.read_bytes() == picture("shared")
    await ben.delete(his)
    assert path.exists()
    await ben.purge(his)
    assert not path.exists()


async def test_news_of_an_asset_concerns_its_owner_and_news_of_none_whoever_named_it() -> None:
    everything, named, other = Listener("anna", None), Listener("anna", {"a"}), Listener("ben", {"a"})
    hers, gone = Update("a", "anna", {}), Update("a", None, {})
    assert [each.wants(hers) for each in (everything, named, other)] == [True, True, False]
    assert [each.wants(gone) for each in (everything, named, other)] == [False, True, True]
    assert not named.wants(Update("b", "anna", {}))


VERSION_1 = """
    INSERT INTO assets (row, id, checksum, filename, mime, size_bytes, favorite, created_at, updated_at, deleted_at)
      VALUES (3, 'c3', :checksum, 'a.jpg', 'image/jpeg', 5, 1, 10, 20, NULL),
             (4, 'c4', replace(:checksum, '1', '2'), 'b.jpg', 'image/jpeg', 6, 0, 11, 21, 22),
             (9, 'c9', replace(:checksum, '1', '3'), 'c.jpg', 'image/jpeg', 7, 0, 12, 22, NULL);
    INSERT INTO embeddings (asset, queued_at, due_at) VALUES (4, 11, 11);
    INSERT INTO embeddings (asset, state, queued_at, due_at, model, dim, text, completed_at, ready_order)
      VALUES (3, 'ready', 10, 10, 'm', 2, 'some text', 12, 1);
    INSERT INTO texts (rowid, squeezed) VALUES (3, 'sometext');
    INSERT INTO tags (row, id, name, folded, created_at) VALUES (7, 't7', 'Cat', 'cat', 10);
    INSERT INTO asset_tags (asset, tag) VALUES (3, 7), (4, 7);
    DELETE FROM assets WHERE row = 9;
"""


def library_of_version_1(path: Path, *, damage: str = "") -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript((resources.files("sploot_server.assets") / "migrations" / "1.sql").read_text())
    connection.executescript(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1")
    connection.executescript(VERSION_1.replace(":checksum", f"'{'1' * 64}'") + damage)
    connection.close()


async def test_a_library_without_owners_is_brought_along_whole(tmp_path: Path) -> None:
    library_of_version_1(tmp_path / "library.db")
    database = Database(tmp_path / "library.db")
    database.open()
    assets = SqliteAssets(database)
    kept = await assets.get("c3")
    assert kept is not None
    assert (kept.favorite, kept.created_at_ms, kept.updated_at_ms, kept.embedding.state) == (True, 10, 20, "ready")
    assert [(tag.id, tag.name) for tag in kept.tags] == [("t7", "Cat")]
    nothing, model = Vectors(None, None), Model("m", 0)
    texts = SqliteTexts(database)
    found = await texts.candidates(await texts.begin(trigrams(["sometext"]), Filter(), 9), nothing, model)
    assert [each.text.row for each in found] == [3]
    assert await assets.get("c4") is None
    restored = await assets.add(NewAsset(new_id(), "2" * 64, "b.jpg", "image/jpeg", 6, []), now_ms=30)
    assert (restored.asset.id, [tag.name for tag in restored.asset.tags]) == ("c4", ["Cat"])
    await assets.add(new(), now_ms=31)
    rows = await database.read(lambda connection: connection.execute("SELECT max(row) FROM assets").fetchone()[0])
    assert rows == 10, "the number of a removed row was used again"
    assert await assets.purge("c3") == "1" * 64
    left = await database.read(lambda connection: connection.execute("SELECT asset FROM embeddings").fetchall())
    assert [row["asset"] for row in left] == [4, 10]
    await database.close()


async def test_a_library_that_cannot_be_brought_along_is_left_as_it_is(tmp_path: Path) -> None:
    library_of_version_1(
        tmp_path / "library.db", damage="INSERT INTO embeddings (asset, queued_at, due_at) VALUES (99, 1, 1);"
    )
    with pytest.raises(DatabaseError, match="refer to nothing"):
        Database(tmp_path / "library.db").open()
    connection = sqlite3.connect(tmp_path / "library.db")
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("SELECT count(*) FROM assets").fetchone() == (2,)
    connection.close()
