"""Batch requests: one result per file, and nothing stored of a truncated bundle."""

import asyncio
import errno
import hashlib
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sploot_server.config import Config
from sploot_server.http.routes.batch import BUNDLE_BYTES_MAX, BUNDLE_FILES_MAX, CHECKS_MAX
from sploot_server.storage.blobs.files import STORE_ID, FileUploadSink
from toy_library import ServerProcess, picture

BOUNDARY = "b0undary-of-this-test"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
END = f"--{BOUNDARY}--\r\n".encode()


def file_part(data: bytes, *, tags: str | None = None, name: str = "a.jpg") -> bytes:
    """Return a file part, preceded by its tags."""
    opening = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name="
    before = "" if tags is None else f'{opening}"tags"\r\n\r\n{tags}\r\n'
    return f'{before}{opening}"file"; filename="{name}"\r\n\r\n'.encode() + data + b"\r\n"


async def send(client: httpx.AsyncClient, *parts: bytes) -> httpx.Response:
    return await client.post("/api/upload/bundle", content=b"".join((*parts, END)), headers=FORM)


async def check(client: httpx.AsyncClient, checksums: Any) -> httpx.Response:
    return await client.post("/api/upload/check/batch", json={"checksums": checksums})


def checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def test_every_file_of_a_bundle_is_stored_with_its_own_tags(client: httpx.AsyncClient) -> None:
    data = [picture(str(number) * 1000) for number in range(BUNDLE_FILES_MAX)]
    parts = [file_part(each, tags=json.dumps([f"t{n % 3}"]) if n % 2 else None) for n, each in enumerate(data)]
    response = await send(client, *parts)
    assert (response.status_code, response.json()["success"]) == (200, True)
    results = response.json()["results"]
    assert [result["status"] for result in results] == [201] * BUNDLE_FILES_MAX
    assert [result["asset"]["checksum"] for result in results] == [checksum(each) for each in data]
    for number, result in enumerate(results):
        asset = (await client.get(f"/api/assets/{result['asset']['id']}")).json()["asset"]
        assert [tag["name"] for tag in asset["tags"]] == ([f"t{number % 3}"] if number % 2 else [])
        assert (await client.get(asset["blobUrl"])).content == data[number]


async def test_a_bundle_that_is_sent_again_contains_duplicates_only(client: httpx.AsyncClient) -> None:
    parts = [file_part(picture(str(number))) for number in range(5)]
    first, again = (await send(client, *parts)).json()["results"], (await send(client, *parts)).json()["results"]
    assert [result["status"] for result in again] == [409] * 5
    assert [result["asset"]["id"] for result in again] == [result["asset"]["id"] for result in first]
    assert {result["isDuplicate"] for result in again} == {True}


async def test_the_same_bytes_in_many_bundles_at_once_are_created_once(client: httpx.AsyncClient) -> None:
    parts = [file_part(picture(str(number % 3))) for number in range(6)]
    responses = await asyncio.gather(*(send(client, *parts) for _ in range(6)))
    results = [result for response in responses for result in response.json()["results"]]
    assert sorted(result["status"] for result in results) == [201] * 3 + [409] * 33
    assert len({result["asset"]["id"] for result in results}) == 3


async def test_a_bad_file_does_not_affect_the_others(client: httpx.AsyncClient) -> None:
    response = await send(
        client,
        file_part(picture("good")),
        file_part(b""),
        file_part(b"just text"),
        file_part(picture("bad tags"), tags=json.dumps(["<b>"])),
        file_part(picture("odd tags"), tags="cat"),
        file_part(picture("good too")),
    )
    results = response.json()["results"]
    assert [result["status"] for result in results] == [201, 400, 400, 400, 201, 201]
    assert [result.get("error") for result in results[1:4]] == [
        "File appears to be empty",
        "File type not supported. Use JPEG, PNG, WebP, or GIF",
        "Tags cannot contain special characters like < or >",
    ]
    assert "ignored" in results[4]["warning"]
    assert (await client.get("/api/assets")).json()["pagination"]["total"] == 3


@pytest.mark.parametrize("config", [200_000], indirect=True)
async def test_a_file_over_the_limit_is_rejected(client: httpx.AsyncClient) -> None:
    response = await send(client, file_part(picture("x" * 200_001)), file_part(picture("good")))
    assert [result["status"] for result in response.json()["results"]] == [413, 201]


