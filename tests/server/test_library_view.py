"""The protocol of the library at `/v1/library`: the same requests that the daemon answers for its own page."""

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from live_library import LiveLibrary, live_library
from toy_library import picture

ROOT = Path(__file__).parents[2]
JSDOC = ROOT / "web" / "sploot_web" / "library" / "asset.js"
ROUTE = re.compile(r'\("(/v1/library[^"]*)", [\w.]+, "([A-Z]+)"\)')


@pytest.fixture
async def library(tmp_path: Path) -> Any:
    async with live_library(tmp_path / "library") as library:
        yield library


async def add(library: LiveLibrary, text: str, name: str = "a.jpg") -> str:
    answer = await library.client.post("/api/upload", files={"file": (name, picture(text), "image/jpeg")})
    asset_id = str(answer.json()["asset"]["id"])
    await library.wait_until_ready(asset_id)
    return asset_id


async def rows(client: httpx.AsyncClient, **query: str) -> list[str]:
    return [row["id"] for row in (await client.get("/v1/library", params=query)).json()["assets"]]


async def test_a_row_has_the_fields_that_the_page_declares(library: LiveLibrary) -> None:
    await add(library, "grumpy cat", "Grumpy.jpg")
    page = (await library.client.get("/v1/library")).json()
    asset_type, _, rest = JSDOC.read_text("utf-8").partition("@typedef {object} AssetPage")
    page_type, _, features = rest.partition("@typedef {object} Features")
    required = r"@property \{.*\} (\w+)(?: |$)"  # not [optional]
    assert set(re.findall(required, asset_type, re.MULTILINE)) <= set(page["assets"][0])
    assert set(re.findall(required, page_type, re.MULTILINE)) <= set(page)
    assert {"similar", "sorts"} <= set(re.findall(r"@property \{boolean\} \[?(\w+)", features)) & set(page["features"])
    assert (page["assets"][0]["name"], page["total"], page["has_more"]) == ("Grumpy.jpg", 1, False)


async def test_the_list_is_filtered_sorted_and_paged(library: LiveLibrary) -> None:
    client = library.client
    first, second = await add(library, "one"), await add(library, "two")
    assert await rows(client) == [second, first]
    assert await rows(client, sort="oldest") == [first, second]
    assert await rows(client, limit="1", offset="1") == [first]
    assert (await client.get("/v1/library", params={"limit": "1"})).json()["has_more"] is True
    changed = (await client.patch(f"/v1/library/{first}", json={"favorite": True, "tags": ["Cats"]})).json()["asset"]
    assert (changed["favorite"], [tag["name"] for tag in changed["tags"]]) == (True, ["Cats"])
    assert await rows(client, favorite="true") == [first]
    [tag] = (await client.get("/v1/library/tags")).json()["tags"]
    assert (tag["name"], tag["count"], await rows(client, tag=tag["id"])) == ("Cats", 1, [first])
    assert await rows(client, before="2020-01-01") == []
    assert await rows(client, kind="untagged") == [second]
    assert (await client.post(f"/v1/library/{first}/copied")).status_code == 200
    assert await rows(client, sort="copied") == [first, second]
    assert sorted(await rows(client, sort="shuffle", seed="7")) == sorted([first, second])
    assert (await client.get("/v1/library", params={"sort": "ugliest"})).status_code == 400


async def test_a_search_shows_what_is_close_and_otherwise_the_nearest(library: LiveLibrary) -> None:
    cat, _ = await add(library, "grumpy cat"), await add(library, "happy dog")
    found = (await library.client.get("/v1/library", params={"text": "grumpy cat"})).json()
    assert (found["assets"][0]["id"], found["assets"][0]["text"], found["nearest"]) == (cat, "grumpy cat", [])
    assert "grumpy" in found["assets"][0]["matched_words"]
    none = (await library.client.get("/v1/library", params={"text": "xylophone"})).json()
    assert (none["assets"], none["total"], bool(none["nearest"])) == ([], 0, True)
    similar = (await library.client.get(f"/v1/library/{cat}/similar")).json()
    assert cat not in [row["id"] for row in similar["assets"]]


async def test_many_are_changed_at_once_and_missing_ones_are_left_out(library: LiveLibrary) -> None:
    client = library.client
    ids = [await add(library, text) for text in ("one", "two", "three")]

    async def change(**fields: Any) -> httpx.Response:
        return await client.post("/v1/library/changes", json={"ids": [*ids, "cunknown"], **fields})

    assert (await change(favorite=True, add_tags=["cat", "dog"])).json() == {"changed": ids}
    assert (await change(remove_tags=["CAT"], add_tags=["new"])).json() == {"changed": ids}
    row = (await client.get(f"/v1/library/{ids[0]}")).json()["asset"]
    assert (row["favorite"], sorted(tag["name"] for tag in row["tags"])) == (True, ["dog", "new"])
    assert (await change(delete=True)).json() == {"changed": ids}
    assert await rows(client) == []
    assert await rows(client, trash="true") != []
    assert (await change(restore=True)).json() == {"changed": ids}
    assert len(await rows(client)) == 3
    assert (await change(delete=True, purge=True)).status_code == 400
    assert (await change(delete="yes")).status_code == 400
    assert (await client.post("/v1/library/changes", json={"ids": []})).status_code == 400


