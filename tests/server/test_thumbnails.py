"""Thumbnails, rendered by a real worker process for a real library."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from live_library import LiveLibrary, live_library
from PIL import Image
from toy_library import ServerProcess

ORIENTATION, GPS = 0x0112, 0x8825
ROTATED_90 = 6


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[LiveLibrary]:
    async with live_library(tmp_path / "l") as library:
        yield library


async def upload(library: LiveLibrary, data: bytes, mime: str = "image/jpeg") -> str:
    response = await library.client.post("/api/upload", files={"file": ("a", data, mime)})
    return str(response.json()["asset"]["id"])


def photo(width: int, height: int) -> bytes:
    """Return a rotated JPEG with a location in its EXIF."""
    exif = Image.Exif()
    exif[ORIENTATION] = ROTATED_90
    exif.get_ifd(GPS)[2] = (52.0, 31.0, 12.0)
    data = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(data, "JPEG", exif=exif)
    return data.getvalue()


def animation() -> bytes:
    frames = [Image.new("RGB", (90, 60), colour) for colour in ("red", "blue")]
    data = io.BytesIO()
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:])
    return data.getvalue()


async def thumbnail(library: LiveLibrary, asset_id: str, **options: object) -> Image.Image:
    params = {name: str(value) for name, value in options.items()}
    response = await library.client.get(f"/api/assets/{asset_id}/thumbnail", params=params)
    assert (response.status_code, response.headers["content-type"]) == (200, "image/webp"), response.text
    return Image.open(io.BytesIO(response.content))


async def test_a_thumbnail_is_upright_and_contains_no_location(library: LiveLibrary):
    image = await thumbnail(library, await upload(library, photo(800, 400)))
    assert image.size == (128, 256)
    assert not image.getexif()
    assert "exif" not in image.info


async def test_the_size_is_rounded_up_and_never_exceeds_the_original(library: LiveLibrary):
    asset_id = await upload(library, photo(800, 400))
    assert (await thumbnail(library, asset_id, size=100)).size == (64, 128)
    assert (await thumbnail(library, asset_id, size=9_999)).size == (400, 800)
    response = await library.client.get(f"/api/assets/{asset_id}/thumbnail?size=big")
    assert response.status_code == 400


async def test_the_thumbnail_of_an_animation_is_its_first_frame(library: LiveLibrary):
    image = await thumbnail(library, await upload(library, animation(), "image/gif"))
    assert getattr(image, "n_frames", 1) == 1
    red, _, blue = image.convert("RGB").getpixel((30, 30))
    assert red > blue + 100


async def test_a_request_with_the_current_etag_returns_not_modified(library: LiveLibrary):
    path = f"/api/assets/{await upload(library, photo(80, 40))}/thumbnail"
    etag = (await library.client.get(path)).headers["etag"]
    again = await library.client.get(path, headers={"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")


async def test_a_thumbnail_is_cached_and_removed_with_a_purged_asset(library: LiveLibrary):
    asset_id = await upload(library, photo(80, 40))
    await thumbnail(library, asset_id)
    cached = [file for file in (library.config.data / "thumbnails").rglob("*") if file.is_file()]
    assert len(cached) == 1
    await library.client.delete(f"/api/assets/{asset_id}?permanent=true")
    assert not cached[0].exists()
    assert (await library.client.get(f"/api/assets/{asset_id}/thumbnail")).status_code == 404


@pytest.mark.parametrize("data", [b"\xff\xd8\xff" + b"nonsense" * 10, b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
async def test_an_undecodable_image_has_no_thumbnail_and_does_not_affect_others(library: LiveLibrary, data: bytes):
    response = await library.client.get(f"/api/assets/{await upload(library, data)}/thumbnail")
    assert (response.status_code, response.json()["error"]) == (
        404,
        "This asset has no thumbnail: the file cannot be decoded",
    )
    assert (await thumbnail(library, await upload(library, photo(80, 40)))).size == (40, 80)


async def test_a_decompression_bomb_is_refused_before_it_is_decoded(library: LiveLibrary):
    data = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(data, "PNG")  # 400 million pixels in a few kilobytes
    asset_id = await upload(library, data.getvalue(), "image/png")
    response = await library.client.get(f"/api/assets/{asset_id}/thumbnail")
    assert response.status_code == 404


@pytest.mark.models
def test_the_wall_shows_an_analyzed_image_without_rendering_it(tmp_path: Path) -> None:
    """The pass that reads an image leaves its thumbnail: upright, without metadata, in the size of the wall."""
    server = ServerProcess(tmp_path / "library")
    try:
        with server.client() as client:
            answer = client.post("/api/upload", files={"file": ("a.jpg", photo(800, 400), "image/jpeg")}).json()
            asset_id = answer["asset"]["id"]
            while client.post(f"/api/assets/{asset_id}/generate-embedding", timeout=60).status_code == 202:
                pass
            (kept,) = [file for file in (tmp_path / "library" / "thumbnails").rglob("*") if file.is_file()]
            shown = client.get(f"/api/assets/{asset_id}/thumbnail?size=256").content
    finally:
        server.stop()
    assert shown == kept.read_bytes()
    image = Image.open(io.BytesIO(shown))
    assert (image.format, image.size, len(image.getexif())) == ("WEBP", (128, 256), 0)
