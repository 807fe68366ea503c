"""The HTTP contract between a Sploot and its clients: one suite for every way to reach a server.

It runs against sploot-server in process, over TCP, over a Unix socket and with accounts, and against any Sploot:

    SPLOOT_CONTRACT_URL=https://sploot.example SPLOOT_CONTRACT_TOKEN=... pytest tests/contract/test_sploot_contract.py

A server without the feature `embeddingStates` is expected to deviate as Sploot does; one with it must not.
Every test uploads new images and deletes them permanently at the end.
"""

import asyncio
import contextlib
import hashlib
import os
import re
import struct
import subprocess
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from sploot_server.app import create_app
from sploot_server.config import Config
from toy_library import COMMAND, FakeEmbedder, ServerProcess

URL, TOKEN = os.environ.get("SPLOOT_CONTRACT_URL"), os.environ.get("SPLOOT_CONTRACT_TOKEN")
ENDPOINTS = ["in process", "over TCP", "over a Unix socket", "with a token", *(["external"] if URL else [])]
TIMEOUT_S = 70.0
UPLOADED = {"id", "blobUrl", "pathname", "filename", "mimeType", "size", "checksum", "createdAt", "needsEmbedding"}
CHECKED = {"id", "blobUrl", "pathname", "mime", "size", "checksumSha256", "hasEmbedding", "createdAt"}
LISTED = {"id", "blobUrl", "pathname", "filename", "mime", "size", "favorite", "createdAt", "embedding", "tags"}


