"""Many assets at once by the web UI's routes: changes, trash, zip, tags, duplicates and links, on a real server."""

import io
import zipfile
from typing import Any

import pytest
from http_probe import Browser, Reply
from toy_library import END, picture
from web_library import LIMITS, NAMES, WebLibrary, uploaded

from splootd.core.limits import Limits
from splootd.web.library_params import CHANGES_MAX
from splootd.web.library_zip import MISSING_NAME, UniqueNames

BOX, BATH, KEYBOARD = "cat in a box", "dog in a bath", "cat on a keyboard"


async def change(library: WebLibrary, *names: str, **changes: Any) -> set[str]:
    body = {"ids": [library.ids.get(name, name) for name in names], **changes}
    reply = await library.browser.change("POST", "/v1/library/changes", body)
    assert reply.status == 200, reply.body
    names_by_id = {asset_id: name for name, asset_id in library.ids.items()}
    return {names_by_id[asset_id] for asset_id in reply.json["changed"]}


async def tags_of(library: WebLibrary, name: str) -> set[str]:
    return {tag["name"] for tag in (await library.get(name)).json["asset"]["tags"]}


@pytest.mark.parametrize("is_plain", [False, True], ids=["sploot-server", "plain Sploot"])
async def test_tags_and_favourites_of_many_assets_are_changed(web_library: WebLibrary, is_plain: bool):
    if is_plain:
        web_library.server.last_limits = LIMITS
    assert await change(web_library, BOX, BATH, "unknown", favorite=True, add_tags=["pet", "wet"]) == {BOX, BATH}
    assert await change(web_library, BOX, remove_tags=["WET"], add_tags=["dry"]) == {BOX}
    assert (await tags_of(web_library, BOX), await tags_of(web_library, BATH)) == ({"pet", "dry"}, {"pet", "wet"})
    assert web_library.names(await web_library.assets("?favorite=true")) == [BATH, BOX][::-1]
    assert await change(web_library, KEYBOARD, delete=True) == {KEYBOARD}
    assert web_library.names(await web_library.assets()) == [BOX, BATH]
    reply = await web_library.browser.change("POST", "/v1/library/changes", {"ids": [], "restore": True})
    assert reply.status == (404 if is_plain else 200)


async def test_the_trash_is_listed_restored_and_purged(web_library: WebLibrary):
    await change(web_library, *NAMES, delete=True)
    assert await web_library.assets() == []
    trash = await web_library.assets("?trash=true")
    assert set(web_library.names(trash)) == set(NAMES)
    assert all(asset["deleted_at"] for asset in trash)
    assert await change(web_library, BOX, restore=True) == {BOX}
    assert await change(web_library, BOX, BATH, purge=True) == {BATH}, "only what is in the trash is purged"
    assert web_library.names(await web_library.assets("?trash=true")) == [KEYBOARD]
    assert web_library.names(await web_library.assets()) == [BOX]


async def test_an_invalid_change_of_many_is_rejected(web_library: WebLibrary):
    for body in (
        {},
        {"ids": "a"},
        {"ids": [1]},
        {"ids": ["a"] * (CHANGES_MAX + 1)},
        {"ids": ["a\n"]},
        {"ids": ["a"], "add_tags": [""]},
        {"ids": ["a"], "favorite": "yes"},
        {"ids": ["a"], "delete": True, "purge": True},
    ):
        reply = await web_library.browser.change("POST", "/v1/library/changes", body)
        assert (reply.status, reply.json["code"]) == (400, "malformed"), body


async def download(library: WebLibrary, *names: str) -> Reply:
    ids = ",".join(library.ids.get(name, name) for name in names)
    return await library.browser.get(f"/v1/library/zip?ids={ids}")


async def test_originals_are_downloaded_as_a_zip_under_their_real_names(web_library: WebLibrary):
    folder = web_library.control_api.folder / "other"
    folder.mkdir()
    web_library.ids["same name"] = await uploaded(web_library.server, folder / f"{BOX}.jpg", "same name")
    reply = await download(web_library, BOX, "same name", BATH)
    assert reply.headers["content-type"] == "application/zip"
    assert reply.headers["content-disposition"].startswith("attachment")
    archive = zipfile.ZipFile(io.BytesIO(reply.body))
    assert archive.testzip() is None
    assert {name: archive.read(name) for name in archive.namelist()} == {
        f"{BOX}.jpg": picture(BOX) + END,
        f"{BOX} (2).jpg": picture("same name") + END,
        f"{BATH}.jpg": picture(BATH) + END,
    }