@pytest.fixture
def config(tmp_path: Path, request: pytest.FixtureRequest) -> Config:
    return Config(data=tmp_path / "library", upload_bytes_max=getattr(request, "param", 10_000_000))


async def test_a_full_disk_fails_only_the_file_that_did_not_fit(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, keep = checksum(picture("bad")), FileUploadSink.commit

    async def full(self: FileUploadSink) -> None:
        if self.checksum == bad:
            raise OSError(errno.ENOSPC, "No space left on device")
        await keep(self)

    monkeypatch.setattr(FileUploadSink, "commit", full)
    response = await send(client, file_part(picture("good")), file_part(picture("bad")))
    results = response.json()["results"]
    assert [result["status"] for result in results] == [201, 507]
    assert results[1]["error"] == "The disk of the library is full; the file was not stored"
    monkeypatch.undo()
    assert [each["status"] for each in (await send(client, file_part(picture("bad")))).json()["results"]] == [201]


async def test_nothing_is_stored_of_a_truncated_bundle(client: httpx.AsyncClient, config: Config) -> None:
    body = b"".join(file_part(picture(str(number) * 300_000)) for number in range(5))
    response = await client.post("/api/upload/bundle", content=body, headers=FORM)
    assert (response.status_code, response.json()["success"]) == (400, False)
    assert (await client.get("/api/assets")).json()["pagination"]["total"] == 0
    assert [path.name for path in (config.data / "blobs").rglob("*") if path.is_file()] == [STORE_ID]


def test_nothing_is_stored_of_a_bundle_whose_connection_breaks(start: Callable[..., ServerProcess]) -> None:
    server = start()
    body = b"".join(file_part(picture(str(number) * 300_000)) for number in range(5)) + END
    head = f"POST /api/upload/bundle HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM['content-type']}\r\n"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(server.socket))
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-1000])
    with server.client() as client:
        assert client.get("/api/assets").json()["pagination"]["total"] == 0
        again = client.post("/api/upload/bundle", content=body, headers=FORM).json()["results"]
        assert [result["status"] for result in again] == [201] * 5


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (END, 400, "No file provided"),
        (b"nonsense", 400, "not valid multipart"),
        (file_part(picture("a")) * (BUNDLE_FILES_MAX + 1) + END, 413, f"at most {BUNDLE_FILES_MAX} files"),
        (file_part(picture("a" * BUNDLE_BYTES_MAX)) + END, 413, "The bundle is too large. Maximum size is 2MB"),
    ],
    ids=["no file", "no form", "too many files", "too many bytes"],
)
async def test_an_invalid_bundle_is_rejected_as_a_whole(
    client: httpx.AsyncClient, body: bytes, status: int, error: str
) -> None:
    response = await client.post("/api/upload/bundle", content=body, headers=FORM)
    assert (response.status_code, response.json()["success"]) == (status, False)
    assert error in response.json()["error"]
    assert (await client.get("/api/assets")).json()["pagination"]["total"] == 0


async def test_many_hashes_are_checked_in_one_request(client: httpx.AsyncClient) -> None:
    data = [picture(str(number)) for number in range(10)]
    await send(client, *map(file_part, data))
    deleted_id = (await client.post("/api/upload/check", json={"checksum": checksum(data[3])})).json()["asset"]["id"]
    await client.delete(f"/api/assets/{deleted_id}")
    unknown = [f"{number:064x}" for number in range(CHECKS_MAX - 10)]
    results = (await check(client, [*unknown, *(checksum(each).upper() for each in data)])).json()["results"]
    assert len(results) == CHECKS_MAX
    existing = [each for each, result in results.items() if result["exists"]]
    assert existing == [checksum(each) for number, each in enumerate(data) if number != 3]
    single = (await client.post("/api/upload/check", json={"checksum": existing[0]})).json()
    made_meanwhile = {"hasEmbedding": True, "width": 640, "height": 480}
    assert results[existing[0]]["asset"] | made_meanwhile == single["asset"] | made_meanwhile


async def test_an_empty_batch_check_returns_no_results(client: httpx.AsyncClient) -> None:
    assert (await check(client, [])).json() == {"results": {}}


@pytest.mark.parametrize("checksums", [None, "a" * 64, {"a": 1}, [1], ["xyz"], [""], ["0" * 64] * (CHECKS_MAX + 1)])
async def test_an_invalid_batch_check_is_rejected(client: httpx.AsyncClient, checksums: Any) -> None:
    assert (await check(client, checksums)).status_code == 400
