"""The library on the page, through the daemon: a real library server behind it, and a browser before it."""

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
from controlled import House, controlled
from doorway import LIMIT_S, Browser, Reply
from scripted import Scripted, replying
from sploot_server.config import Config as LibraryConfig
from sploot_server.serve import library_app
from toy_library import END, FakeEmbedder, picture
from walkkit import JumpClock

from splootd import protocol
from splootd.control.transport import Server as HttpServer
from splootd.credentials import Credentials
from splootd.remote.answers import Limits, Match
from splootd.remote.api import Server
from splootd.work.files import MemoryBudget, look, read

LIMITS = Limits(100_000_000, frozenset({"image/jpeg"}))
NAMES = ("cat on a keyboard", "dog in a bath", "cat in a box")


@contextlib.asynccontextmanager
async def library(folder: Path, socket: Path) -> AsyncIterator[None]:
    """A library server that reads what is written in toy pictures."""
    folder.mkdir()  # noqa: ASYNC240 - of no length
    async with library_app(LibraryConfig(data=folder, uds=socket), FakeEmbedder()) as app:
        config = uvicorn.Config(app, uds=str(socket), ws="none", lifespan="off", log_config=None, access_log=False)
        server = HttpServer(config)
        serving = asyncio.ensure_future(server.serve())
        async with asyncio.timeout(LIMIT_S):
            while not server.started:  # noqa: ASYNC110 - uvicorn rings no bell
                await asyncio.sleep(0)
        try:
            yield
        finally:
            server.end()
            await serving


@dataclass
class Shown:
    """A page on a library that holds NAMES; `ids` are by name."""

    browser: Browser
    house: House
    server: Server
    ids: dict[str, str]

    async def assets(self, query: str = "") -> list[dict[str, Any]]:
        reply = await self.browser.get(f"/v1/library{query}")
        assert reply.status == 200, reply.body
        found: list[dict[str, Any]] = reply.json["assets"]
        return found

    async def of(self, name: str, rest: str = "", **headers: str) -> Reply:
        return await self.browser.get(f"/v1/library/{self.ids[name]}{rest}", **headers)

    def names(self, assets: list[dict[str, Any]]) -> list[str]:
        known = {asset_id: name for name, asset_id in self.ids.items()}
        return [known[asset["id"]] for asset in assets]


@pytest_asyncio.fixture
async def shown(tmp_path: Path) -> AsyncIterator[Shown]:
    socket = tmp_path / "s"
    async with library(tmp_path / "library", socket):
        server = Server("local", credentials=Credentials(tmp_path / "t", JumpClock()), connections=4, socket=socket)
        try:
            async with controlled(tmp_path, server=server) as house:
                ids = {name: await uploaded(server, house.folder / f"{name}.jpg", name) for name in NAMES}
                yield Shown(await Browser.let_in(house.page), house, server, ids)
        finally:
            await server.close()


async def uploaded(server: Server, path: Path, text: str) -> str:
    path.write_bytes(picture(text) + END)  # noqa: ASYNC240 - as above
    raw = os.fsencode(path)
    async with read(raw, look(raw), budget=MemoryBudget(100_000_000), limits=LIMITS) as content:
        asset_id = (await server.upload(content)).asset_id
    async with asyncio.timeout(LIMIT_S):
        while (await server.embedding(asset_id)).status == "pending":  # noqa: ASYNC110 - the library says when asked
            await asyncio.sleep(0)
    return asset_id


async def test_the_library_is_listed_newest_first_and_page_by_page(shown: Shown):
    reply = await shown.browser.get("/v1/library?limit=2")
    assert (shown.names(reply.json["assets"]), reply.json["total"], reply.json["has_more"]) == (
        ["cat in a box", "dog in a bath"],
        3,
        True,
    )
    rest = await shown.browser.get("/v1/library?limit=2&offset=2")
    assert (shown.names(rest.json["assets"]), rest.json["has_more"]) == (["cat on a keyboard"], False)
    assert shown.names(await shown.assets("?sort=oldest")) == list(NAMES)
    asset = reply.json["assets"][0]
    assert set(asset) == {
        *("id", "name", "mime", "width", "height", "size", "favorite", "tags", "created_at"),
        *("state", "score", "text", "why", "path", "link", "others"),
    }
    assert (asset["mime"], asset["size"], asset["favorite"], asset["tags"]) == (
        "image/jpeg",
        len(picture("cat in a box") + END),
        False,
        [],
    )
    assert (asset["state"], asset["link"]) == ("ready", None)


async def test_what_matches_comes_best_first(shown: Shown):
    found = await shown.assets("?text=dog%20bath")
    assert shown.names(found)[0] == "dog in a bath"
    scores = [asset["score"] for asset in found]
    assert scores == sorted(scores, reverse=True)
    assert "dog" in found[0]["text"]
    assert (await shown.assets("?text=dog&offset=50")) == []


