"""The library routes of the web UI: an HTTP client, the daemon's proxy, and a real library server."""

import asyncio
from pathlib import Path
from urllib.parse import quote

import pytest
from control_fixtures import serve_control_api
from http_probe import Browser
from pipeline_fixtures import JumpClock
from scripted_sploot import ScriptedSploot, reply_with
from toy_library import END, picture
from web_library import LIMITS, NAMES, WebLibrary

from splootd import protocol
from splootd.credentials import Credentials
from splootd.remote import image_proxy
from splootd.remote.client import SplootClient
from splootd.remote.responses import Match


async def test_the_library_is_listed_newest_first_and_page_by_page(web_library: WebLibrary):
    reply = await web_library.browser.get("/v1/library?limit=2")
    assert (web_library.names(reply.json["assets"]), reply.json["total"], reply.json["has_more"]) == (
        ["cat in a box", "dog in a bath"],
        3,
        True,
    )
    rest = await web_library.browser.get("/v1/library?limit=2&offset=2")
    assert (web_library.names(rest.json["assets"]), rest.json["has_more"]) == (["cat on a keyboard"], False)
    assert web_library.names(await web_library.assets("?sort=oldest")) == list(NAMES)
    asset = reply.json["assets"][0]
    assert set(asset) == {
        *("id", "name", "mime", "width", "height", "size", "favorite", "tags", "templates", "created_at"),
        *(
            "state",
            "score",
            "text",
            "matched_words",
            "reason",
            "path",
            "link",
            "near_duplicate_count",
            "folder",
            "deleted_at",
        ),
    }
    assert (asset["mime"], asset["size"], asset["favorite"], asset["tags"]) == (
        "image/jpeg",
        len(picture("cat in a box") + END),
        False,
        [],
    )
    assert (asset["state"], asset["link"], asset["text"]) == ("ready", None, "cat in a box")
    one = await web_library.get("cat in a box")
    assert one.json["asset"] == asset


async def test_search_results_are_ordered_by_score(web_library: WebLibrary):
    assets = await web_library.assets("?text=dog%20bath")
    assert web_library.names(assets)[0] == "dog in a bath"
    scores = [asset["score"] for asset in assets]
    assert scores == sorted(scores, reverse=True)
    assert "dog" in assets[0]["text"]
    assert (await web_library.assets("?text=dog&offset=50")) == []


async def test_a_list_is_sorted_and_filtered(web_library: WebLibrary):
    box, bath, keyboard = "cat in a box", "dog in a bath", "cat on a keyboard"
    await web_library.browser.change("PATCH", f"/v1/library/{web_library.ids[box]}", {"tags": ["cat"]})
    copied = await web_library.browser.change("POST", f"/v1/library/{web_library.ids[bath]}/copied")
    assert copied.status == 200
    folder = web_library.control_api.folder.name
    for query, expected in [
        ("?sort=largest", [keyboard, bath, box]),
        ("?sort=copied", [bath, box, keyboard]),
        ("?kind=untagged", [bath, keyboard]),
        ("?kind=gif", []),
        ("?kind=no_text", []),
        (f"?folder={folder}", [box, bath, keyboard]),
        ("?folder=other", []),
        ("?before=2020-01-01T00:00:00Z", []),
        ("?after=2020-01-01T00:00:00Z", [box, bath, keyboard]),
        ("?text=cat&kind=untagged", [keyboard]),
        ("?trash=true", []),
        (f"?group={web_library.ids[box]}", [box]),
    ]:
        assert web_library.names(await web_library.assets(query)) == expected, query
    shuffled = [await web_library.assets(f"?sort=shuffle&seed={seed}") for seed in (5, 5)]
    assert shuffled[0] == shuffled[1]
    reply = await web_library.browser.get("/v1/library/folders")
    assert reply.json == {"folders": [{"name": folder, "count": 3}]}


async def test_a_plain_sploot_says_what_it_cannot_do(web_library: WebLibrary):
    web_library.server.last_limits = LIMITS
    reply = await web_library.browser.get("/v1/library?sort=oldest&favorite=true")
    assert (reply.status, set(reply.json["features"].values())) == (200, {False})
    for query in (
        "?sort=shuffle",
        "?kind=gif",
        "?text=cat&folder=a",
        "?trash=true",
        "?group=a",
        "/folders",
        "/templates",
    ):
        reply = await web_library.browser.get(f"/v1/library{query}")
        assert (reply.status, reply.json["code"]) == (404, "not_supported"), query


