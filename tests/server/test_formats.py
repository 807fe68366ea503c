"""Films and the pictures of iPhones, where the library is told to take them: read, or else found by their names."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sploot_server import formats
from sploot_server.config import Config
from sploot_server.formats import is_readable, words_of
from sploot_server.serve import library_app
from toy_library import FakeEmbedder, ServerProcess

HEIC = (Path(__file__).parent / "data" / "elephant.heic").read_bytes()  # PURPLE ELEPHANT in a picture of our own
FILM = b"\0\0\0\x20ftypisom\0\0\2\0" + bytes(1_000)
LIMIT_S = 30.0


@pytest.fixture
async def films(tmp_path: Path, embedder: FakeEmbedder) -> AsyncIterator[httpx.AsyncClient]:
    """A library that takes them."""
    (tmp_path / "library").mkdir()
    config = Config(data=tmp_path / "library", mime_types=("video/mp4", "image/heic"))
    async with (
        library_app(config, embedder) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        yield client


async def add(client: httpx.AsyncClient, name: str, data: bytes) -> str:
    answer = await client.post("/api/upload", files={"file": (name, data)})
    assert answer.status_code == 201, answer.text
    return answer.json()["asset"]["id"]


async def ended(client: httpx.AsyncClient, asset_id: str) -> dict[str, Any]:
    async with asyncio.timeout(LIMIT_S):
        await client.post(f"/api/assets/{asset_id}/generate-embedding")
    return (await client.get(f"/api/assets/{asset_id}")).json()["asset"]


async def found(client: httpx.AsyncClient, query: str) -> list[str]:
    results = (await client.post("/api/search", json={"query": query})).json()["results"]
    return [each["id"] for each in results]


async def test_a_film_is_found_by_what_it_is_called(films: httpx.AsyncClient, embedder: FakeEmbedder) -> None:
    film = await add(films, "cat_falls-off.the_sofa.mp4", FILM)
    asset = await ended(films, film)
    assert (asset["embeddingStatus"], asset["mime"], asset["width"]) == ("ready", "video/mp4", None)
    assert embedder.read_texts == []
    assert await found(films, "cat sofa") == [film]
    answer = await films.get(asset["blobUrl"])
    assert (answer.content, answer.headers["content-type"]) == (FILM, "video/mp4")


async def test_a_film_without_a_name_is_kept_all_the_same(films: httpx.AsyncClient) -> None:
    assert (await ended(films, await add(films, "0123456789ab.mp4", FILM)))["embeddingStatus"] == "ready"


async def test_a_library_that_was_not_told_to_takes_none(client: httpx.AsyncClient) -> None:
    for data in (FILM, HEIC):
        answer = await client.post("/api/upload", files={"file": ("a", data)})
        assert (answer.status_code, "Use JPEG, PNG, WebP, or GIF" in answer.json()["error"]) == (400, True)


async def test_without_a_decoder_the_picture_of_an_iphone_is_found_by_its_name(
    films: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "HAS_HEIF", False)
    picture = await add(films, "birthday cake.heic", HEIC)
    assert (await ended(films, picture))["embeddingStatus"] == "ready"
    assert await found(films, "birthday") == [picture]


@pytest.mark.models
def test_with_its_decoder_the_picture_of_an_iphone_is_read(start: Callable[..., ServerProcess]) -> None:
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
def test_a_name_is_words_unless_a_machine_gave_it(filename: str, words: str) -> None:
    assert words_of(filename) == words


def test_what_can_be_read_is_said_by_the_type() -> None:
    assert [is_readable(each) for each in ("image/gif", "image/avif", "video/webm")] == [True, True, False]
