"""What a search answers: one result for what is the same, pages, filters, and why."""

from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from toy_library import picture


async def made(client: httpx.AsyncClient, text: str, *, mime: str = "image/jpeg") -> str:
    """A picture that is ready, of a type that its first bytes say."""
    content = picture(text)
    sent = await client.post("/api/upload", files={"file": ("x.jpg", content, mime)})
    asset_id: str = sent.json()["asset"]["id"]
    await client.post(f"/api/assets/{asset_id}/generate-embedding")
    return asset_id


async def search(client: httpx.AsyncClient, query: str, **options: object) -> dict[str, Any]:
    answer = await client.post("/api/search", json={"query": query, **options})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ids(found: dict[str, Any]) -> Sequence[str]:
    return [each["id"] for each in found["results"]]


async def test_near_duplicates_are_one_result_with_the_others_behind_it(client: httpx.AsyncClient) -> None:
    first, second, third = [await made(client, f"drake prefers{'  ' * copy} naps") for copy in (1, 2, 3)]
    other = await made(client, "drake prefers meetings")
    found = await search(client, "drake prefers naps")
    assert ids(found) == [first, other]
    assert sorted(found["results"][0]["others"]) == sorted([second, third])
    assert found["results"][1]["others"] == []


async def test_the_others_stay_when_the_first_of_them_goes(client: httpx.AsyncClient) -> None:
    first, second = [await made(client, f"drake prefers{'  ' * copy} naps") for copy in (1, 2)]
    await client.delete(f"/api/assets/{first}")
    found = await search(client, "drake prefers naps")
    assert (ids(found), found["results"][0]["others"]) == ([second], [])
    await client.delete(f"/api/assets/{second}", params={"permanent": "true"})
    assert ids(await search(client, "drake prefers naps")) == []


async def test_similar_gives_near_duplicates_then_the_nearest(client: httpx.AsyncClient) -> None:
    first, second = [await made(client, f"drake prefers{'  ' * copy} naps") for copy in (1, 2)]
    near = await made(client, "cats prefer naps prefers")
    await made(client, "something else entirely")
    found = (await client.get(f"/api/assets/{second}/similar", params={"limit": 2})).json()
    assert ids(found) == [first, near]
    assert found["results"][0]["similarity"] == 1.0
    assert (found["limit"], found["hasMore"]) == (2, True)
    assert second not in ids((await client.get(f"/api/assets/{second}/similar")).json())


async def test_nothing_is_similar_to_what_is_not_there(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/assets/nobody/similar")).status_code == 404


async def test_pages_follow_each_other_without_gap_or_repetition(client: httpx.AsyncClient) -> None:
    everything = {await made(client, f"word{number} shared banana") for number in range(25)}
    pages = [await search(client, "shared banana", limit=10, offset=offset) for offset in (0, 10, 20, 30)]
    assert [len(page["results"]) for page in pages] == [10, 10, 5, 0]
    assert [page["hasMore"] for page in pages] == [True, True, False, False]
    assert {each for page in pages for each in ids(page)} == everything
    whole = await search(client, "shared banana", limit=25)
    assert [each for page in pages for each in ids(page)] == ids(whole)


async def test_a_search_can_be_narrowed_by_type_and_time(client: httpx.AsyncClient) -> None:
    first, second = await made(client, "one banana"), await made(client, "two banana")
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
        ({"createdAfter": "yesterday"}, "createdAfter must be a time in ISO 8601, as 2026-11-23T08:00:00Z"),
        ({"createdBefore": 5}, "createdBefore must be a time in ISO 8601, as 2026-11-23T08:00:00Z"),
    ],
)
async def test_what_a_search_does_not_understand_is_said(
    client: httpx.AsyncClient, option: dict[str, object], sentence: str
) -> None:
    refused = await client.post("/api/search", json={"query": "x", **option})
    assert (refused.status_code, refused.json()["error"]) == (400, sentence)


async def test_results_say_why(client: httpx.AsyncClient) -> None:
    await made(client, "such wow much doge")
    why = (await search(client, "wow dogge nothing"))["results"][0]["why"]
    assert why["words"] == ["wow", "dogge"]
    assert why["coverage"] == pytest.approx((1 + 0.8) / 3, abs=1e-3)
    assert why["meaning"] > 0
    assert why["picture"] is None