async def test_tags_are_renamed_and_deleted_and_duplicates_listed(library: LiveLibrary) -> None:
    client = library.client
    first, second = await add(library, "drake prefers naps"), await add(library, "drake prefers  naps")
    await client.patch(f"/v1/library/{first}", json={"tags": ["old"]})
    [tag] = (await client.get("/v1/library/tags")).json()["tags"]
    renamed = await client.patch(f"/v1/library/tags/{tag['id']}", json={"name": "new"})
    assert renamed.json() == {"tag": {"id": tag["id"], "name": "new"}}
    assert (await client.delete(f"/v1/library/tags/{tag['id']}")).status_code == 200
    assert (await client.get("/v1/library/tags")).json() == {"tags": []}
    [group] = (await client.get("/v1/library/duplicates")).json()["groups"]
    assert (sorted(row["id"] for row in group["assets"]), group["count"]) == (sorted([first, second]), 2)
    assert group["best"] in (first, second)
    assert await rows(client, group=first) == [second, first]


async def test_several_originals_come_in_one_zip_file_under_distinct_names(library: LiveLibrary) -> None:
    ids = [await add(library, text, name) for text, name in (("one", "cat.jpg"), ("two", "Cat.jpg"), ("3", "ü.jpg"))]
    answer = await library.client.get("/v1/library/zip", params={"ids": ",".join(ids)})
    assert answer.headers["content-disposition"] == 'attachment; filename="sploot.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        contents = {name: archive.read(name) for name in archive.namelist()}
    assert contents == {"cat.jpg": picture("one"), "Cat (2).jpg": picture("two"), "ü.jpg": picture("3")}
    some = await library.client.get("/v1/library/zip", params={"ids": f"{ids[0]},cunknown"})
    assert zipfile.ZipFile(io.BytesIO(some.content)).namelist() == ["cat.jpg"], (
        "a picture deleted meanwhile is left out"
    )


async def test_a_picture_without_a_thumbnail_is_shown_itself_and_never_as_a_page(library: LiveLibrary) -> None:
    asset_id = await add(library, "broken")
    for path in ("thumbnail", "original"):
        shown = await library.client.get(f"/v1/library/{asset_id}/{path}")
        assert (shown.content, shown.headers["content-type"]) == (picture("broken"), "image/jpeg")
        assert shown.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert shown.headers["x-content-type-options"] == "nosniff"
        assert shown.headers["cross-origin-resource-policy"] == "same-origin"


async def test_a_file_of_code_is_not_accepted_as_a_picture(library: LiveLibrary) -> None:
    for content in (
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"<!doctype html><script>1</script>",
    ):
        files = {"file": ("cat.svg", content, "image/svg+xml")}
        assert (await library.client.post("/api/upload", files=files)).status_code == 400


def test_both_hosts_of_the_page_answer_the_same_requests() -> None:
    server, daemon = (
        set(ROUTE.findall((ROOT / file).read_text("utf-8")))
        for file in ("server/sploot_server/http/routes/library_view.py", "splootd/web/library_proxy.py")
    )
    assert daemon - server == {("/v1/library/{id}/reveal", "POST")}  # the file manager of the user's own computer
    assert server <= daemon


async def test_links_are_listed_until_sharing_stops(library: LiveLibrary) -> None:
    client = library.client
    shared = await add(library, "grumpy cat")
    await add(library, "private")
    url = (await client.post(f"/v1/library/{shared}/share", json={"days": 7})).json()["url"]
    [link] = (await client.get("/v1/library/links")).json()["links"]
    assert (link["url"], link["asset"]["id"]) == (url, shared)
    await client.delete(f"/v1/library/{shared}/share")
    assert (await client.get("/v1/library/links")).json()["links"] == []


async def test_a_template_is_named_on_a_picture_and_lists_those_that_show_it(library: LiveLibrary) -> None:
    client = library.client
    named, _ = await add(library, "one does not simply"), await add(library, "another")
    answer = await client.put(f"/v1/library/{named}/template", json={"name": "Boromir"})
    assert answer.json()["asset"]["templates"] == ["Boromir"]
    assert await rows(client, template="boromir") == [named]
    listed = (await client.get("/v1/library/templates")).json()
    assert listed == {"templates": [{"name": "Boromir", "count": 1}]}
    assert (await client.put(f"/v1/library/{named}/template", json={})).status_code == 400
