"""The library routes of the web UI: an HTTP client, the daemon's proxy, and a real library server."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
import uvicorn
from control_fixtures import ControlApi, serve_control_api
from http_probe import LIMIT_S, Browser, Reply
from pipeline_fixtures import JumpClock
from scripted_sploot import ScriptedSploot, reply_with
from sploot_server.app import create_app
from sploot_server.config import Config as LibraryConfig
from toy_library import END, FakeEmbedder, picture

from splootd import protocol
from splootd.control.http_limits import UvicornServer as HttpServer
from splootd.core.limits import Limits
from splootd.credentials import Credentials
from splootd.file_reader import MemoryBudget, read, stat_version
from splootd.remote.client import SplootClient
from splootd.remote.responses import Match

LIMITS = Limits(100_000_000, frozenset({"image/jpeg"}))
NAMES = ("cat on a keyboard", "dog in a bath", "cat in a box")


@contextlib.asynccontextmanager
async def library(folder: Path, socket: Path) -> AsyncIterator[None]:
    """Run a library server whose fake embedder reads the text of toy pictures."""
    folder.mkdir()  # noqa: ASYNC240 - a short call in a test
    async with create_app(LibraryConfig(data=folder, uds=socket), FakeEmbedder()) as app:
        config = uvicorn.Config(app, uds=str(socket), ws="none", lifespan="off", log_config=None, access_log=False)
        server = HttpServer(config)
        serving = asyncio.ensure_future(server.serve())
        async with asyncio.timeout(LIMIT_S):
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0)
        try:
            yield
        finally:
            server.stop()
            await serving


@dataclass
class WebLibrary:
    """A signed-in browser and a library that contains NAMES; `ids` maps names to asset ids."""

    browser: Browser
    control_api: ControlApi
    server: SplootClient
    ids: dict[str, str]

    async def assets(self, query: str = "") -> list[dict[str, Any]]:
        reply = await self.browser.get(f"/v1/library{query}")
        assert reply.status == 200, reply.body
        assets: list[dict[str, Any]] = reply.json["assets"]
        return assets

    async def get(self, name: str, rest: str = "", **headers: str) -> Reply:
        return await self.browser.get(f"/v1/library/{self.ids[name]}{rest}", **headers)

    def names(self, assets: list[dict[str, Any]]) -> list[str]:
        names_by_id = {asset_id: name for name, asset_id in self.ids.items()}
        return [names_by_id[asset["id"]] for asset in assets]


@pytest_asyncio.fixture
async def web_library(tmp_path: Path) -> AsyncIterator[WebLibrary]:
    socket = tmp_path / "s"
    async with library(tmp_path / "library", socket):
        server = SplootClient(
            "local", credentials=Credentials(tmp_path / "t", JumpClock()), connections=4, socket=socket
        )
        try:
            async with serve_control_api(tmp_path, server=server) as control_api:
                ids = {name: await uploaded(server, control_api.folder / f"{name}.jpg", name) for name in NAMES}
                yield WebLibrary(await Browser.sign_in(control_api.web_ui), control_api, server, ids)
        finally:
            await server.close()


async def uploaded(server: SplootClient, path: Path, text: str) -> str:
    path.write_bytes(picture(text) + END)  # noqa: ASYNC240 - a short call in a test
    raw = os.fsencode(path)
    async with read(raw, stat_version(raw), budget=MemoryBudget(100_000_000), limits=LIMITS) as content:
        asset_id = (await server.upload(content)).asset_id
    async with asyncio.timeout(LIMIT_S):
        while (await server.embedding_status(asset_id)).status == "pending":  # noqa: ASYNC110 - the library has only a status to poll
            await asyncio.sleep(0)
    return asset_id


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
        *("id", "name", "mime", "width", "height", "size", "favorite", "tags", "created_at"),
        *("state", "score", "text", "matched_words", "path", "link", "near_duplicate_count"),
    }
    assert (asset["mime"], asset["size"], asset["favorite"], asset["tags"]) == (
        "image/jpeg",
        len(picture("cat in a box") + END),
        False,
        [],
    )
    assert (asset["state"], asset["link"]) == ("ready", None)


async def test_search_results_are_ordered_by_score(web_library: WebLibrary):
    assets = await web_library.assets("?text=dog%20bath")
    assert web_library.names(assets)[0] == "dog in a bath"
    scores = [asset["score"] for asset in assets]
    assert scores == sorted(scores, reverse=True)
    assert "dog" in assets[0]["text"]
    assert (await web_library.assets("?text=dog&offset=50")) == []


async def test_an_asset_has_the_name_of_its_local_file(web_library: WebLibrary):
    parts, name = web_library.control_api.context, "cat in a box"
    await web_library.browser.change(
        "POST", "/v1/add", {"paths": [str(web_library.control_api.folder / f"{name}.jpg")]}
    )
    (item,) = await parts.read_queries.items(limit=10)
    leased = await parts.queue.claim(item.shard, now=parts.clock.now(), chance=0.0)
    assert leased is not None
    assert await parts.queue.accept(
        leased, asset_id=web_library.ids[name], sha256=bytes(32), duplicate=False, embedded=True, now=parts.clock.now()
    )
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
    for query in ("?favorite=true", f"?tag={tags['wet']['id']}", f"?text=cat&tag={tags['wet']['id']}"):
        assert web_library.names(await web_library.assets(query)) == ["dog in a bath"], query
    assert web_library.names(await web_library.assets("?text=cat&favorite=true")) == ["dog in a bath"]
    reply = await web_library.browser.change("PATCH", f"/v1/library/{asset_id}", {"tags": []})
    assert (reply.json["asset"]["favorite"], reply.json["asset"]["tags"]) == (True, [])


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
