"""What is in the library, as a Sploot tells it and as our own server does."""

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import HTML, SIGNED_OUT, Reply, Scripted, replying
from walkkit import JumpClock

from splootd.credentials import Credentials
from splootd.errors import BadAnswer, RequestError, ServerFault, SignedOut
from splootd.remote import shelf as shelf_module
from splootd.remote.api import Server
from splootd.remote.assets import Asset, Tag, asset_of, assets_of, page_of, tags_of
from splootd.remote.shelf import Shelf, Wanted

MADE = {"assetId": "c1", "modelName": "clip", "modelVersion": None, "dim": 512, "status": "pending", "error": None}
SPLOOTS = {  # as GET /api/assets of a Sploot has it
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
    "embedding": MADE,
    "tags": [{"id": "t1", "name": "cat"}],
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*SPLOOTS, "why", "x"]), inner),
    max_leaves=12,
)


@pytest.fixture
def sploot() -> Scripted:
    return Scripted()


@pytest.fixture
async def shelf(tmp_path: Path, sploot: Scripted) -> AsyncIterator[Shelf]:
    async with sploot.serving() as url:
        server = Server(url, credentials=Credentials(tmp_path / "token", JumpClock()), connections=4)
        yield Shelf(server)
        await server.close()


def answering(sploot: Scripted, *bodies: Any) -> None:
    """Say these, one after the other, to whatever is asked about one asset."""
    sploot.script("asset", *(replying(body=body) for body in bodies))


def test_an_asset_of_a_sploot_is_understood():
    assert asset_of({"asset": SPLOOTS}) == Asset(
        id="c1",
        url=SPLOOTS["blobUrl"],  # type: ignore[arg-type]  # a text
        name="1795-ab.jpg",
        mime="image/jpeg",
        width=None,
        height=None,
        size=1234,
        is_favorite=False,
        tags=(Tag("t1", "cat"),),
        created_at="2026-11-22T20:48:03.120Z",
        state="ready",
        score=None,
        text=None,
        why=(),
        others=0,
    )


def test_what_our_own_server_adds_is_understood():
    why = {"meaning": 0.5, "coverage": 1.0, "words": ["cat", "box"]}
    added = {
        "similarity": 0.75,
        "matchedText": "a cat",
        "why": why,
        "others": ["c2", "c3"],
        "embeddingStatus": "failed",
    }
    (asset,) = assets_of({"results": [{**SPLOOTS, **added}]}, "results")
    assert (asset.score, asset.text, asset.why, asset.others, asset.state) == (
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
        (MADE, "ready"),
        ({**MADE, "dim": 0, "status": "failed"}, "failed"),
        ({**MADE, "dim": 0}, "pending"),
        ({"assetId": "c1"}, "pending"),
        ("?", "pending"),
    ],
)
def test_the_truth_about_an_embedding_is_found(embedding: Any, state: str):
    assert asset_of({"asset": {**SPLOOTS, "embedding": embedding}}).state == state


@given(json_values)
def test_any_answer_is_understood_or_said_to_be_none(value: Any):
    for of in (asset_of, tags_of, lambda it: page_of(it, offset=0), lambda it: assets_of(it, "results")):
        with suppress(BadAnswer):
            of(value)
    with suppress(BadAnswer):
        asset = asset_of({"asset": {**SPLOOTS, **(value if isinstance(value, dict) else {})}})
        assert asset.name
        assert "/" not in asset.name or asset.name.endswith("/")
        assert asset.score is None or asset.score == asset.score


def test_the_end_of_a_list_is_known_however_it_is_told():
    pagination = {"total": 3, "limit": 1, "offset": 1, "hasMore": False}
    assert page_of({"assets": [SPLOOTS], "pagination": pagination}, offset=1).has_more
    assert not page_of({"assets": [SPLOOTS], "pagination": pagination}, offset=2).has_more
    assert page_of({"assets": [SPLOOTS], "pagination": {"hasMore": True}}, offset=2).has_more
    assert not page_of({"assets": [], "pagination": {"hasMore": True}}, offset=2).has_more
    assert page_of({"assets": [SPLOOTS]}, offset=0).total is None


