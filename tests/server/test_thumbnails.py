"""Small stills of pictures, made by a real worker process for a real library."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from livekit import LiveLibrary, live_library
from PIL import Image

ORIENTATION, GPS = 0x0112, 0x8825
ON_ITS_SIDE = 6  # to be turned by 90 degrees


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[LiveLibrary]:
    async with live_library(tmp_path / "l") as library:
        yield library


async def sent(library: LiveLibrary, data: bytes, mime: str = "image/jpeg") -> str:
    answer = await library.client.post("/api/upload", files={"file": ("a", data, mime)})
    return str(answer.json()["asset"]["id"])


def photo(width: int, height: int) -> bytes:
    """With a place in its EXIF, and taken with the camera on its side."""
    exif = Image.Exif()
    exif[ORIENTATION] = ON_ITS_SIDE
    exif.get_ifd(GPS)[2] = (52.0, 31.0, 12.0)
    data = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(data, "JPEG", exif=exif)
    return data.getvalue()


def animation() -> bytes:
    frames = [Image.new("RGB", (90, 60), colour) for colour in ("red", "blue")]
    data = io.BytesIO()
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:])
    return data.getvalue()


async def thumbnail(library: LiveLibrary, asset_id: str, **asked: object) -> Image.Image:
    answer = await library.client.get(f"/api/assets/{asset_id}/thumbnail", params={k: str(v) for k, v in asked.items()})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp"), answer.text
    return Image.open(io.BytesIO(answer.content))


async def test_a_thumbnail_stands_upright_and_says_nothing_of_where_it_was_taken(library: LiveLibrary):
    image = await thumbnail(library, await sent(library, photo(800, 400)))
    assert image.size == (128, 256)
    assert not image.getexif()
    assert "exif" not in image.info


async def test_the_size_is_the_next_of_a_few_and_never_more_than_the_picture(library: LiveLibrary):
    asset_id = await sent(library, photo(800, 400))
    assert (await thumbnail(library, asset_id, size=100)).size == (64, 128)
    assert (await thumbnail(library, asset_id, size=9_999)).size == (400, 800)
    refused = await library.client.get(f"/api/assets/{asset_id}/thumbnail?size=big")
    assert refused.status_code == 400


async def test_an_animation_is_kept_as_a_still_of_its_beginning(library: LiveLibrary):
    image = await thumbnail(library, await sent(library, animation(), "image/gif"))
    assert getattr(image, "n_frames", 1) == 1
    red, _, blue = image.convert("RGB").getpixel((30, 30))
    assert red > blue + 100


async def test_whoever_has_it_is_not_sent_it_again(library: LiveLibrary):
    path = f"/api/assets/{await sent(library, photo(80, 40))}/thumbnail"
    etag = (await library.client.get(path)).headers["etag"]
    again = await library.client.get(path, headers={"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")


async def test_it_is_made_once_and_goes_with_the_picture_for_ever(library: LiveLibrary):
    asset_id = await sent(library, photo(80, 40))
    await thumbnail(library, asset_id)
    kept = [file for file in (library.config.data / "thumbnails").rglob("*") if file.is_file()]
    assert len(kept) == 1
    await library.client.delete(f"/api/assets/{asset_id}?permanent=true")
    assert not kept[0].exists()
    assert (await library.client.get(f"/api/assets/{asset_id}/thumbnail")).status_code == 404


@pytest.mark.parametrize("data", [b"\xff\xd8\xff" + b"nonsense" * 10, b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
async def test_what_cannot_be_decoded_has_none_and_harms_nobody(library: LiveLibrary, data: bytes):
    broken = await library.client.get(f"/api/assets/{await sent(library, data)}/thumbnail")
    assert (broken.status_code, broken.json()["error"]) == (
        404,
        "There is no thumbnail of this: it cannot be decoded",
    )
    assert (await thumbnail(library, await sent(library, photo(80, 40)))).size == (40, 80)


async def test_a_bomb_is_refused_before_it_is_unpacked(library: LiveLibrary):
    data = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(data, "PNG")  # 400 million pixels in a few kilobytes
    answer = await library.client.get(f"/api/assets/{await sent(library, data.getvalue(), 'image/png')}/thumbnail")
    assert answer.status_code == 404