async def test_a_zip_names_what_it_does_not_include(web_library: WebLibrary):
    (blob,) = [
        path
        for path in (web_library.folder / "blobs").rglob("*")
        if path.is_file() and picture(BATH) in path.read_bytes()
    ]
    blob.unlink()
    archive = zipfile.ZipFile(io.BytesIO((await download(web_library, BATH, BOX, "unknown")).body))
    assert archive.namelist() == [f"{BOX}.jpg", MISSING_NAME]
    assert f"{BATH}.jpg" in archive.read(MISSING_NAME).decode()
    reply = await web_library.browser.get("/v1/library/zip?ids=")
    assert (reply.status, reply.json["code"]) == (400, "malformed")


def test_names_in_an_archive_are_unique_and_stay_in_it():
    names = UniqueNames()
    claimed = [names.claim(name) for name in ("a.jpg", "A.JPG", "a.jpg", "../../x.gif", "a/b.gif", "", "..", "a\nb")]
    assert claimed == ["a.jpg", "A (2).JPG", "a (3).jpg", "_.._x.gif", "a_b.gif", "meme", "meme (2)", "a_b"]


async def test_tags_are_renamed_merged_and_deleted(web_library: WebLibrary):
    await change(web_library, BOX, add_tags=["Cat"])
    await change(web_library, BATH, add_tags=["kitty"])

    async def ids() -> dict[str, str]:
        return {tag["name"]: tag["id"] for tag in (await web_library.browser.get("/v1/library/tags")).json["tags"]}

    path = f"/v1/library/tags/{(await ids())['kitty']}"
    merged = await web_library.browser.change("PATCH", path, {"name": "cat"})
    assert merged.json["tag"] == {"id": (await ids())["cat"], "name": "cat"}
    assert await tags_of(web_library, BATH) == {"cat"}
    for body in ({}, {"name": " "}, {"name": 7}, {"name": "x" * 300}):
        assert (await web_library.browser.change("PATCH", path, body)).status == 400
    assert (await web_library.browser.change("DELETE", f"/v1/library/tags/{(await ids())['cat']}")).status == 200
    assert await ids() == {}
    assert (await web_library.browser.change("DELETE", path)).status == 404


async def test_duplicates_are_listed_with_the_one_to_keep(web_library: WebLibrary):
    reply = await web_library.browser.get("/v1/library/duplicates")
    assert (reply.json["groups"], reply.json["total"], reply.json["has_more"]) == ([], 0, False)
    folder = web_library.control_api.folder
    for number in range(2):
        name = f"twin {number}"
        text = "twins look just the same" + "!" * number
        web_library.ids[name] = await uploaded(web_library.server, folder / f"{name}.jpg", text)
    reply = await web_library.browser.get("/v1/library/duplicates")
    [group] = reply.json["groups"]
    assert web_library.names(group["assets"]) == ["twin 1", "twin 0"], "the one with more bytes first"
    assert (group["best"], group["count"], reply.json["total"]) == (web_library.ids["twin 1"], 2, 1)
    counts = {asset["id"]: asset["near_duplicate_count"] for asset in await web_library.assets()}
    assert (counts[web_library.ids["twin 0"]], counts[web_library.ids[BATH]]) == (1, 0)


async def test_a_local_library_says_what_sharing_needs(web_library: WebLibrary):
    features = (await web_library.browser.get("/v1/library")).json["features"]
    assert (features["share"], features["links"]) == (False, False)
    reply = await web_library.browser.change("POST", f"/v1/library/{web_library.ids[BOX]}/share")
    assert (reply.status, reply.json["code"]) == (400, "not_shareable")


async def test_a_plain_sploot_offers_no_trash_duplicates_or_renaming(web_library: WebLibrary):
    web_library.server.last_limits = Limits(100_000_000, frozenset({"image/jpeg"}))
    browser: Browser = web_library.browser
    for method, path, body in (
        ("GET", "/v1/library/duplicates", {}),
        ("PATCH", "/v1/library/tags/x", {"name": "y"}),
        ("DELETE", "/v1/library/tags/x", {}),
    ):
        reply = await browser.change(method, path, body)
        assert (reply.status, reply.json["code"]) == (404, "not_supported"), path