async def test_a_search_without_a_match_names_the_nearest(web_library: WebLibrary):
    reply = await web_library.browser.get("/v1/library?text=dog%20bath")
    assert (web_library.names(reply.json["assets"])[0], reply.json["nearest"]) == ("dog in a bath", [])
    reply = await web_library.browser.get("/v1/library?text=xylophone")
    assert (reply.json["assets"], reply.json["total"], reply.json["has_more"]) == ([], 0, False)
    assert {asset["id"] for asset in reply.json["nearest"]} <= set(web_library.ids.values())


async def test_a_file_of_the_queue_is_shown_in_the_file_manager(
    web_library: WebLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    calls = tmp_path / "calls"
    for name, status in (("dbus-send", 1), ("xdg-open", 0)):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\necho {name} "$@" >> {calls}\nexit {status}\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    name = "cat in a box"
    path = await web_library.queue(name)
    for other in ("dog in a bath", None):  # in the library, but not in the queue; in neither
        asset_id = web_library.ids[other] if other else "unknown"
        reply = await web_library.browser.change("POST", f"/v1/library/{asset_id}/reveal")
        assert (reply.status, reply.json["code"]) == (404, "no_file")
    assert (await web_library.browser.change("POST", f"/v1/library/{web_library.ids[name]}/reveal")).status == 200
    [selected, opened] = calls.read_text().splitlines()
    assert "org.freedesktop.FileManager1.ShowItems" in selected
    assert f"array:string:file://{quote(str(path))} string:" in selected
    assert opened == f"xdg-open {path.parent}"
    path.unlink()
    reply = await web_library.browser.change("POST", f"/v1/library/{web_library.ids[name]}/reveal")
    assert (reply.status, "no longer there" in reply.json["title"]) == (404, True)


async def test_an_asset_has_the_name_of_its_local_file(web_library: WebLibrary):
    name = "cat in a box"
    await web_library.queue(name)
    assets = {asset["id"]: asset for asset in await web_library.assets()}
    local, other = assets[web_library.ids[name]], assets[web_library.ids["dog in a bath"]]
    assert (local["name"], local["path"]) == (f"{name}.jpg", str(web_library.control_api.folder / f"{name}.jpg"))
    assert other["path"] is None


async def test_tags_and_favourites_are_saved_and_filter_the_list(web_library: WebLibrary):
    asset_id = web_library.ids["dog in a bath"]
    reply = await web_library.browser.change(
        "PATCH", f"/v1/library/{asset_id}", {"favorite": True, "tags": ["wet", " dog "]}
    )
    assert reply.status == 200
    assert (reply.json["asset"]["id"], reply.json["asset"]["favorite"]) == (asset_id, True)
    assert {tag["name"] for tag in reply.json["asset"]["tags"]} == {"wet", "dog"}
    tags = {tag["name"]: tag for tag in (await web_library.browser.get("/v1/library/tags")).json["tags"]}
    assert {name: tag["count"] for name, tag in tags.items()} == {"wet": 1, "dog": 1}
    for query in ("?favorite=true", f"?tag={tags['wet']['id']}", f"?text=bath&tag={tags['wet']['id']}"):
        assert web_library.names(await web_library.assets(query)) == ["dog in a bath"], query
    assert web_library.names(await web_library.assets("?text=bath&favorite=true")) == ["dog in a bath"]
    reply = await web_library.browser.change("PATCH", f"/v1/library/{asset_id}", {"tags": []})
    assert (reply.json["asset"]["favorite"], reply.json["asset"]["tags"]) == (True, [])


async def test_a_named_template_names_all_that_share_it_and_filters_the_list(web_library: WebLibrary):
    path = f"/v1/library/{web_library.ids['cat on a keyboard']}/template"
    reply = await web_library.browser.change("PUT", path, {"name": "Busy Cat"})
    assert (reply.status, reply.json["asset"]["templates"]) == (200, ["Busy Cat"])
    async with asyncio.timeout(30):
        while len(await web_library.assets("?template=busy%20cat")) < 2:  # the library compares them meanwhile
            pass
    cats = ["cat in a box", "cat on a keyboard"]
    assert web_library.names(await web_library.assets("?template=Busy%20Cat")) == cats
    assert sorted(web_library.names(await web_library.assets("?text=cat&template=busy%20cat"))) == cats
    assert (await web_library.browser.get("/v1/library")).json["features"]["templates"] is True
    reply = await web_library.browser.get("/v1/library/templates")
    assert reply.json == {"templates": [{"name": "Busy Cat", "count": 2}]}
    for body in (b"{}", b"[]", b'{"name": " "}', b'{"name": "' + b"x" * 201 + b'"}'):
        reply = await web_library.browser.change("PUT", path, body)
        assert (reply.status, reply.json["code"]) == (400, "malformed"), body


async def test_an_invalid_change_is_rejected(web_library: WebLibrary):
    before = await web_library.assets()
    for body in (
        *(b"", b"{", b"[]", b"7", b'{"favorite": 1}', b'{"tags": "cat"}', b'{"tags": [1]}', b'{"tags": [""]}'),
        b'{"tags": ["' + b"x" * 201 + b'"]}',
        b'{"tags": [' + b'"a",' * 20 + b'"a"]}',
    ):
        reply = await web_library.browser.change("PATCH", f"/v1/library/{web_library.ids['dog in a bath']}", body)
        assert (reply.status, reply.json["code"]) == (400, "malformed"), body
    assert await web_library.assets() == before


async def test_a_deleted_asset_is_no_longer_listed(web_library: WebLibrary):
    asset_id = web_library.ids["dog in a bath"]
    assert (await web_library.browser.change("DELETE", f"/v1/library/{asset_id}")).status == 200
    assert web_library.names(await web_library.assets()) == ["cat in a box", "cat on a keyboard"]
    again = await web_library.browser.change("DELETE", "/v1/library/nothing")
    assert (again.status, again.json["code"]) == (404, "not_found")


async def test_changes_from_other_origins_are_rejected(web_library: WebLibrary):
    asset_id = web_library.ids["dog in a bath"]
    for method in ("DELETE", "PATCH"):
        reply = await web_library.browser.change(method, f"/v1/library/{asset_id}", {}, Origin="http://evil.example")
        assert reply.status == 403
        assert (await web_library.browser.request(method, f"/v1/library/{asset_id}", b"{}")).status == 403
    assert len(await web_library.assets()) == 3


async def test_similar_assets_are_found_if_the_server_supports_it(web_library: WebLibrary):
    reply = await web_library.browser.get("/v1/library")
    assert reply.json["features"]["similar"] is True
    similar = await web_library.get("cat in a box", "/similar")
    assert similar.status == 200
    assert web_library.names(similar.json["assets"])[0] == "cat on a keyboard"
    web_library.server.last_limits = LIMITS
    rejected = await web_library.get("cat in a box", "/similar")
    assert (rejected.status, rejected.json["code"]) == (404, "not_supported")


async def test_an_image_is_served_with_headers_that_forbid_anything_else(web_library: WebLibrary):
    reply = await web_library.get("dog in a bath", "/original")
    assert (reply.status, reply.headers["content-type"], reply.body) == (
        200,
        "image/jpeg",
        picture("dog in a bath") + END,
    )
    assert reply.headers["content-length"] == str(len(reply.body))
    assert reply.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cross-origin-resource-policy"] == "same-origin"
    assert reply.headers["cache-control"].startswith("private")
    cached = await web_library.get("dog in a bath", "/original", If_None_Match=reply.headers["etag"])
    assert (cached.status, cached.body) == (304, b"")
    assert (await web_library.get("dog in a bath", "/thumbnail?size=128")).headers["content-type"].startswith("image/")
    missing = await web_library.browser.get("/v1/library/nothing/original")
    assert (missing.status, missing.json["code"]) == (404, "not_found")


async def test_a_part_of_an_original_is_served_as_players_ask_for_it(
    web_library: WebLibrary, monkeypatch: pytest.MonkeyPatch
):
    content = picture("dog in a bath") + END
    monkeypatch.setattr(image_proxy, "PART_BYTES_MAX", 8)
    for wanted, start, stop in (("bytes=4-9", 4, 10), ("bytes=4-", 4, 12), ("bytes=0-", 0, 8)):
        reply = await web_library.get("dog in a bath", "/original", Range=wanted)
        assert (reply.status, reply.headers["content-type"], reply.body) == (206, "image/jpeg", content[start:stop])
        assert reply.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(content)}"
        assert reply.headers["content-security-policy"] == "sandbox; default-src 'none'"
    for whole in ("bytes=-4", f"bytes={len(content)}-", "bytes=0-1,3-4"):
        assert (await web_library.get("dog in a bath", "/original", Range=whole)).body == content