async def test_a_meme_is_called_as_its_file_here(shown: Shown):
    parts, name = shown.house.parts, "cat in a box"
    await shown.browser.change("POST", "/v1/add", {"paths": [str(shown.house.folder / f"{name}.jpg")]})
    (item,) = await parts.listing.items(limit=10)
    leased = await parts.queue.claim(item.shard, now=parts.clock.now(), chance=0.0)
    assert leased is not None
    assert await parts.queue.accept(
        leased, asset_id=shown.ids[name], sha256=bytes(32), duplicate=False, embedded=True, now=parts.clock.now()
    )
    assets = {asset["id"]: asset for asset in await shown.assets()}
    mine, other = assets[shown.ids[name]], assets[shown.ids["dog in a bath"]]
    assert (mine["name"], mine["path"]) == (f"{name}.jpg", str(shown.house.folder / f"{name}.jpg"))
    assert other["path"] is None


async def test_tags_and_favourites_are_kept_and_filter(shown: Shown):
    asset_id = shown.ids["dog in a bath"]
    reply = await shown.browser.change("PATCH", f"/v1/library/{asset_id}", {"favorite": True, "tags": ["wet", " dog "]})
    assert reply.status == 200
    assert (reply.json["asset"]["id"], reply.json["asset"]["favorite"]) == (asset_id, True)
    assert {tag["name"] for tag in reply.json["asset"]["tags"]} == {"wet", "dog"}
    tags = {tag["name"]: tag for tag in (await shown.browser.get("/v1/library/tags")).json["tags"]}
    assert {name: tag["count"] for name, tag in tags.items()} == {"wet": 1, "dog": 1}
    for query in ("?favorite=true", f"?tag={tags['wet']['id']}", f"?text=cat&tag={tags['wet']['id']}"):
        assert shown.names(await shown.assets(query)) == ["dog in a bath"], query
    assert shown.names(await shown.assets("?text=cat&favorite=true")) == ["dog in a bath"]
    reply = await shown.browser.change("PATCH", f"/v1/library/{asset_id}", {"tags": []})
    assert (reply.json["asset"]["favorite"], reply.json["asset"]["tags"]) == (True, [])


async def test_a_change_that_is_none_changes_nothing(shown: Shown):
    before = await shown.assets()
    for body in (
        *(b"", b"{", b"[]", b"7", b'{"favorite": 1}', b'{"tags": "cat"}', b'{"tags": [1]}', b'{"tags": [""]}'),
        b'{"tags": ["' + b"x" * 201 + b'"]}',
        b'{"tags": [' + b'"a",' * 20 + b'"a"]}',
    ):
        reply = await shown.browser.change("PATCH", f"/v1/library/{shown.ids['dog in a bath']}", body)
        assert (reply.status, reply.json["code"]) == (400, "malformed"), body
    assert await shown.assets() == before


async def test_what_is_deleted_is_gone_from_the_list_and_can_come_back(shown: Shown):
    asset_id = shown.ids["dog in a bath"]
    assert (await shown.browser.change("DELETE", f"/v1/library/{asset_id}")).status == 200
    assert shown.names(await shown.assets()) == ["cat in a box", "cat on a keyboard"]
    again = await shown.browser.change("DELETE", "/v1/library/nothing")
    assert (again.status, again.json["code"]) == (404, "not_found")


async def test_changes_of_other_pages_do_not_reach_the_library(shown: Shown):
    asset_id = shown.ids["dog in a bath"]
    for method in ("DELETE", "PATCH"):
        reply = await shown.browser.change(method, f"/v1/library/{asset_id}", {}, Origin="http://evil.example")
        assert reply.status == 403
        assert (await shown.browser.ask(method, f"/v1/library/{asset_id}", b"{}")).status == 403
    assert len(await shown.assets()) == 3


async def test_what_is_alike_is_found_where_the_library_can(shown: Shown):
    reply = await shown.browser.get("/v1/library")
    assert reply.json["offers"]["similar"] is True
    alike = await shown.of("cat in a box", "/similar")
    assert alike.status == 200
    assert shown.names(alike.json["assets"])[0] == "cat on a keyboard"
    shown.server.last_limits = LIMITS
    refused = await shown.of("cat in a box", "/similar")
    assert (refused.status, refused.json["code"]) == (404, "not_offered")


async def test_a_picture_is_passed_on_as_a_picture_and_nothing_else(shown: Shown):
    reply = await shown.of("dog in a bath", "/original")
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
    known = await shown.of("dog in a bath", "/original", If_None_Match=reply.headers["etag"])
    assert (known.status, known.body) == (304, b"")
    assert (await shown.of("dog in a bath", "/thumbnail?size=128")).headers["content-type"].startswith("image/")
    missing = await shown.browser.get("/v1/library/nothing/original")
    assert (missing.status, missing.json["code"]) == (404, "not_found")


async def test_a_head_is_a_picture_without_its_bytes(shown: Shown):
    reply = await shown.browser.ask("HEAD", f"/v1/library/{shown.ids['dog in a bath']}/original")
    assert (reply.status, reply.headers["content-type"], reply.body) == (200, "image/jpeg", b"")