def png() -> bytes:
    """Return a new image of random noise."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + os.urandom(24) for _ in range(8))
    head = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Endpoint:
    """How a Sploot is reached. Without a URL each test has a new server in this process."""

    url: str | None = None
    socket: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Sploot:
    client: httpx.AsyncClient
    features: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_sploot_server(self) -> bool:
        return "embeddingStates" in self.features

    async def upload(self, data: bytes, *, tags: str | None = None, mime: str = "image/png") -> httpx.Response:
        form = {} if tags is None else {"tags": tags}
        return await self.client.post("/api/upload", files={"file": ("a.png", data, mime)}, data=form)

    async def check(self, data: bytes) -> dict[str, Any]:
        response = await self.client.post("/api/upload/check", json={"checksum": checksum(data)})
        assert response.status_code == 200
        return dict(response.json())

    async def remove(self, data: bytes) -> None:
        if (found := await self.check(data))["exists"]:
            await self.client.delete(f"/api/assets/{found['asset']['id']}?permanent=true")


def token_for(user: str, data: Path) -> str:
    """Create a user in the library in `data` and return a token."""
    for command in (["user", "add"], ["token", "create"]):
        done = subprocess.run([*COMMAND, *command, user, "--data", str(data)], check=True, capture_output=True)
    return done.stdout.decode().split()[-1]


@pytest.fixture(params=ENDPOINTS, scope="module")
def endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    if request.param == "in process":
        yield Endpoint()
    elif request.param == "external":
        assert URL is not None
        yield Endpoint(url=URL, headers={"authorization": f"Bearer {TOKEN}"} if TOKEN else {})
    else:
        data = tmp_path_factory.mktemp("served") / "library"
        token = token_for("anna", data) if request.param == "with a token" else None
        is_unix = request.param == "over a Unix socket"
        server = ServerProcess(data, port=None if is_unix else 0)
        headers = {"authorization": f"Bearer {token}"} if token else {}
        yield Endpoint("http://localhost" if is_unix else server.address, server.socket if is_unix else None, headers)
        server.stop()


@pytest.fixture
async def sploot(endpoint: Endpoint, tmp_path: Path) -> AsyncIterator[Sploot]:
    async with contextlib.AsyncExitStack() as closing:
        transport: httpx.AsyncBaseTransport = httpx.AsyncHTTPTransport(uds=endpoint.socket and str(endpoint.socket))
        if endpoint.url is None:
            config = Config(data=tmp_path / "library")
            config.data.mkdir()
            transport = httpx.ASGITransport(await closing.enter_async_context(create_app(config, FakeEmbedder())))
        url = endpoint.url or "http://localhost"
        client = httpx.AsyncClient(transport=transport, base_url=url, headers=endpoint.headers, timeout=TIMEOUT_S)
        await closing.enter_async_context(client)
        limits = (await client.get("/api/upload")).json()
        yield Sploot(client, limits.get("features", {}), limits["limits"])


@pytest.fixture
async def image(sploot: Sploot) -> AsyncIterator[bytes]:
    data = png()
    yield data
    await sploot.remove(data)


async def test_health_and_limits(sploot: Sploot) -> None:
    health = await sploot.client.get("/api/health")
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert (await sploot.client.head("/api/health")).status_code == 200
    services = (await sploot.client.get("/api/health/services")).json()
    assert {"canAuthenticate", "canUpload", "canStore", "canSearch"} <= services["readiness"].keys()
    assert sploot.limits["maxFileSize"] > 0
    assert {"image/jpeg", "image/png", "image/webp", "image/gif"} <= set(sploot.limits["allowedTypes"])


async def test_an_image_is_created_once_and_found_by_its_hash(sploot: Sploot, image: bytes) -> None:
    assert (await sploot.check(image))["exists"] is False
    first = await sploot.upload(image)
    assert first.status_code == 201
    body = first.json()
    assert (body["success"], body["isDuplicate"]) == (True, False)
    assert body["asset"].keys() >= UPLOADED
    assert (body["asset"]["checksum"], body["asset"]["size"]) == (checksum(image), len(image))
    found = await sploot.check(image)
    assert found["exists"] is True
    assert found["asset"].keys() >= CHECKED
    assert (found["asset"]["id"], found["asset"]["checksumSha256"]) == (body["asset"]["id"], checksum(image))
    again = await sploot.upload(image)
    assert (again.status_code, again.json()["success"], again.json()["isDuplicate"]) == (409, True, True)
    assert again.json()["asset"]["id"] == body["asset"]["id"]


async def test_concurrent_uploads_of_the_same_bytes_create_one_asset(sploot: Sploot, image: bytes) -> None:
    responses = await asyncio.gather(*(sploot.upload(image) for _ in range(6)))
    statuses = sorted(response.status_code for response in responses)
    assert statuses.count(201) == 1
    if sploot.is_sploot_server:
        assert statuses == [201] + [409] * 5
    else:
        assert set(statuses) <= {201, 409, 500}
    assert (await sploot.upload(image)).status_code == 409


async def test_a_soft_deleted_image_does_not_exist_and_can_be_restored(sploot: Sploot, image: bytes) -> None:
    asset_id = (await sploot.upload(image)).json()["asset"]["id"]
    for _ in range(2):
        assert (await sploot.client.delete(f"/api/assets/{asset_id}")).status_code == 200
    assert (await sploot.check(image))["exists"] is False
    restored = await sploot.upload(image)
    if sploot.is_sploot_server:
        assert (restored.status_code, restored.json()["asset"]["id"]) == (201, asset_id)
        assert (await sploot.client.get(f"/api/assets/{asset_id}")).status_code == 200
    else:
        assert restored.status_code == 500
        await sploot.client.delete(f"/api/assets/{asset_id}?permanent=true")
        assert (await sploot.upload(image)).status_code == 201


async def test_a_permanently_deleted_image_does_not_exist(sploot: Sploot, image: bytes) -> None:
    asset_id = (await sploot.upload(image)).json()["asset"]["id"]
    path = f"/api/assets/{asset_id}"
    assert (await sploot.client.delete(f"{path}?permanent=true")).status_code == 200
    responses = [
        await sploot.client.get(path),
        await sploot.client.delete(path),
        await sploot.client.delete(f"{path}?permanent=true"),
        await sploot.client.patch(path, json={"favorite": True}),
    ]
    assert [response.status_code for response in responses] == [404] * 4
    assert (await sploot.upload(image)).status_code == 201


async def test_an_image_has_one_share_link(sploot: Sploot, image: bytes) -> None:
    asset_id = (await sploot.upload(image)).json()["asset"]["id"]
    responses = [await sploot.client.post(f"/api/assets/{asset_id}/share") for _ in range(2)]
    assert [response.status_code for response in responses] == [200, 200]
    first, again = (response.json()["shareUrl"] for response in responses)
    assert first == again
    assert re.search(r"^https?://[^/]+/s/[\w-]+$", first)
    assert (await sploot.client.post("/api/assets/c0000000000000000000000000/share")).status_code == 404
    await sploot.client.delete(f"/api/assets/{asset_id}")
    assert (await sploot.client.post(f"/api/assets/{asset_id}/share")).status_code == 404


async def test_a_file_that_is_not_an_image_is_rejected_with_a_message(sploot: Sploot) -> None:
    empty = await sploot.upload(b"")
    assert (empty.status_code, empty.json()["error"]) == (400, "File appears to be empty")
    text = b"just text " + os.urandom(8)
    mislabelled = await sploot.upload(text, mime="image/jpeg")
    assert mislabelled.status_code == (400 if sploot.is_sploot_server else 201)
    await sploot.remove(text)
    nothing = await sploot.client.post("/api/upload", files={"tags": (None, "[]")})
    assert (nothing.status_code, nothing.json()["error"]) == (400, "No file provided")


async def test_a_file_over_the_limit_is_rejected(sploot: Sploot) -> None:
    rejected = await sploot.upload(png() + bytes(sploot.limits["maxFileSize"]))
    assert rejected.status_code == 413 if sploot.is_sploot_server else rejected.status_code in (400, 413)


async def test_tags_are_stored_and_can_be_changed(sploot: Sploot, image: bytes) -> None:
    uploaded = await sploot.upload(image, tags='["contract one", "contract two", "contract one"]')
    path = f"/api/assets/{uploaded.json()['asset']['id']}"

    async def tags() -> set[str]:
        return {tag["name"] for tag in (await sploot.client.get(path)).json()["asset"]["tags"]}

    assert await tags() == {"contract one", "contract two"}
    for _ in range(2):
        added = await sploot.client.post(f"{path}/tags", json={"tagNames": ["Contract Three"]})
        assert added.status_code == 200
    assert "contract three" in await tags()
    known = {tag["name"]: tag for tag in (await sploot.client.get("/api/tags")).json()["tags"]}
    assert known["contract one"]["assetCount"] >= 1
    for _ in range(2):
        edited = await sploot.client.patch(path, json={"favorite": True, "tags": ["contract two"]})
        assert (edited.status_code, edited.json()["asset"]["favorite"]) == (200, True)
    assert await tags() == {"contract two"}


@pytest.mark.parametrize("tags", ['["<b>"]', '["' + "x" * 51 + '"]', '[" "]', str([f"t{n}" for n in range(21)])])
async def test_invalid_tags_are_rejected_and_nothing_is_stored(sploot: Sploot, image: bytes, tags: str) -> None:
    response = await sploot.upload(image, tags=tags.replace("'", '"'))
    assert (response.status_code, response.json()["success"]) == (400, False)
    assert (await sploot.check(image))["exists"] is False


async def test_lists_are_paged_with_the_newest_first(sploot: Sploot, image: bytes) -> None:
    other = png()
    ids = [(await sploot.upload(each)).json()["asset"]["id"] for each in (image, other)]
    page = (await sploot.client.get("/api/assets?limit=1&sortBy=createdAt&sortOrder=desc")).json()
    assert page["assets"][0].keys() >= LISTED
    assert page["assets"][0]["id"] == ids[1]
    assert (page["pagination"]["limit"], page["pagination"]["offset"]) == (1, 0)
    assert page["pagination"]["hasMore"] is True
    rest = (await sploot.client.get("/api/assets?limit=1&offset=1")).json()
    assert rest["assets"][0]["id"] == ids[0]
    for query in ("limit=abc", "offset=-1"):
        assert (await sploot.client.get(f"/api/assets?{query}")).status_code == (
            400 if sploot.is_sploot_server else 500
        )
    await sploot.remove(other)


async def test_embedding_statuses_in_batches(sploot: Sploot, image: bytes) -> None:
    asset_id = (await sploot.upload(image)).json()["asset"]["id"]
    path = "/api/assets/batch/embedding-status"
    statuses = (await sploot.client.post(path, json={"assetIds": [asset_id, "unknown"]})).json()["statuses"]
    assert statuses[asset_id]["status"] in {"pending", "processing", "ready", "failed"}
    assert statuses["unknown"]["status"] == "failed"
    assert "not found" in statuses["unknown"]["error"]
    assert (await sploot.client.post(path, json={"assetIds": []})).json() == {"statuses": {}}
    assert (await sploot.client.post(path, json={"assetIds": ["x"] * 51})).status_code == 400
    single = (await sploot.client.get(f"/api/assets/{asset_id}/embedding-status")).json()
    assert single["assetId"] == asset_id
    assert (await sploot.client.get("/api/assets/unknown/embedding-status")).status_code == 404


async def test_search_returns_matches(sploot: Sploot) -> None:
    found = await sploot.client.post("/api/search", json={"query": "a cat", "limit": 5})
    assert found.status_code == 200
    assert {"results", "query", "total", "limit", "threshold", "processingTime"} <= found.json().keys()
    for body in ({}, {"query": ""}, {"query": "x" * 501}):
        assert (await sploot.client.post("/api/search", json=body)).status_code == 400


async def test_a_request_without_valid_json_is_rejected(sploot: Sploot) -> None:
    response = await sploot.client.post("/api/upload/check", content=b"{")
    assert response.status_code == (400 if sploot.is_sploot_server else 500)
    for body in ({}, {"checksum": 7}, {"checksum": "abc"}):
        assert (await sploot.client.post("/api/upload/check", json=body)).status_code == 400


async def test_batch_checks_and_bundles_if_supported(sploot: Sploot, image: bytes) -> None:
    other, checksums = png(), [checksum(image), "0" * 64]
    checked = await sploot.client.post("/api/upload/check/batch", json={"checksums": checksums})
    if "checkBatch" not in sploot.features:
        assert checked.status_code in (404, 405)
        return
    files = [("file", ("a.png", data, "image/png")) for data in (image, b"text", other, image)]
    sent = await sploot.client.post("/api/upload/bundle", files=files)
    assert sent.status_code == 200
    uploads = sent.json()["results"]
    assert (uploads[1]["status"], uploads[2]["status"]) == (400, 201)
    assert sorted([uploads[0]["status"], uploads[3]["status"]]) == [201, 409]
    assert uploads[0]["asset"]["id"] == uploads[3]["asset"]["id"]
    results = (await sploot.client.post("/api/upload/check/batch", json={"checksums": checksums})).json()["results"]
    assert results[checksums[0]]["asset"]["id"] == uploads[0]["asset"]["id"]
    assert results[checksums[1]]["exists"] is False
    await sploot.remove(other)


async def test_a_signed_out_client_gets_a_header(sploot: Sploot) -> None:
    if not sploot.client.headers.get("authorization"):
        pytest.skip(
            "this Sploot requires no token; set SPLOOT_CONTRACT_URL and SPLOOT_CONTRACT_TOKEN for one that does"
        )
    for method, path in (("GET", "/api/upload"), ("GET", "/api/assets"), ("POST", "/api/upload/check")):
        response = await sploot.client.request(method, path, headers={"authorization": "Bearer wrong"})
        assert response.headers["x-clerk-auth-status"] == "signed-out"
        assert response.status_code == 401 if sploot.is_sploot_server else response.status_code >= 400