async def test_a_head_request_returns_the_headers_of_the_image(web_library: WebLibrary):
    reply = await web_library.browser.request("HEAD", f"/v1/library/{web_library.ids['dog in a bath']}/original")
    assert (reply.status, reply.headers["content-type"], reply.body) == (200, "image/jpeg", b"")


async def test_an_asset_id_cannot_address_another_route(web_library: WebLibrary):
    for asset_id in ("..", "%2e%2e", "a%2Fb", "a%0d%0ab", "%E2%80%AE", "x" * 300):
        for method, rest in (("DELETE", ""), ("GET", "/original"), ("GET", "/thumbnail"), ("GET", "/similar")):
            reply = await web_library.browser.change(method, f"/v1/library/{asset_id}{rest}")
            assert reply.status in (404, 405), (asset_id, rest)
    assert len(await web_library.assets()) == 3


async def test_invalid_query_parameters_are_rejected(web_library: WebLibrary):
    for query in ("?limit=x", "?offset=-1", "?sort=best", f"?text={'x' * 501}", "?limit=%D9%A1"):
        reply = await web_library.browser.get(f"/v1/library{query}")
        assert (reply.status, reply.headers["content-type"]) == (400, "application/problem+json"), query


async def test_search_results_link_to_the_web_ui_when_it_is_open(web_library: WebLibrary):
    _, _, found = await web_library.control_api.http("GET", "/v1/search?text=dog")
    (best, *_) = found["hits"]
    assert best["url"] == f"{web_library.browser.origin}/v1/library/{best['asset_id']}/original"
    assert (await web_library.browser.get(best["url"].removeprefix(web_library.browser.origin))).status == 200


