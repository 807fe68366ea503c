"""The names of files: kept, searched, offered for downloads, and harmless."""

import httpx
import pytest
from sploot_server.domain.file_names import split_file_name
from sploot_server.http.range_response import content_disposition
from toy_library import picture


async def add(client: httpx.AsyncClient, text: str, name: str, **form: str) -> str:
    """Upload a picture with an original name, wait until it is searchable, and return its id."""
    sent = await client.post(
        "/api/upload", files={"file": ("0123456789ab.jpg", picture(text))}, data={"originalName": name, **form}
    )
    asset_id: str = sent.json()["asset"]["id"]
    await client.post(f"/api/assets/{asset_id}/generate-embedding")
    return asset_id


async def matched(client: httpx.AsyncClient, query: str) -> dict[str, list[str]]:
    """Return the words of the query that matched, by asset."""
    results = (await client.post("/api/search", json={"query": query})).json()["results"]
    return {each["id"]: each["why"]["words"] for each in results if each["why"]["words"]}


async def test_the_name_and_the_folder_of_a_file_are_kept(client: httpx.AsyncClient) -> None:
    asset_id = await add(client, "a", "from Tom/Größe 🐈.jpg")
    asset = (await client.get(f"/api/assets/{asset_id}")).json()["asset"]
    assert (asset["folder"], asset["filename"]) == ("from Tom", "Größe 🐈.jpg")


async def test_a_search_finds_words_of_the_name_the_folder_and_the_tags(client: httpx.AsyncClient) -> None:
    await add(client, "something else", "plain/other.jpg")
    asset_id = await add(client, "monday again", "reactions/grumpy_walrus-03.jpg", tags='["office"]')
    for query in ("walrus", "reactions", "office", "grumpy office monday"):
        assert await matched(client, query) == {asset_id: query.split()}


async def test_words_do_not_match_across_the_border_of_text_and_name(client: httpx.AsyncClient) -> None:
    await add(client, "big cat", "alogue/x.jpg")
    assert await matched(client, "catalogue") == {}


async def test_a_tag_is_searched_from_its_addition_to_its_removal(client: httpx.AsyncClient) -> None:
    asset_id = await add(client, "monday", "f/x.jpg")
    await client.post(f"/api/assets/{asset_id}/tags", json={"tagNames": ["zebra"]})
    assert await matched(client, "zebra") == {asset_id: ["zebra"]}
    await client.patch(f"/api/assets/{asset_id}", json={"tags": []})
    assert await matched(client, "zebra") == {}


async def test_a_generated_name_is_not_searched(client: httpx.AsyncClient) -> None:
    await add(client, "monday", "f/deadbeefcafe.jpg")
    assert await matched(client, "deadbeef") == {}


@pytest.mark.parametrize(
    ("name", "folder", "filename"),
    [
        ("a/b/c.jpg", "b", "c.jpg"),
        ("c.jpg", "", "c.jpg"),
        ("C:\\x\\c.jpg", "x", "c.jpg"),
        ("/c.jpg", "", "c.jpg"),
        ("fold\u202eer/\u202egpj.exe", "folder", "gpj.exe"),
        ("a\r\nX: y\0/b\x85\u2066\ufeff.jpg", "aX: y", "b.jpg"),
        ("\udcff.jpg", "", "?.jpg"),
        ("f/\u202e", "f", "untitled"),
        ("", "", "untitled"),
    ],
)
def test_a_name_from_a_client_is_made_harmless(name: str, folder: str, filename: str) -> None:
    assert split_file_name(name) == (folder, filename)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("grumpy cat.jpg", 'inline; filename="grumpy cat.jpg"'),
        ('50% "off".jpg', "inline; filename=\"50_ _off_.jpg\"; filename*=UTF-8''50%25%20%22off%22.jpg"),
        ("Größe.jpg", "inline; filename=\"Gr__e.jpg\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe.jpg"),
    ],
)
async def test_a_download_has_the_name_of_the_file(client: httpx.AsyncClient, name: str, header: str) -> None:
    assert content_disposition(name) == header
    asset_id = await add(client, "a", f"folder/{name}")
    assert (await client.get(f"/api/assets/{asset_id}/original")).headers["content-disposition"] == header
