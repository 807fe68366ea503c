"""Templates: learned from files and from people, recognized in memes of before and after, found by their names."""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import postgres
import pytest
from PIL import Image
from sploot_server.app import create_app
from sploot_server.config import Config
from sploot_server.domain.embedding import ImageAnalysis, UnreadableImage
from sploot_server.domain.entities import Template, new_id
from sploot_server.inference.picture_features import compute_features
from sploot_server.storage.templates import TemplatePicture
from sploot_server.storage_backends import open_stores
from sploot_server.worker_app import open_worker
from template_scenes import draw_scene, make_variant
from toy_library import FakeEmbedder, vector

LIMIT_S = 30


class DrawnEmbedder(FakeEmbedder):
    """Computes the features of real pictures, and reads the text `caption` in each."""

    async def analyze_image(self, path: Path) -> ImageAnalysis:
        picture = Image.open(path).convert("RGB")
        return ImageAnalysis("caption", vector("caption"), *picture.size, features=compute_features(picture, []))

    async def describe_picture(self, path: Path) -> tuple[bytes, bytes]:
        try:
            picture = Image.open(path).convert("RGB")
        except OSError as error:
            raise UnreadableImage("It is no picture.") from error
        return compute_features(picture, []), compute_features(picture, [], mirrored=True)


@pytest.fixture(params=["sqlite", "postgres"])
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The library in one process on SQLite, or a server and a worker on PostgreSQL."""
    database = await postgres.empty_database() if request.param == "postgres" else None
    config = Config(data=tmp_path / "library", database=database)
    config.data.mkdir()
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(library_in(config))
        if database is not None:
            await stack.enter_async_context(open_worker(config, DrawnEmbedder()))
        yield client


@contextlib.asynccontextmanager
async def library_in(config: Config) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        create_app(config, DrawnEmbedder()) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        yield client


def png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


async def add(client: httpx.AsyncClient, scene: int, kind: str = "cropped", seed: int = 0) -> str:
    data = make_variant(draw_scene(scene), kind, seed, with_caption=False)
    sent = await client.post("/api/upload", files={"file": ("0123456789ab.jpg", data)})
    asset_id: str = sent.json()["asset"]["id"]
    await client.post(f"/api/assets/{asset_id}/generate-embedding")
    return asset_id


async def learn(client: httpx.AsyncClient, scene: int, name: str, *keywords: str) -> str:
    learned = await client.post(
        "/api/templates", params={"name": name, "keyword": keywords}, content=png(draw_scene(scene))
    )
    assert learned.status_code == 201, learned.text
    template_id: str = learned.json()["template"]["id"]
    return template_id


async def shown_by(client: httpx.AsyncClient, template: str) -> set[str]:
    assets = (await client.get("/api/assets", params={"template": template})).json()["assets"]
    return {asset["id"] for asset in assets}


async def until_shown_by(client: httpx.AsyncClient, template: str, expected: set[str]) -> None:
    """Wait until exactly these assets show the template."""
    async with asyncio.timeout(LIMIT_S):
        while await shown_by(client, template) != expected:  # noqa: ASYNC110 - the library does not announce it
            await asyncio.sleep(0.02)


async def matched(client: httpx.AsyncClient, query: str) -> dict[str, str | None]:
    """Return the ids of the assets with a word of the query, and the template that it belongs to."""
    results = (await client.post("/api/search", json={"query": query})).json()["results"]
    return {each["id"]: each["why"]["template"] for each in results if each["why"]["words"]}


async def test_a_learned_template_names_the_memes_of_before_and_after(client: httpx.AsyncClient) -> None:
    before, other = await add(client, 1, "cropped"), await add(client, 2)
    await learn(client, 1, "Pointing Walrus", "disapproval")
    await until_shown_by(client, "pointing WALRUS", {before})
    after = await add(client, 1, "mirrored")
    await until_shown_by(client, "Pointing Walrus", {before, after})
    expected = dict.fromkeys((before, after), "Pointing Walrus")
    assert await matched(client, "pointing walrus") == await matched(client, "disapproval") == expected
    assert set((await matched(client, "caption")).values()) == {None}
    shown = (await client.get(f"/api/assets/{before}")).json()["asset"]["templates"]
    assert [each["name"] for each in shown] == ["Pointing Walrus"]
    assert (await client.get(f"/api/assets/{other}")).json()["asset"]["templates"] == []


async def test_a_person_names_the_template_of_a_meme_and_so_of_all_that_share_it(client: httpx.AsyncClient) -> None:
    named, same, _ = await add(client, 3), await add(client, 3, "bordered"), await add(client, 4)
    reply = await client.put(f"/api/assets/{named}/template", json={"name": "  Sad\u202e  Table "})
    assert reply.json()["template"]["name"] == "Sad Table"
    assert named in await shown_by(client, "sad table")
    await until_shown_by(client, "sad table", {named, same})
    later = await add(client, 3, "barred")
    await until_shown_by(client, "sad table", {named, same, later})


async def test_two_pictures_and_two_spellings_are_one_template(client: httpx.AsyncClient) -> None:
    first = await learn(client, 5, "Odd Couple")
    assert await learn(client, 5, "odd couple") == await learn(client, 6, "ODD COUPLE", "pair") == first
    one, other = await add(client, 5), await add(client, 6)
    await until_shown_by(client, first, {one, other})
    (listed,) = (await client.get("/api/templates")).json()["templates"]
    assert listed == {"id": first, "name": "Odd Couple", "keywords": ["pair"], "pictureCount": 2, "assetCount": 2}
    assert await matched(client, "pair") == dict.fromkeys((one, other), "Odd Couple")


async def test_a_removed_template_is_no_name_any_more(client: httpx.AsyncClient) -> None:
    template, asset = await learn(client, 7, "Old Joke"), await add(client, 7)
    await until_shown_by(client, template, {asset})
    assert (await client.delete(f"/api/templates/{template}")).status_code == 200
    assert await matched(client, "old joke") == {}
    assert (await client.get("/api/templates")).json() == {"templates": []}
    assert (await client.delete(f"/api/templates/{template}")).status_code == 404


@pytest.mark.parametrize(
    ("name", "data", "status"),
    [
        ("", png(draw_scene(1)), 400),
        ("x" * 101, png(draw_scene(1)), 400),
        ("Plain", png(Image.new("RGB", (300, 300), "white")), 400),
        ("Text", b"hello", 400),
        ("Broken", b"\xff\xd8\xff broken", 400),
    ],
)
@pytest.mark.parametrize("client", ["sqlite"], indirect=True)
async def test_a_picture_that_cannot_be_a_template_is_rejected(
    client: httpx.AsyncClient, name: str, data: bytes, status: int
) -> None:
    reply = await client.post("/api/templates", params={"name": name}, content=data)
    assert (reply.status_code, reply.json()["success"]) == (status, False)


async def test_a_comparison_that_was_interrupted_continues_after_a_restart(tmp_path: Path) -> None:
    """The server ends between the template's arrival and the comparison."""
    config = Config(data=tmp_path / "library")
    config.data.mkdir()
    features = [compute_features(draw_scene(8), [], mirrored=each) for each in (False, True)]
    async with library_in(config) as client:
        asset = await add(client, 8)
    async with open_stores(config) as stores:
        await stores.templates.add_picture(
            "", Template(new_id(), "Late"), TemplatePicture("0" * 64, *features), now_ms=1
        )
    async with library_in(config) as client:
        await until_shown_by(client, "late", {asset})
