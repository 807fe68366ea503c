"""The library client against the responses of Sploot and of sploot-server."""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline_fixtures import JumpClock
from scripted_sploot import HTML, SIGNED_OUT, Reply, ScriptedSploot, reply_with

from splootd.credentials import Credentials
from splootd.errors import InternalServerError, InvalidResponse, RequestError, Unauthenticated
from splootd.remote import library_client as library_client_module
from splootd.remote.asset_query import AssetFilter, Order, Sort
from splootd.remote.asset_responses import Asset, ShareUrl, Tag, parse_asset, parse_assets, parse_page, parse_tags
from splootd.remote.client import SplootClient
from splootd.remote.library_client import LibraryClient
from splootd.web.library_params import parse_share_end

EMBEDDING = {"assetId": "c1", "modelName": "clip", "modelVersion": None, "dim": 512, "status": "pending", "error": None}
SPLOOT_ASSET = {  # as in the response of Sploot to GET /api/assets
    "id": "c1",
    "blobUrl": "https://x.public.blob.vercel-storage.com/u1/1795-ab.jpg",
    "pathname": "u1/1795-ab.jpg",
    "filename": "u1/1795-ab.jpg",
    "mime": "image/jpeg",
    "size": 1234,
    "width": None,
    "height": None,
    "favorite": False,
    "createdAt": "2026-11-22T20:48:03.120Z",
    "embedding": EMBEDDING,
    "tags": [{"id": "t1", "name": "cat"}],
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*SPLOOT_ASSET, "why", "x"]), inner),
    max_leaves=12,
)


@pytest.fixture
def sploot() -> ScriptedSploot:
    return ScriptedSploot()


@pytest.fixture
async def library(tmp_path: Path, sploot: ScriptedSploot) -> AsyncIterator[LibraryClient]:
    async with sploot.serve() as url:
        client = SplootClient(url, credentials=Credentials(tmp_path / "token", JumpClock()), connections=4)
        yield LibraryClient(client)
        await client.close()


def script_asset(sploot: ScriptedSploot, *bodies: Any) -> None:
    """Queue these bodies as responses to requests about one asset."""
    sploot.script("asset", *(reply_with(body=body) for body in bodies))


def test_an_asset_of_sploot_is_parsed():
    assert parse_asset({"asset": SPLOOT_ASSET}) == Asset(
        id="c1",
        url=SPLOOT_ASSET["blobUrl"],  # type: ignore[arg-type]  # a string
        name="1795-ab.jpg",
        mime="image/jpeg",
        width=None,
        height=None,
        size=1234,
        is_favorite=False,
        tags=(Tag("t1", "cat"),),
        templates=(),
        created_at="2026-11-22T20:48:03.120Z",
        state="ready",
        score=None,
        text=None,
        matched_words=(),
        reason=None,
        near_duplicate_count=0,
        folder=None,
        deleted_at=None,
        is_near=False,
    )


def test_the_additions_of_sploot_server_are_parsed():
    why = {"meaning": 0.5, "coverage": 1.0, "words": ["cat", "box"]}
    added = {
        "similarity": 0.75,
        "matchedText": "a cat",
        "why": why,
        "nearDuplicates": ["c2", "c3"],
        "embeddingStatus": "failed",
    }
    (asset,) = parse_assets({"results": [{**SPLOOT_ASSET, **added}]}, "results")
    assert (asset.score, asset.text, asset.matched_words, asset.near_duplicate_count, asset.state) == (
        0.75,
        "a cat",
        ("cat", "box"),
        2,
        "failed",
    )


@pytest.mark.parametrize(
    ("embedding", "state"),
    [
        (None, "pending"),
        (EMBEDDING, "ready"),
        ({**EMBEDDING, "dim": 0, "status": "failed"}, "failed"),
        ({**EMBEDDING, "dim": 0}, "pending"),
        ({"assetId": "c1"}, "pending"),
        ("?", "pending"),
    ],
)
def test_the_state_is_derived_from_the_embedding(embedding: Any, state: str):
    assert parse_asset({"asset": {**SPLOOT_ASSET, "embedding": embedding}}).state == state


@given(json_values)
def test_any_response_is_parsed_or_rejected(value: Any):
    for parse in (parse_asset, parse_tags, lambda it: parse_page(it, offset=0), lambda it: parse_assets(it, "results")):
        with suppress(InvalidResponse):
            parse(value)
    with suppress(InvalidResponse):
        asset = parse_asset({"asset": {**SPLOOT_ASSET, **(value if isinstance(value, dict) else {})}})
        assert asset.name
        assert "/" not in asset.name or asset.name.endswith("/")
        assert asset.score is None or asset.score == asset.score


