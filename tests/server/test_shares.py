"""Share links: creation, revocation, and that they show the image without metadata."""

import io
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
    assert await shares.create_link(asset.id, "anna", "first", now_ms=2) == "first"
    assert await shares.create_link(asset.id, "anna", "second", now_ms=3) == "first"
    shown = await shares.get_shared_asset("first")
    assert shown is not None
    assert shown.id == asset.id
    assert await shares.get_shared_asset("second") is None
    await shares.revoke_link(asset.id, "ben")
    assert await shares.get_shared_asset("first") is not None
    await shares.revoke_link(asset.id, "anna")
    assert await shares.get_shared_asset("first") is None
    assert await shares.create_link(asset.id, "anna", "third", now_ms=4) == "third"


async def test_a_link_to_a_deleted_asset_is_invalid(stores: tuple[AssetStore, ShareStore]) -> None:
    assets, shares = stores
    asset = (await assets.add(NewAsset(new_id(), "0" * 64, "x.jpg", "image/jpeg", 9, ()), now_ms=1)).asset
    await shares.create_link(asset.id, "anna", "link", now_ms=2)
    await assets.delete(asset.id, now_ms=3)
    assert await shares.get_shared_asset("link") is None
    assert await shares.create_link(asset.id, "anna", "other", now_ms=4) is None
    assert await assets.purge(asset.id) == "0" * 64
    assert await shares.get_shared_asset("link") is None


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
    shown = await library.client.get(url)
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
    shown = await library.client.get(url)
    assert shown.headers["cache-control"] == "public, max-age=60"
    known = await library.client.get(url, headers={"if-none-match": shown.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert (await library.client.delete(f"/api/assets/{asset_id}/share")).status_code == 200
    revoked = await library.client.get(url, headers={"if-none-match": shown.headers["etag"]})
    assert (revoked.status_code, revoked.json()["success"]) == (404, False)
    again = (await library.client.post(f"/api/assets/{asset_id}/share")).json()["shareUrl"]
    assert again != url


@pytest.mark.parametrize("path", ["/s/unknown", "/s/", "/s/..%2Fapi%2Fassets", "/s/%00"])
async def test_an_unknown_link_gets_404(library: LiveLibrary, path: str) -> None:
    assert (await library.client.get(path)).status_code == 404


async def test_an_image_that_cannot_be_decoded_is_not_shown(library: LiveLibrary) -> None:
    _, url = await shared(library, b"\xff\xd8\xff" + b"x" * 99)
    answer: httpx.Response = await library.client.get(url)
    assert (answer.status_code, answer.json()["success"]) == (404, False)