async def test_a_login_url_can_open_one_image(web_library: WebLibrary):
    asset_id = web_library.ids["cat in a box"]
    ui_url = await web_library.control_api.request(protocol.OpenUi(asset=asset_id), protocol.UiUrl)
    new_browser = Browser(web_library.browser.port)
    login = await new_browser.get(ui_url.url.removeprefix(new_browser.origin))
    assert (login.status, login.headers["location"]) == (303, f"/v1/library/{asset_id}/original")
    new_browser.cookie = login.headers["set-cookie"].partition(";")[0]
    assert (await new_browser.get(login.headers["location"])).headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize("asset_id", ["//evil.example/", "https://evil.example", "../../static/app.js", "\r\nx: y", ""])
async def test_a_login_url_redirects_only_to_images(web_library: WebLibrary, asset_id: str):
    ui_url = await web_library.control_api.request(protocol.OpenUi(asset=asset_id), protocol.UiUrl)
    login = await web_library.browser.get(ui_url.url.removeprefix(web_library.browser.origin))
    assert login.headers["location"] == f"/v1/library/{quote(asset_id, safe='')}/original"


@pytest.mark.parametrize("is_server_url", [True, False])
async def test_images_that_need_the_token_are_linked_through_the_web_ui(tmp_path: Path, is_server_url: bool):
    """A server may require a token for its own images, which a browser does not have; images elsewhere are public."""
    url = "http://library.example"
    async with serve_control_api(tmp_path, url=f"{url}/") as control_api:
        picture_url = f"{url if is_server_url else 'https://store.example'}/api/assets/a/original"
        control_api.library.matches = [Match("a", 0.5, picture_url, None)]
        for is_open in (False, True):
            if is_open:
                await control_api.web_ui.create_login_url(reset=False)
            _, _, found = await control_api.http("GET", "/v1/search?text=dog")
            web_ui_url = f"{control_api.web_ui.origin}/v1/library/a/original"
            assert found["hits"][0]["url"] == (web_ui_url if is_server_url and is_open else picture_url)


async def test_an_unreachable_library_is_reported(tmp_path: Path):
    server = SplootClient(
        "local", credentials=Credentials(tmp_path / "t", JumpClock()), connections=4, socket=tmp_path / "s"
    )
    async with serve_control_api(tmp_path, server=server) as control_api:
        browser = await Browser.sign_in(control_api.web_ui)
        for path in ("/v1/library", "/v1/library?text=x", "/v1/library/tags", "/v1/library/a/original"):
            reply = await browser.get(path)
            assert (reply.status, reply.json["code"]) == (502, "unreachable"), path
        _, _, found = await control_api.http("GET", "/v1/status")
        assert found["daemon"]["state"] == "running"
    await server.close()


async def test_an_interrupted_image_is_shorter_than_its_content_length(tmp_path: Path):
    sploot = ScriptedSploot()
    content = b"\x89PNG\r\n\x1a\n" + b"p" * 500_000
    async with sploot.serve() as url:
        asset = {"id": "a", "blobUrl": f"{url}/api/assets/a/original"}
        interrupted = reply_with(200, content, {"content-type": "image/png"}, cut=300_000)
        sploot.script("asset", reply_with(body={"asset": asset}), interrupted)
        server = SplootClient(url, credentials=Credentials(tmp_path / "t", JumpClock()), connections=4)
        async with serve_control_api(tmp_path, server=server, url=url) as control_api:
            browser = await Browser.sign_in(control_api.web_ui)
            reply = await browser.get("/v1/library/a/original")
            assert (reply.status, reply.headers["content-length"]) == (200, str(len(content)))
            assert len(reply.body) < len(content)
            assert (await browser.get("/v1/status")).status == 200
        await server.close()