def test_has_more_follows_from_either_kind_of_pagination():
    pagination = {"total": 3, "limit": 1, "offset": 1, "hasMore": False}
    assert parse_page({"assets": [SPLOOT_ASSET], "pagination": pagination}, offset=1).has_more
    assert not parse_page({"assets": [SPLOOT_ASSET], "pagination": pagination}, offset=2).has_more
    assert parse_page({"assets": [SPLOOT_ASSET], "pagination": {"hasMore": True}}, offset=2).has_more
    assert not parse_page({"assets": [], "pagination": {"hasMore": True}}, offset=2).has_more
    assert parse_page({"assets": [SPLOOT_ASSET]}, offset=0).total is None


async def test_a_list_is_requested_with_sploots_parameters(library: LibraryClient, sploot: ScriptedSploot):
    sploot.always["assets"] = reply_with(body={"assets": [SPLOOT_ASSET], "pagination": {"total": 1}})
    asset_filter, order = AssetFilter(is_favorite=True, tag_id="t 1"), Order(Sort.OLDEST)
    page = await library.list_assets(asset_filter, order, limit=5, offset=10)
    assert [asset.id for asset in page.assets] == ["c1"]
    assert sploot.requests[0].target == (
        "/api/assets?limit=5&offset=10&sortBy=createdAt&sortOrder=asc&tagId=t+1&favorite=true"
    )


async def test_a_filter_that_sploot_ignores_is_applied_by_the_client(library: LibraryClient, sploot: ScriptedSploot):
    results = [
        {**SPLOOT_ASSET, "id": "c1"},
        {**SPLOOT_ASSET, "id": "c2", "favorite": True},
        {**SPLOOT_ASSET, "id": "c3", "tags": []},
    ]
    sploot.always["search"] = reply_with(body={"results": results})
    for asset_filter, ids in [
        (AssetFilter(is_favorite=True), ["c2"]),
        (AssetFilter(tag_id="t1"), ["c1", "c2"]),
        (AssetFilter(), ["c1", "c2", "c3"]),
    ]:
        page = await library.search("x", asset_filter, limit=9)
        assert [each.id for each in page.assets] == ids
    page = await library.search("x", AssetFilter(), limit=2)
    assert ([each.id for each in page.assets], page.has_more, page.total) == (["c1", "c2"], True, None)
    assert not (await library.search("x", AssetFilter(), limit=9, offset=9)).assets, "Sploot has no second page"


async def test_results_below_the_threshold_are_only_the_nearest(library: LibraryClient, sploot: ScriptedSploot):
    near = {**SPLOOT_ASSET, "id": "c2", "similarity": 0.1, "belowThreshold": True}
    failed = {**SPLOOT_ASSET, "id": "c3", "similarity": None}
    sploot.always["search"] = reply_with(body={"results": [{**SPLOOT_ASSET, "similarity": 0.5}, near, failed]})
    page = await library.search("x", AssetFilter(), limit=9)
    assert ([each.id for each in page.assets], page.nearest) == (["c1"], [])
    sploot.always["search"] = reply_with(body={"results": [near, failed]})
    page = await library.search("x", AssetFilter(), limit=9)
    assert (page.assets, [each.id for each in page.nearest], page.total) == ([], ["c2", "c3"], 0)


async def test_a_changed_asset_is_fetched_again(library: LibraryClient, sploot: ScriptedSploot):
    script_asset(sploot, {"asset": {"id": "c1", "favorite": True}}, {"asset": {**SPLOOT_ASSET, "favorite": True}})
    asset = await library.update_asset("c1", is_favorite=True, tags=None)
    assert asset.is_favorite
    assert [(each.method, each.target) for each in sploot.requests] == [
        ("PATCH", "/api/assets/c1"),
        ("GET", "/api/assets/c1"),
    ]
    assert sploot.requests[0].json() == {"favorite": True}


async def test_an_image_url_is_fetched_once(
    library: LibraryClient, sploot: ScriptedSploot, monkeypatch: pytest.MonkeyPatch
):
    script_asset(sploot, {"asset": SPLOOT_ASSET})
    assert await library.get_image_url("c1") == await library.get_image_url("c1") == SPLOOT_ASSET["blobUrl"]
    assert len(sploot.requests) == 1
    monkeypatch.setattr(library_client_module, "CACHED_URLS_MAX", 1)
    script_asset(sploot, {"asset": {**SPLOOT_ASSET, "id": "c2"}}, {"asset": SPLOOT_ASSET})
    await library.get_image_url("c2")
    await library.get_image_url("c1")
    assert len(sploot.requests) == 3