async def test_a_list_is_asked_for_as_a_sploot_understands_it(shelf: Shelf, sploot: Scripted):
    sploot.always["assets"] = replying(body={"assets": [SPLOOTS], "pagination": {"total": 1}})
    page = await shelf.page(Wanted(is_favorite=True, tag_id="t 1", oldest_first=True), limit=5, offset=10)
    assert [asset.id for asset in page.assets] == ["c1"]
    assert sploot.requests[0].target == (
        "/api/assets?limit=5&offset=10&sortBy=createdAt&sortOrder=asc&favorite=true&tagId=t+1"
    )


async def test_a_wish_that_a_sploot_does_not_know_is_heeded_here(shelf: Shelf, sploot: Scripted):
    results = [{**SPLOOTS, "id": "c1"}, {**SPLOOTS, "id": "c2", "favorite": True}, {**SPLOOTS, "id": "c3", "tags": []}]
    sploot.always["search"] = replying(body={"results": results})
    assert [each.id for each in await shelf.found("x", Wanted(is_favorite=True), limit=9)] == ["c2"]
    assert [each.id for each in await shelf.found("x", Wanted(tag_id="t1"), limit=9)] == ["c1", "c2"]
    assert [each.id for each in await shelf.found("x", Wanted(), limit=2)] == ["c1", "c2"]


async def test_a_change_is_asked_about_once_more(shelf: Shelf, sploot: Scripted):
    answering(sploot, {"asset": {"id": "c1", "favorite": True}}, {"asset": {**SPLOOTS, "favorite": True}})
    asset = await shelf.change("c1", is_favorite=True, tags=None)
    assert asset.is_favorite
    assert [(each.method, each.target) for each in sploot.requests] == [
        ("PATCH", "/api/assets/c1"),
        ("GET", "/api/assets/c1"),
    ]
    assert sploot.requests[0].json() == {"favorite": True}


async def test_where_a_picture_lies_is_asked_once(shelf: Shelf, sploot: Scripted, monkeypatch: pytest.MonkeyPatch):
    answering(sploot, {"asset": SPLOOTS})
    assert await shelf.url("c1") == await shelf.url("c1") == SPLOOTS["blobUrl"]
    assert len(sploot.requests) == 1
    monkeypatch.setattr(shelf_module, "PICTURES_KNOWN_MAX", 1)
    answering(sploot, {"asset": {**SPLOOTS, "id": "c2"}}, {"asset": SPLOOTS})
    await shelf.url("c2")
    await shelf.url("c1")
    assert len(sploot.requests) == 3


async def test_what_is_deleted_goes_softly(shelf: Shelf, sploot: Scripted):
    answering(sploot, {"message": "Asset soft deleted", "asset": {"id": "c1"}})
    await shelf.discard("c1")
    assert [(each.method, each.target) for each in sploot.requests] == [("DELETE", "/api/assets/c1")]


async def test_what_the_server_can_is_asked_once(shelf: Shelf, sploot: Scripted):
    sploot.features = {"similar": "true"}
    assert [await shelf.offers(name) for name in ("similar", "thumbnails", "similar")] == [True, False, True]
    assert sploot.count("limits") == 1


@pytest.mark.parametrize(
    ("reply", "error", "code"),
    [
        (Reply(404, {"error": "Asset not found"}), RequestError, "not_found"),
        (Reply(400, {"error": "Tags must be 50 characters or less"}), RequestError, "refused"),
        (Reply(404, b"<html>", {**HTML, **SIGNED_OUT}), SignedOut, None),
        (Reply(404, {"error": "?"}, SIGNED_OUT), SignedOut, None),
        (Reply(404, b"<html>", HTML), BadAnswer, None),
        (Reply(500, {"error": "Failed"}), ServerFault, None),
        (Reply(200, {"assets": []}), BadAnswer, None),
        (Reply(200, {"asset": {"id": "", "blobUrl": "x"}}), BadAnswer, None),
        (Reply(200, {"asset": {"id": "c1\n", "blobUrl": "x"}}), BadAnswer, None),
        (Reply(200, {"asset": {"id": "c1"}}), BadAnswer, None),
    ],
)
async def test_each_way_to_say_no_is_an_error_of_our_own(
    shelf: Shelf, sploot: Scripted, reply: Reply, error: type[Exception], code: str | None
):
    async def act(_: object) -> Reply:
        return reply

    sploot.script("asset", act)
    with pytest.raises(error) as raised:
        await shelf.asset("c1")
    assert getattr(raised.value, "code", None) == code
