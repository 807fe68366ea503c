"""Changes to many assets, the trash, tags and duplicates: by the API and in the stores, on both databases."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import postgres
import pytest
from sploot_server.app import create_app
from sploot_server.config import Config
from sploot_server.domain.asset_query import AssetFilter
from sploot_server.domain.embedding import EmbeddingModel, ImageAnalysis
from sploot_server.domain.entities import AssetChange, NewAsset, new_id
from sploot_server.domain.text_match import trigrams
from sploot_server.http.routes.curation import CHANGES_MAX
from sploot_server.library import curation
from sploot_server.storage_backends import Stores, open_stores
from toy_library import FakeEmbedder, picture

MODEL = EmbeddingModel("m", 2)
DHASH = bytes(range(16))


@pytest.fixture(params=["sqlite", "postgres"])
async def config(request: pytest.FixtureRequest, tmp_path: Path) -> Config:
    url = None if request.param == "sqlite" else await postgres.empty_database()
    (tmp_path / "library").mkdir()
    return Config(data=tmp_path / "library", database=url)


@pytest.fixture
async def client(config: Config) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        create_app(config, FakeEmbedder()) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        yield client


@pytest.fixture
async def stores(config: Config) -> AsyncIterator[Stores]:
    async with open_stores(config) as stores:
        yield stores


async def upload(client: httpx.AsyncClient, *texts: str) -> list[str]:
    answers = [
        await client.post("/api/upload", files={"file": (f"{text}.jpg", picture(text), "image/jpeg")}) for text in texts
    ]
    return [answer.json()["asset"]["id"] for answer in answers]


async def change(client: httpx.AsyncClient, ids: list[str], **body: Any) -> list[str]:
    answer = await client.post("/api/assets/changes", json={"ids": ids, **body})
    assert answer.status_code == 200, answer.text
    changed: list[str] = answer.json()["changed"]
    return sorted(changed)


async def listed(client: httpx.AsyncClient, query: str = "") -> dict[str, Any]:
    return {asset["id"]: asset for asset in (await client.get(f"/api/assets{query}")).json()["assets"]}


async def test_many_assets_are_changed_at_once(client: httpx.AsyncClient) -> None:
    a, b, c = await upload(client, "a", "b", "c")
    assert await change(client, [a, b, "unknown"], favorite=True, addTags=["Cat", "dog"]) == sorted([a, b])
    assert await change(client, [b], removeTags=["CAT"], addTags=["bird"]) == [b]
    tags = {key: [tag["name"] for tag in asset["tags"]] for key, asset in (await listed(client)).items()}
    assert tags == {a: ["Cat", "dog"], b: ["bird", "dog"], c: []}
    assert set(await listed(client, "?favorite=true")) == {a, b}
    for body in (
        {"ids": [a] * (CHANGES_MAX + 1)},
        {"ids": "a"},
        {"ids": [a], "action": "burn"},
        {"ids": [a], "favorite": 1},
        {"ids": [a], "addTags": ["<b>"]},
    ):
        assert (await client.post("/api/assets/changes", json=body)).status_code == 400, body


async def test_a_deleted_asset_is_in_the_trash_until_it_is_restored_or_purged(
    client: httpx.AsyncClient, config: Config
) -> None:
    a, b, c = await upload(client, "a", "b", "c")
    assert await change(client, [a], action="purge") == [], "only what is in the trash is purged"
    assert await change(client, [a, b], action="delete") == sorted([a, b])
    assert await change(client, [a], action="delete") == [], "its time in the trash does not start again"
    trash = await listed(client, "?trash=true")
    assert (set(trash), set(await listed(client))) == ({a, b}, {c})
    assert all(asset["deletedAt"] for asset in trash.values())
    assert await change(client, [b, c], action="restore") == [b]
    assert await change(client, [a, b], action="purge") == [a]
    assert (set(await listed(client, "?trash=true")), set(await listed(client))) == (set(), {b, c})
    assert len(list((config.data / "blobs").glob("*/*"))) == 2
    assert (await upload(client, "a"))[0] != a, "purged content is new content"
    await change(client, [b], action="delete")
    assert await upload(client, "b") == [b], "content in the trash is restored by its upload"


async def test_the_trash_is_emptied_after_thirty_days(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def app() -> Any:
        return create_app(config, FakeEmbedder())

    async with (
        app() as served,
        httpx.AsyncClient(transport=httpx.ASGITransport(served), base_url="http://localhost") as client,
    ):
        old, restored, kept = await upload(client, "old", "restored", "kept")
        await change(client, [old, restored], action="delete")
        await change(client, [restored], action="restore")
    monkeypatch.setattr(curation, "TRASH_MS", -1_000)  # what was deleted until a second from now
    purged = asyncio.Event()
    purge = curation.Curation.purge_expired

    async def purge_expired(self: curation.Curation, deleted_before_ms: int) -> None:
        await purge(self, deleted_before_ms)
        purged.set()

    monkeypatch.setattr(curation.Curation, "purge_expired", purge_expired)
    async with (
        app() as served,
        httpx.AsyncClient(transport=httpx.ASGITransport(served), base_url="http://localhost") as client,
    ):
        await asyncio.wait_for(purged.wait(), 20)
        assert (set(await listed(client)), set(await listed(client, "?trash=true"))) == ({restored, kept}, set())
    assert len(list((config.data / "blobs").glob("*/*"))) == 2


async def test_a_tag_is_renamed_merged_and_deleted(client: httpx.AsyncClient) -> None:
    a, b = await upload(client, "a", "b")
    await change(client, [a], addTags=["Cat", "kitty"])
    await change(client, [b], addTags=["Kitty"])
    ids = {tag["name"]: tag["id"] for tag in (await client.get("/api/tags")).json()["tags"]}
    renamed = await client.patch(f"/api/tags/{ids['kitty']}", json={"name": "Kitten"})
    assert renamed.json() == {"tag": {"id": ids["kitty"], "name": "Kitten"}}
    merged = await client.patch(f"/api/tags/{ids['kitty']}", json={"name": "cat"})
    assert merged.json() == {"tag": {"id": ids["Cat"], "name": "cat"}}
    [tag] = (await client.get("/api/tags")).json()["tags"]
    assert (tag["id"], tag["name"], tag["assetCount"]) == (ids["Cat"], "cat", 2)
    assert (await client.patch(f"/api/tags/{tag['id']}", json={"name": "<b>"})).status_code == 400
    assert (await client.patch(f"/api/tags/{ids['kitty']}", json={"name": "x"})).status_code == 404
    assert (await client.delete(f"/api/tags/{tag['id']}")).status_code == 200
    assert (await client.delete(f"/api/tags/{tag['id']}")).status_code == 404
    assert [asset["tags"] for asset in (await listed(client)).values()] == [[], []]


async def complete(stores: Stores, content: str, width: int = 40, *, owner: str = "", size_bytes: int = 9) -> str:
    """Add an asset that looks like all others of these tests, and complete its embedding."""
    new = NewAsset(new_id(), hashlib.sha256(content.encode()).hexdigest(), "x.jpg", "image/jpeg", size_bytes, ())
    added = await stores.assets.for_owner(owner).add(new, now_ms=1000)
    [job] = await stores.jobs.claim(1, now_ms=1000)
    analysis = ImageAnalysis("same words", b"\0" * 8, width, width, None, DHASH)
    await stores.jobs.complete(job, analysis, MODEL, now_ms=2000)
    return added.asset.id


async def test_duplicates_are_grouped_with_the_best_first(stores: Stores) -> None:
    small = await complete(stores, "small")
    large = await complete(stores, "large", 400)
    heavy = await complete(stores, "heavy", size_bytes=99)
    gone = await complete(stores, "gone")
    await complete(stores, "alone", owner="ben")
    await stores.assets.delete(gone, now_ms=3000)
    page = await stores.assets.list_duplicate_groups(limit=9, offset=0)
    [group] = page.groups
    assert ([asset.id for asset in group.assets], group.asset_count, page.total) == ([large, heavy, small], 3, 1)
    assert (await stores.assets.list_duplicate_groups(limit=9, offset=1)).groups == []
    assert (await stores.assets.for_owner("ben").list_duplicate_groups(limit=9, offset=0)).total == 0
    await stores.assets.delete_all([heavy, small], now_ms=4000)
    assert (await stores.assets.list_duplicate_groups(limit=9, offset=0)).total == 0


async def test_a_search_finds_assets_by_the_names_that_their_tags_have_now(stores: Stores) -> None:
    asset_id = await complete(stores, "a")

    async def is_found_by(word: str) -> bool:
        return bool((await stores.search.prepare_search(trigrams([word]), AssetFilter(), 9)).text_matches)

    await stores.assets.change([asset_id], AssetChange(add_tags=["walrus"]), now_ms=3000)
    assert await is_found_by("walrus")
    [tag] = await stores.assets.list_tags()
    await stores.assets.rename_tag(tag.tag.id, "pelican")
    assert (await is_found_by("walrus"), await is_found_by("pelican")) == (False, True)
    await stores.assets.delete_tag(tag.tag.id)
    assert not await is_found_by("pelican")


async def test_concurrent_changes_of_the_same_assets_all_take_place(stores: Stores) -> None:
    ids = [await complete(stores, str(number)) for number in range(4)]
    added = [AssetChange(add_tags=[f"t{number}", f"t{9 - number}"]) for number in range(10)]
    orders = [ids, ids[::-1]]
    await asyncio.gather(
        *(stores.assets.change(orders[number % 2], each, now_ms=3000) for number, each in enumerate(added))
    )
    counts = {each.tag.name: each.asset_count for each in await stores.assets.list_tags()}
    assert counts == {f"t{number}": 4 for number in range(10)}
