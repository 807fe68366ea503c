"""The search API: duplicate groups, pages, filters and explanations."""

from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from toy_library import picture


async def add_ready(client: httpx.AsyncClient, text: str, *, mime: str = "image/jpeg") -> str:
    """Add an image with this text and complete its embedding; return its id."""
    response = await client.post("/api/upload", files={"file": ("x.jpg", picture(text), mime)})
    asset_id: str = response.json()["asset"]["id"]
    await client.post(f"/api/assets/{asset_id}/generate-embedding")
    return asset_id


async def search(client: httpx.AsyncClient, query: str, **options: object) -> dict[str, Any]:
    response = await client.post("/api/search", json={"query": query, **options})
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    return page


def ids(page: dict[str, Any]) -> Sequence[str]:
    return [each["id"] for each in page["results"]]


async def test_near_duplicates_are_one_result_that_lists_the_others(client: httpx.AsyncClient) -> None:
    first, second, third = [await add_ready(client, f"drake prefers{'  ' * copy} naps") for copy in (1, 2, 3)]
    other = await add_ready(client, "drake prefers meetings")
    found = await search(client, "drake prefers naps")
    assert ids(found) == [first, other]
    assert sorted(found["results"][0]["nearDuplicates"]) == sorted([second, third])
    assert found["results"][1]["nearDuplicates"] == []


async def test_near_duplicates_remain_when_the_first_of_them_is_deleted(client: httpx.AsyncClient) -> None:
    first, second = [await add_ready(client, f"drake prefers{'  ' * copy} naps") for copy in (1, 2)]
    await client.delete(f"/api/assets/{first}")
    found = await search(client, "drake prefers naps")
    assert (ids(found), found["results"][0]["nearDuplicates"]) == ([second], [])
    await client.delete(f"/api/assets/{second}", params={"permanent": "true"})
    assert ids(await search(client, "drake prefers naps")) == []


async def test_similar_returns_near_duplicates_then_the_nearest(client: httpx.AsyncClient) -> None:
    first, second = [await add_ready(client, f"drake prefers{'  ' * copy} naps") for copy in (1, 2)]
    near = await add_ready(client, "cats prefer naps prefers")
    await add_ready(client, "something else entirely")
    found = (await client.get(f"/api/assets/{second}/similar", params={"limit": 2})).json()
    assert ids(found) == [first, near]
    assert found["results"][0]["similarity"] == 1.0
    assert (found["limit"], found["hasMore"]) == (2, True)
    assert second not in ids((await client.get(f"/api/assets/{second}/similar")).json())


async def test_similar_to_an_unknown_asset_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/assets/unknown/similar")).status_code == 404


async def test_pages_are_contiguous_and_do_not_overlap(client: httpx.AsyncClient) -> None:
    expected = {await add_ready(client, f"word{number} shared banana") for number in range(25)}
    pages = [await search(client, "shared banana", limit=10, offset=offset) for offset in (0, 10, 20, 30)]
    assert [len(page["results"]) for page in pages] == [10, 10, 5, 0]
    assert [page["hasMore"] for page in pages] == [True, True, False, False]
    assert {each for page in pages for each in ids(page)} == expected
    whole = await search(client, "shared banana", limit=25)
    assert [each for page in pages for each in ids(page)] == ids(whole)


async def test_a_search_can_be_filtered_by_type_and_time(client: httpx.AsyncClient) -> None:
    first, second = await add_ready(client, "one banana"), await add_ready(client, "two banana")
    at = [(await client.get(f"/api/assets/{each}")).json()["asset"]["createdAt"] for each in (first, second)]
    assert ids(await search(client, "banana", mime="image/png")) == []
    assert set(ids(await search(client, "banana", mime="image/jpeg"))) == {first, second}
    assert set(ids(await search(client, "banana", createdAfter=at[0]))) == {first, second}
    assert second in ids(await search(client, "banana", createdAfter=at[1]))
    assert ids(await search(client, "banana", createdBefore=at[0])) == []
    assert ids(await search(client, "banana", createdAfter="2999-01-01")) == []
    assert len(ids(await search(client, "banana", createdBefore="2999-01-01T00:00:00+02:00"))) == 2


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"offset": -1}, "offset must be a whole number from 0 to 1000"),
        ({"offset": 1001}, "offset must be a whole number from 0 to 1000"),
        ({"mime": 1}, "mime must be a string"),
        ({"favorite": "yes"}, "favorite must be true or false"),
        ({"createdAfter": "yesterday"}, "createdAfter must be an ISO 8601 time, for example 2026-11-23T08:00:00Z"),
        ({"createdBefore": 5}, "createdBefore must be an ISO 8601 time, for example 2026-11-23T08:00:00Z"),
    ],
)
async def test_an_invalid_option_is_refused(
    client: httpx.AsyncClient, option: dict[str, object], sentence: str
) -> None:
    response = await client.post("/api/search", json={"query": "x", **option})
    assert (response.status_code, response.json()["error"]) == (400, sentence)


async def test_results_explain_their_score(client: httpx.AsyncClient) -> None:
    await add_ready(client, "such wow much doge")
    why = (await search(client, "wow dogge nothing"))["results"][0]["why"]
    assert why["words"] == ["wow", "dogge"]
    assert why["coverage"] == pytest.approx((1 + 0.8) / 3, abs=1e-3)
    assert why["meaning"] > 0
    assert why["picture"] is None