async def test_delete_is_a_soft_delete(library: LibraryClient, sploot: ScriptedSploot):
    script_asset(sploot, {"message": "Asset soft deleted", "asset": {"id": "c1"}})
    await library.delete_asset("c1")
    assert [(each.method, each.target) for each in sploot.requests] == [("DELETE", "/api/assets/c1")]


async def test_features_are_fetched_once(library: LibraryClient, sploot: ScriptedSploot):
    sploot.features = {"similar": "true"}
    assert [await library.has_feature(name) for name in ("similar", "thumbnails", "similar")] == [True, False, True]
    assert sploot.count("limits") == 1


@pytest.mark.parametrize(
    ("reply", "error", "code"),
    [
        (Reply(404, {"error": "Asset not found"}), RequestError, "not_found"),
        (Reply(400, {"error": "Tags must be 50 characters or less"}), RequestError, "rejected"),
        (Reply(404, b"<html>", {**HTML, **SIGNED_OUT}), Unauthenticated, None),
        (Reply(404, {"error": "?"}, SIGNED_OUT), Unauthenticated, None),
        (Reply(404, b"<html>", HTML), InvalidResponse, None),
        (Reply(500, {"error": "Failed"}), InternalServerError, None),
        (Reply(200, {"assets": []}), InvalidResponse, None),
        (Reply(200, {"asset": {"id": "", "blobUrl": "x"}}), InvalidResponse, None),
        (Reply(200, {"asset": {"id": "c1\n", "blobUrl": "x"}}), InvalidResponse, None),
        (Reply(200, {"asset": {"id": "c1"}}), InvalidResponse, None),
    ],
)
async def test_each_rejection_has_its_error(
    library: LibraryClient, sploot: ScriptedSploot, reply: Reply, error: type[Exception], code: str | None
):
    async def act(_: object) -> Reply:
        return reply

    sploot.script("asset", act)
    with pytest.raises(error) as raised:
        await library.get_asset("c1")
    assert getattr(raised.value, "code", None) == code


async def test_an_asset_is_shared_and_no_longer_shared_as_sploot_does_it(
    library: LibraryClient, sploot: ScriptedSploot
):
    script_asset(sploot, {"shareUrl": "https://sploot.example/s/abc"}, {"message": "Asset no longer shared"})
    assert await library.share_asset("c1") == ShareUrl("https://sploot.example/s/abc", None)
    await library.unshare_asset("c1")


@pytest.mark.parametrize("days", [7, None])
async def test_the_end_of_a_link_is_passed_on_to_a_server_that_knows_it(
    days: int | None, library: LibraryClient, sploot: ScriptedSploot
):
    end = parse_share_end(json.dumps({"days": days}).encode())
    sploot.features = {"shareExpiry": "true"}
    script_asset(sploot, {"shareUrl": "https://sploot.example/s/abc"})
    await library.share_asset("c1", end)
    assert sploot.requests[-1].json() == {"days": days}


async def test_a_server_without_links_that_end_gets_no_endless_one_instead(library: LibraryClient):
    with pytest.raises(RequestError, match="does not support links that end"):
        await library.share_asset("c1", parse_share_end(b'{"days": 7}'))


@pytest.mark.parametrize("days", ["0", "-1", "1.5", "true", '"7"', "1e9"])
def test_the_end_of_a_link_is_a_whole_number_of_days(days: str):
    with pytest.raises(RequestError, match="whole number"):
        parse_share_end(f'{{"days": {days}}}'.encode())


@pytest.mark.parametrize("body", [{}, [], {"shareUrl": None}, {"shareUrl": "javascript:1"}, {"shareUrl": "http://a\n"}])
async def test_a_share_link_that_is_no_address_is_refused(body: Any, library: LibraryClient, sploot: ScriptedSploot):
    script_asset(sploot, body)
    with pytest.raises(InvalidResponse, match="shareUrl"):
        await library.share_asset("c1")


async def test_a_local_library_says_what_sharing_needs(tmp_path: Path):
    client = SplootClient("http://sploot", credentials=Credentials(tmp_path / "token", JumpClock()), connections=4)
    library = LibraryClient(client, is_local=True)
    for request in (library.share_asset("c1"), library.unshare_asset("c1"), library.list_share_links()):
        with pytest.raises(RequestError, match="on this computer only") as raised:
            await request
        assert raised.value.hint is not None
        assert "config set server" in raised.value.hint
    await client.close()
