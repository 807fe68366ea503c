"""Videos and HEIC images, if the library accepts them: decoded, or found by their file names."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sploot_server.app import create_app
from sploot_server.config import Config
from sploot_server.domain import image_formats
from sploot_server.domain.image_formats import filename_words, is_readable, missing_decoders, readable_types
from toy_library import FakeEmbedder, ServerProcess

HEIC = (Path(__file__).parent / "data" / "elephant.heic").read_bytes()  # an own image with the text PURPLE ELEPHANT
VIDEO = b"\0\0\0\x20ftypisom\0\0\2\0" + bytes(1_000)
LIMIT_S = 30.0


@pytest.fixture
async def video_library(tmp_path: Path, embedder: FakeEmbedder) -> AsyncIterator[httpx.AsyncClient]:
    """Start a library that accepts videos and HEIC images."""
    (tmp_path / "library").mkdir()
    config = Config(data=tmp_path / "library", mime_types=("video/mp4", "image/heic"))
    async with (
        create_app(config, embedder) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        yield client


async def add(client: httpx.AsyncClient, name: str, data: bytes) -> str:
    answer = await client.post("/api/upload", files={"file": (name, data)})
    assert answer.status_code == 201, answer.text
    return answer.json()["asset"]["id"]


async def completed(client: httpx.AsyncClient, asset_id: str) -> dict[str, Any]:
    async with asyncio.timeout(LIMIT_S):
        await client.post(f"/api/assets/{asset_id}/generate-embedding")
    return (await client.get(f"/api/assets/{asset_id}")).json()["asset"]


async def found(client: httpx.AsyncClient, query: str) -> list[str]:
    results = (await client.post("/api/search", json={"query": query})).json()["results"]
    return [each["id"] for each in results]


async def test_without_a_decoder_a_video_is_found_by_its_file_name(
    video_library: httpx.AsyncClient, embedder: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_formats, "HAS_VIDEO", False)
    video = await add(video_library, "cat_falls-off.the_sofa.mp4", VIDEO)
    asset = await completed(video_library, video)
    assert (asset["embeddingStatus"], asset["mime"], asset["width"]) == ("ready", "video/mp4", None)
    assert embedder.read_texts == []
    assert await found(video_library, "cat sofa") == [video]
    response = await video_library.get(asset["blobUrl"])
    assert (response.content, response.headers["content-type"]) == (VIDEO, "video/mp4")


async def test_a_video_with_a_generated_name_is_stored(video_library: httpx.AsyncClient) -> None:
    video = await add(video_library, "0123456789ab.mp4", VIDEO)
    assert (await completed(video_library, video))["embeddingStatus"] == "ready"


async def test_videos_and_heic_images_are_refused_unless_configured(client: httpx.AsyncClient) -> None:
    for data in (VIDEO, HEIC):
        response = await client.post("/api/upload", files={"file": ("a", data)})
        assert (response.status_code, "Use JPEG, PNG, WebP, or GIF" in response.json()["error"]) == (400, True)


def test_a_server_accepts_by_default_what_it_can_decode(start: Callable[..., ServerProcess]) -> None:
    with start().client() as client:
        assert client.get("/api/upload").json()["limits"]["allowedTypes"] == list(readable_types())


def test_avif_heic_and_videos_are_readable_if_their_decoder_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HAS_AVIF", "HAS_HEIF", "HAS_VIDEO"):
        monkeypatch.setattr(image_formats, name, True)
    with_decoders = readable_types()
    assert {"image/avif", "image/heic", "image/heif", "video/mp4", "video/webm"} <= set(with_decoders)
    assert missing_decoders(with_decoders) == {}
    for name in ("HAS_AVIF", "HAS_HEIF", "HAS_VIDEO"):
        monkeypatch.setattr(image_formats, name, False)
    assert readable_types() == ("image/jpeg", "image/png", "image/webp", "image/gif")


async def test_a_library_without_a_decoder_says_what_brings_it(
    tmp_path: Path, embedder: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HAS_AVIF", "HAS_HEIF", "HAS_VIDEO"):
        monkeypatch.setattr(image_formats, name, False)
    (tmp_path / "library").mkdir()
    config = Config(data=tmp_path / "library", mime_types=readable_types())
    async with (
        create_app(config, embedder) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        decoders = (await client.get("/api/upload")).json()["features"]["missingDecoders"]
        assert decoders == {"image/heic": "heif", "image/heif": "heif", "video/mp4": "video", "video/webm": "video"}
        refused = await client.post("/api/upload", files={"file": ("a.mp4", VIDEO)})
        assert refused.json()["error"].endswith("MP4 needs `pip install 'sploot[video]'` on the server")
    assert missing_decoders(("image/png",)) == {}  # a choice of the operator


async def test_without_a_decoder_a_heic_image_is_found_by_its_file_name(
    video_library: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_formats, "HAS_HEIF", False)
    image = await add(video_library, "birthday cake.heic", HEIC)
    assert (await completed(video_library, image))["embeddingStatus"] == "ready"
    assert await found(video_library, "birthday") == [image]


@pytest.mark.models
def test_with_the_decoder_the_text_in_a_heic_image_is_found(start: Callable[..., ServerProcess]) -> None:
    pytest.importorskip("pi_heif", reason="needs the extra `heif`")
    server = start("--types", "image/heic")
    with server.client() as client:
        answer = client.post("/api/upload", files={"file": ("IMG_0001.HEIC", HEIC)}).json()
        client.post(f"/api/assets/{answer['asset']['id']}/generate-embedding", timeout=LIMIT_S)
        (result,) = client.post("/api/search", json={"query": "purple elephant"}, timeout=LIMIT_S).json()["results"]
    assert (result["id"], result["width"], result["height"]) == (answer["asset"]["id"], 400, 300)


@pytest.mark.parametrize(
    ("filename", "words"),
    [
        ("when the_cat-sits.mp4", "when the cat sits"),
        ("größe.mov", "größe"),
        ("3fa9c81b2d3e.mp4", ""),
        ("9B2A6C1E-1111-4222-8333-0123456789AB.MOV", ""),
        ("..mp4", ""),
        ("untitled", "untitled"),
        ("", ""),
    ],
)
def test_a_file_name_consists_of_words_unless_it_is_generated(filename: str, words: str) -> None:
    assert filename_words(filename) == words


def test_images_are_readable_and_the_videos_of_cameras_are_not() -> None:
    assert [is_readable(each) for each in ("image/gif", "image/avif", "video/quicktime")] == [True, True, False]