async def test_no_id_leads_anywhere_else(shown: Shown):
    for asset_id in ("..", "%2e%2e", "a%2Fb", "a%0d%0ab", "%E2%80%AE", "x" * 300):
        for method, rest in (("DELETE", ""), ("GET", "/original"), ("GET", "/thumbnail"), ("GET", "/similar")):
            reply = await shown.browser.change(method, f"/v1/library/{asset_id}{rest}")
            assert reply.status in (404, 405), (asset_id, rest)
    assert len(await shown.assets()) == 3


async def test_a_question_that_is_none_is_said_so(shown: Shown):
    for query in ("?limit=x", "?offset=-1", "?sort=best", f"?text={'x' * 501}", "?limit=%D9%A1"):
        reply = await shown.browser.get(f"/v1/library{query}")
        assert (reply.status, reply.headers["content-type"]) == (400, "application/problem+json"), query


async def test_a_search_at_the_socket_links_to_the_page_once_there_is_one(shown: Shown):
    _, _, found = await shown.house.http("GET", "/v1/search?text=dog")
    (best, *_) = found["hits"]
    assert best["url"] == f"{shown.browser.origin}/v1/library/{best['asset_id']}/original"
    assert (await shown.browser.get(best["url"].removeprefix(shown.browser.origin))).status == 200


async def test_an_address_leads_to_one_picture_and_lets_its_browser_in(shown: Shown):
    asset_id = shown.ids["cat in a box"]
    address = await shown.house.ask(protocol.OpenPage(asset=asset_id), protocol.PageAddress)
    stranger = Browser(shown.browser.port)
    entered = await stranger.get(address.url.removeprefix(stranger.origin))
    assert (entered.status, entered.headers["location"]) == (303, f"/v1/library/{asset_id}/original")
    stranger.cookie = entered.headers["set-cookie"].partition(";")[0]
    assert (await stranger.get(entered.headers["location"])).headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize("asset_id", ["//evil.example/", "https://evil.example", "../../static/app.js", "\r\nx: y", ""])
async def test_an_address_never_leads_away_from_the_pictures(shown: Shown, asset_id: str):
    address = await shown.house.ask(protocol.OpenPage(asset=asset_id), protocol.PageAddress)
    entered = await shown.browser.get(address.url.removeprefix(shown.browser.origin))
    assert entered.headers["location"] == f"/v1/library/{quote(asset_id, safe='')}/original"


@pytest.mark.parametrize("is_its_own", [True, False])
async def test_what_only_the_daemon_may_fetch_is_linked_to_on_the_page(tmp_path: Path, is_its_own: bool):
    """A server of one's own may want a token for its pictures, which no browser has; a Sploot keeps them in public."""
    url = "http://library.example"
    async with controlled(tmp_path, url=f"{url}/") as house:
        picture_url = f"{url if is_its_own else 'https://store.example'}/api/assets/a/original"
        house.library.matches = [Match("a", 0.5, picture_url, None)]
        for is_open in (False, True):
            if is_open:
                await house.page.address(reset=False)
            _, _, found = await house.http("GET", "/v1/search?text=dog")
            on_page = f"{house.page.origin}/v1/library/a/original"
            assert found["hits"][0]["url"] == (on_page if is_its_own and is_open else picture_url)


async def test_a_library_that_does_not_answer_is_said_so(tmp_path: Path):
    server = Server("local", credentials=Credentials(tmp_path / "t", JumpClock()), connections=4, socket=tmp_path / "s")
    async with controlled(tmp_path, server=server) as house:
        browser = await Browser.let_in(house.page)
        for path in ("/v1/library", "/v1/library?text=x", "/v1/library/tags", "/v1/library/a/original"):
            reply = await browser.get(path)
            assert (reply.status, reply.json["code"]) == (502, "unreachable"), path
        _, _, found = await house.http("GET", "/v1/status")
        assert found["daemon"]["state"] == "running"
    await server.close()


async def test_a_picture_that_breaks_off_is_seen_to_be_unfinished(tmp_path: Path):
    sploot = Scripted()
    content = b"\x89PNG\r\n\x1a\n" + b"p" * 500_000
    async with sploot.serving() as url:
        asset = {"id": "a", "blobUrl": f"{url}/api/assets/a/original"}
        cut = replying(200, content, {"content-type": "image/png"}, cut=300_000)
        sploot.script("asset", replying(body={"asset": asset}), cut)
        server = Server(url, credentials=Credentials(tmp_path / "t", JumpClock()), connections=4)
        async with controlled(tmp_path, server=server, url=url) as house:
            browser = await Browser.let_in(house.page)
            reply = await browser.get("/v1/library/a/original")
            assert (reply.status, reply.headers["content-length"]) == (200, str(len(content)))
            assert len(reply.body) < len(content)
            assert (await browser.get("/v1/status")).status == 200
        await server.close()
