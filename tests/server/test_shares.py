"""Share links: creation, revocation, and that they show the image without metadata."""

import io
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import postgres
import pytest
from live_library import LiveLibrary, live_library
from PIL import Image
from sploot_server.domain.entities import NewAsset, new_id
from sploot_server.storage.assets import AssetStore
from sploot_server.storage.postgres.assets import PostgresAssets
from sploot_server.storage.postgres.database import PostgresDatabase
from sploot_server.storage.shares import ShareStore
from sploot_server.storage.sqlite.assets import SqliteAssets
from sploot_server.storage.sqlite.database import Database
from toy_library import picture

GPS, ARTIST, ORIENTATION = 0x8825, 0x013B, 0x0112
ON_ITS_SIDE = 6
SECRET = b"Anna of the Northern Pier"


@pytest.fixture(params=["sqlite", "postgres"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[AssetStore, ShareStore]]:
    if request.param == "sqlite":
        database = Database(tmp_path / "library.db")
        database.open()
        yield SqliteAssets(database, "anna"), ShareStore(database)
        await database.close()
    else:
        shared = PostgresDatabase(await postgres.empty_database())
        await shared.open()
        yield PostgresAssets(shared, "anna"), ShareStore(shared)
        await shared.close()


async def test_an_asset_has_one_link_that_only_its_owner_creates_and_revokes(
    stores: tuple[AssetStore, ShareStore],
) -> None:
    assets, shares = stores
    asset = (await assets.add(NewAsset(new_id(), "0" * 64, "x.jpg", "image/jpeg", 9, ()), now_ms=1)).asset
    assert await shares.create_link(asset.id, "ben", "bens", now_ms=2) is None
    assert await shares.create_link(asset.id, "anna", "first", now_ms=2) == ("first", None)
    assert await shares.create_link(asset.id, "anna", "second", now_ms=3) == ("first", None)
    shown = await shares.get_shared_asset("first", now_ms=9)
    assert shown is not None
    assert shown.id == asset.id
    assert await shares.get_shared_asset("second", now_ms=9) is None
    await shares.revoke_link(asset.id, "ben")
    assert await shares.get_shared_asset("first", now_ms=9) is not None
    await shares.revoke_link(asset.id, "anna")
    assert await shares.get_shared_asset("first", now_ms=9) is None
    assert await shares.create_link(asset.id, "anna", "third", now_ms=4) == ("third", None)


async def test_a_link_to_a_deleted_asset_is_invalid(stores: tuple[AssetStore, ShareStore]) -> None:
    assets, shares = stores
    asset = (await assets.add(NewAsset(new_id(), "0" * 64, "x.jpg", "image/jpeg", 9, ()), now_ms=1)).asset
    await shares.create_link(asset.id, "anna", "link", now_ms=2)
    await assets.delete(asset.id, now_ms=3)
    assert await shares.get_shared_asset("link", now_ms=9) is None
    assert await shares.create_link(asset.id, "anna", "other", now_ms=4) is None
    assert await assets.purge(asset.id) == "0" * 64
    assert await shares.get_shared_asset("link", now_ms=9) is None


async def test_a_link_ends_at_its_time_and_is_not_revived_by_a_later_one(stores: tuple[AssetStore, ShareStore]) -> None:
    assets, shares = stores
    asset = (await assets.add(NewAsset(new_id(), "0" * 64, "x.jpg", "image/jpeg", 9, ()), now_ms=1)).asset
    assert await shares.create_link(asset.id, "anna", "first", now_ms=2, expires_at_ms=10) == ("first", 10)
    assert await shares.create_link(asset.id, "anna", "x", now_ms=3, expires_at_ms=20) == ("first", 20)
    assert await shares.create_link(asset.id, "anna", "y", now_ms=4, keeps_end=True) == ("first", 20)
    assert await shares.get_shared_asset("first", now_ms=19) is not None
    assert len(await shares.list_links("anna", now_ms=19, limit=9, offset=0)) == 1
    assert await shares.get_shared_asset("first", now_ms=20) is None
    assert await shares.list_links("anna", now_ms=20, limit=9, offset=0) == []
    assert await shares.create_link(asset.id, "anna", "second", now_ms=20, keeps_end=True) == ("second", None)
    assert await shares.get_shared_asset("first", now_ms=21) is None
    assert await shares.get_shared_asset("second", now_ms=1_000_000) is not None


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[LiveLibrary]:
    async with live_library(tmp_path / "l") as library:
        yield library


def photo(kind: str) -> bytes:
    """Return an image with its place and author in all metadata that the format supports."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[ARTIST] = ON_ITS_SIDE, SECRET.decode()
    exif.get_ifd(GPS)[2] = (52.0, 31.0, 12.0)
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + SECRET + b"</x:xmpmeta>"
    image, data = Image.new("RGB", (80, 40), "red"), io.BytesIO()
    image.save(data, kind, exif=exif, xmp=xmp, **({"comment": SECRET} if kind == "JPEG" else {}))
    return data.getvalue()


async def shared(library: LiveLibrary, data: bytes) -> tuple[str, str]:
    """Upload and share a picture; return its id and its link."""
    sent = await library.client.post("/api/upload", files={"file": ("a", data, "image/jpeg")})
    asset_id = sent.json()["asset"]["id"]
    answer = await library.client.post(f"/api/assets/{asset_id}/share")
    assert answer.status_code == 200, answer.text
    return asset_id, answer.json()["shareUrl"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
async def test_a_link_shows_the_image_upright_and_without_metadata(library: LiveLibrary, kind: str) -> None:
    data = photo(kind)
    assert SECRET in data
    _, url = await shared(library, data)
    shown = await library.client.get(f"{url}/picture")
    assert (shown.status_code, shown.headers["content-type"]) == (200, "image/webp")
    image = Image.open(io.BytesIO(shown.content))
    assert image.size == (40, 80)
    assert not image.getexif()
    assert not {"exif", "xmp", "comment"} & set(image.info)
    assert SECRET not in shown.content
    headers = str(shown.headers.raw).encode()
    assert SECRET not in headers
    assert b"content-disposition" not in headers, "the file name is private"


async def test_a_link_can_be_revoked_and_is_cached_for_a_short_time(library: LiveLibrary) -> None:
    asset_id, url = await shared(library, photo("JPEG"))
    url = f"{url}/picture"
    shown = await library.client.get(url)
    assert shown.headers["cache-control"] == "public, max-age=60"
    known = await library.client.get(url, headers={"if-none-match": shown.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert (await library.client.delete(f"/api/assets/{asset_id}/share")).status_code == 200
    revoked = await library.client.get(url, headers={"if-none-match": shown.headers["etag"]})
    assert (revoked.status_code, revoked.json()["success"]) == (404, False)
    again = (await library.client.post(f"/api/assets/{asset_id}/share")).json()["shareUrl"]
    assert f"{again}/picture" != url


@pytest.mark.parametrize("path", ["/s/unknown", "/s/", "/s/..%2Fapi%2Fassets", "/s/%00"])
async def test_an_unknown_link_gets_404(library: LiveLibrary, path: str) -> None:
    assert (await library.client.get(path)).status_code == 404


async def test_an_image_that_cannot_be_decoded_is_not_shown(library: LiveLibrary) -> None:
    _, url = await shared(library, b"\xff\xd8\xff" + b"x" * 99)
    answer: httpx.Response = await library.client.get(f"{url}/picture")
    assert (answer.status_code, answer.json()["success"]) == (404, False)


async def test_the_links_of_a_user_are_listed_newest_first_while_their_assets_live(library: LiveLibrary) -> None:
    shown = [await shared(library, photo(kind)) for kind in ("JPEG", "PNG", "WEBP")]
    listed = (await library.client.get("/api/shares")).json()
    assert {(each["asset"]["id"], each["shareUrl"]) for each in listed["shares"]} == set(shown)
    times = [each["createdAt"] for each in listed["shares"]]
    assert times == sorted(times, reverse=True)

    first = (await library.client.get("/api/shares", params={"limit": 2})).json()
    rest = (await library.client.get("/api/shares", params={"limit": 2, "offset": 2})).json()
    assert [len(first["shares"]), first["hasMore"], len(rest["shares"]), rest["hasMore"]] == [2, True, 1, False]

    await library.client.delete(f"/api/assets/{shown[0][0]}")
    await library.client.delete(f"/api/assets/{shown[1][0]}/share")
    left = (await library.client.get("/api/shares")).json()["shares"]
    assert [each["shareUrl"] for each in left] == [shown[2][1]]


async def test_the_page_of_a_link_shows_the_picture_and_describes_it_to_chats(library: LiveLibrary) -> None:
    asset_id, url = await shared(library, photo("JPEG"))
    await library.wait_until_ready(asset_id)
    page = await library.client.get(url)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    properties = dict(re.findall(r'<meta property="([^"]+)" content="([^"]*)">', page.text))
    assert properties["og:image"] == f"{url}/picture"
    assert (properties["og:image:width"], properties["og:image:height"]) == ("640", "480")
    assert f'<img src="{url}/picture"' in page.text
    assert "<script" not in page.text
    assert "set-cookie" not in page.headers
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    own = re.findall(r"""(?:src|href|content)="(https?://[^"]+)""", page.text)
    assert set(own) == {f"{url}/picture"}, "nothing of another host is loaded"
    embedded = await library.client.get(url, headers={"accept": "image/avif,image/webp,*/*;q=0.8"})
    assert embedded.headers["content-type"] == "image/webp"


async def test_the_text_of_a_picture_cannot_add_markup_to_the_page(library: LiveLibrary) -> None:
    asset_id, url = await shared(library, picture('"><script>alert(1)</script>'))
    await library.wait_until_ready(asset_id)
    page = (await library.client.get(url)).text
    assert "&quot;&gt;&lt;script&gt;" in page
    assert "<script" not in page


async def test_a_link_that_has_ended_says_so(library: LiveLibrary) -> None:
    asset_id, url = await shared(library, photo("JPEG"))
    assert (await library.client.post(f"/v1/library/{asset_id}/share", json={"days": 0})).status_code == 400
    again = await library.client.post(f"/v1/library/{asset_id}/share", json={"days": 7})
    assert again.json()["url"] == url
    [link] = (await library.client.get("/v1/library/links")).json()["links"]
    assert (link["url"], link["expires_at"], link["asset"]["id"]) == (url, again.json()["expires_at"], asset_id)
    shown = await library.client.post(f"/v1/library/{asset_id}/share", json={})
    assert shown.json() == again.json(), "to look at a link does not change when it ends"
    endless = await library.client.post(f"/v1/library/{asset_id}/share", json={"days": None})
    assert endless.json() == {"url": url, "expires_at": None}
    await library.client.delete(f"/v1/library/{asset_id}/share")
    ended = await library.client.get(url)
    assert (ended.status_code, "This link has ended" in ended.text) == (404, True)
