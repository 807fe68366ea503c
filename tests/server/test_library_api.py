"""Sploot's API, tested with a client in the same process."""

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sploot_server.config import Config
from sploot_server.domain.embedding import UnreadableImage
from sploot_server.http import request_body
from sploot_server.http.routes.uploads import FEATURES
from sploot_server.http.tus.headers import FEATURES as TUS_FEATURES
from toy_library import FakeEmbedder, picture


async def upload(client: httpx.AsyncClient, data: bytes, *, name: str = "a.jpg", **form: str) -> httpx.Response:
    return await client.post("/api/upload", files={"file": (name, data, "image/jpeg")}, data=form)


async def made(client: httpx.AsyncClient, text: str, **form: str) -> str:
    """Upload a picture, wait for its embedding and return its id."""
    asset_id: str = (await upload(client, picture(text), **form)).json()["asset"]["id"]
    await client.post(f"/api/assets/{asset_id}/generate-embedding")
    return asset_id


async def test_an_upload_is_created_once_and_stored_byte_for_byte(client: httpx.AsyncClient) -> None:
    data = picture("x" * 600_000)
    first = await upload(client, data, tags='["Cat"]')
    assert first.status_code == 201
    asset = first.json()["asset"]
    assert first.json()["isDuplicate"] is False
    assert (asset["checksum"], asset["size"]) == (hashlib.sha256(data).hexdigest(), len(data))
    assert (asset["mimeType"], asset["needsEmbedding"]) == ("image/jpeg", True)
    again = await upload(client, data, name="b.png")
    assert again.status_code == 409
    assert (again.json()["success"], again.json()["isDuplicate"]) == (True, True)
    assert again.json()["asset"]["id"] == asset["id"]
    original = await client.get(asset["blobUrl"])
    assert (original.content, original.headers["content-type"]) == (data, "image/jpeg")


async def test_concurrent_uploads_of_the_same_content_create_one_asset(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(upload(client, picture("same"), tags='["t"]') for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 11
    assert len({answer.json()["asset"]["id"] for answer in answers}) == 1


async def test_a_deleted_asset_is_restored_when_it_is_uploaded_again(client: httpx.AsyncClient) -> None:
    first = (await upload(client, picture("a"))).json()["asset"]
    deleted = await client.delete(f"/api/assets/{first['id']}")
    assert deleted.json()["message"] == "Asset soft deleted"
    check = await client.post("/api/upload/check", json={"checksum": first["checksum"]})
    assert check.json() == {"exists": False, "message": "Asset not found. Safe to upload."}
    assert (await client.get(first["blobUrl"])).status_code == 404
    restored = await upload(client, picture("a"))
    assert (restored.status_code, restored.json()["asset"]["id"]) == (201, first["id"])
    assert (await client.get(first["blobUrl"])).content == picture("a")


async def test_purging_removes_the_content(client: httpx.AsyncClient, config: Config) -> None:
    asset = (await upload(client, picture("a"))).json()["asset"]
    await client.delete(f"/api/assets/{asset['id']}")
    purged = await client.delete(f"/api/assets/{asset['id']}?permanent=true")
    assert purged.json() == {"message": "Asset permanently deleted"}
    assert (await client.delete(f"/api/assets/{asset['id']}?permanent=true")).status_code == 404
    assert list((config.data / "blobs").glob("*/*")) == []
    assert (await upload(client, picture("a"))).status_code == 201


async def test_uploading_and_purging_the_same_bytes_never_leaves_a_row_without_bytes(client: httpx.AsyncClient) -> None:
    for _ in range(20):
        asset = (await upload(client, picture("a"))).json()["asset"]
        await asyncio.gather(client.delete(f"/api/assets/{asset['id']}?permanent=true"), upload(client, picture("a")))
        for each in (await client.get("/api/assets")).json()["assets"]:
            assert (await client.get(each["blobUrl"])).content == picture("a")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "File appears to be empty"),
        (b"just text, called a.jpg", "File type not supported. Use JPEG, PNG, WebP, or GIF"),
        (b"\x00\x00\x00\x20ftypavif....", "File type not supported. Use JPEG, PNG, WebP, or GIF"),
    ],
)
async def test_other_file_types_are_rejected(client: httpx.AsyncClient, data: bytes, message: str) -> None:
    rejected = await upload(client, data)
    assert (rejected.status_code, rejected.json()) == (400, {"success": False, "error": message})


async def test_a_file_may_be_exactly_as_large_as_the_limit(client: httpx.AsyncClient, config: Config) -> None:
    limit = config.upload_bytes_max
    assert (await upload(client, picture("x" * (limit - 3)))).status_code == 201
    rejected = await upload(client, picture("y" * (limit - 2)))
    assert rejected.status_code == 413
    assert rejected.json()["error"] == "File is too large (10.0MB). Maximum size is 10MB"
    assert list((config.data / "incoming").iterdir()) == []


async def test_an_endless_body_is_rejected(client: httpx.AsyncClient) -> None:
    head = b'--b0undary0b0undary0\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n\xff\xd8\xff'
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        yield head
        while True:
            sent += 1 << 20
            yield b"x" * (1 << 20)

    headers = {"content-type": "multipart/form-data; boundary=b0undary0b0undary0"}
    rejected = await client.post("/api/upload", content=body(), headers=headers)
    assert (rejected.status_code, rejected.headers["connection"]) == (413, "close")
    assert sent < 100 << 20


async def test_a_stalled_body_is_rejected(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "IDLE_TIMEOUT_S", 0.05)

    async def body() -> AsyncIterator[bytes]:
        yield b"--b0undary0b0undary0\r\n"
        await asyncio.Event().wait()

    headers = {"content-type": "multipart/form-data; boundary=b0undary0b0undary0"}
    rejected = await client.post("/api/upload", content=body(), headers=headers)
    assert (rejected.status_code, rejected.json()["error"]) == (408, "The request body arrived too slowly")


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ('["' + '","'.join(map(str, range(21))) + '"]', "You can add up to 20 tags per upload"),
        ('[" "]', "Empty tags are not allowed"),
        (f'["{"x" * 51}"]', "Tags must be 50 characters or less"),
        ('["<b>"]', "Tags cannot contain special characters like < or >"),
        ('["a\\nb"]', "Invalid tag format"),
    ],
)
async def test_bad_tags_are_rejected_with_sploots_messages(client: httpx.AsyncClient, tags: str, message: str) -> None:
    rejected = await upload(client, picture("a"), tags=tags)
    assert (rejected.status_code, rejected.json()["error"]) == (400, message)


async def test_tags_that_are_not_json_are_ignored_with_a_warning(client: httpx.AsyncClient) -> None:
    answer = await upload(client, picture("a"), tags="cat")
    assert answer.status_code == 201
    assert "not a JSON array" in answer.json()["warning"]


async def test_tags_of_a_duplicate_are_added(client: httpx.AsyncClient) -> None:
    await upload(client, picture("a"), tags='["one"]')
    asset_id = (await upload(client, picture("a"), tags='["ONE", "two"]')).json()["asset"]["id"]
    tags = (await client.get(f"/api/assets/{asset_id}")).json()["asset"]["tags"]
    assert [tag["name"] for tag in tags] == ["one", "two"]
    added = await client.post(f"/api/assets/{asset_id}/tags", json={"tagNames": ["Three"]})
    assert [tag["name"] for tag in added.json()["addedTags"]] == ["three"]
    counts = (await client.get("/api/tags")).json()["tags"]
    assert [(tag["name"], tag["assetCount"]) for tag in counts] == [("one", 1), ("three", 1), ("two", 1)]


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "..\\..\\x.jpg", "/abs/olute.jpg", "a\x00b.jpg", "", "..", "x" * 999]
)
async def test_a_file_name_never_becomes_a_path(client: httpx.AsyncClient, config: Config, name: str) -> None:
    asset = (await upload(client, picture("a"), name=name)).json()["asset"]
    assert "/" not in asset["filename"]
    assert len(asset["filename"]) <= 255
    files = [path.relative_to(config.data) for path in (config.data / "blobs").glob("*/*")]
    assert files == [Path("blobs", asset["checksum"][:2], asset["checksum"])]
    assert (await client.get(asset["blobUrl"])).content == picture("a")


async def test_the_case_of_a_checksum_does_not_matter(client: httpx.AsyncClient) -> None:
    asset = (await upload(client, picture("a"))).json()["asset"]
    check = await client.post("/api/upload/check", json={"checksum": asset["checksum"].upper()})
    assert (check.json()["exists"], check.json()["asset"]["id"]) == (True, asset["id"])
    assert check.json()["asset"]["checksumSha256"] == asset["checksum"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "Checksum is required and must be a string"),
        (b'{"checksum": 1}', "Checksum is required and must be a string"),
        (b'{"checksum": "abc"}', "Invalid checksum format. Expected SHA256 hash (64 hex characters)"),
        (b"[]", "The request body must be a JSON object"),
        (b"{", "The request body is not valid JSON"),
        (b'{"checksum": "\\ud800"}', "The request body is not valid JSON"),
        (b"[" * 50_000, "The request body is not valid JSON"),
    ],
)
async def test_a_bad_check_is_rejected(client: httpx.AsyncClient, body: bytes, message: str) -> None:
    rejected = await client.post("/api/upload/check", content=body)
    assert (rejected.status_code, rejected.json()["error"]) == (400, message)


async def test_a_huge_json_body_is_rejected(client: httpx.AsyncClient) -> None:
    rejected = await client.post("/api/search", content=b" " * 70_000)
    assert rejected.status_code == 413


async def test_limits_and_features_are_listed(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/upload")).json() == {
        "status": "ready",
        "blobConfigured": True,
        "limits": {"maxFileSize": 10485760, "allowedTypes": ["image/jpeg", "image/png", "image/webp", "image/gif"]},
        "features": FEATURES | TUS_FEATURES,
    }


async def test_health_answers_get_and_head(client: httpx.AsyncClient) -> None:
    got, headed = await client.get("/api/health"), await client.head("/api/health")
    assert (got.json()["status"], got.headers["cache-control"]) == ("ok", "no-store")
    assert (headed.status_code, headed.content) == (200, b"")


async def test_the_health_of_each_service_is_reported(client: httpx.AsyncClient, config: Config) -> None:
    healthy = (await client.get("/api/health/services")).json()
    assert (healthy["status"], healthy["services"]["storage"]) == ("ok", {"status": "ok"})
    assert healthy["readiness"] == dict.fromkeys(["canAuthenticate", "canUpload", "canStore", "canSearch"], True)
    (config.data / "incoming").rmdir()
    degraded = await client.get("/api/health/services")
    assert (degraded.status_code, degraded.json()["status"]) == (200, "degraded")
    assert degraded.json()["readiness"] == {
        "canAuthenticate": True,
        "canUpload": False,
        "canStore": False,
        "canSearch": True,
    }


async def test_embedding_statuses_are_accurate(client: httpx.AsyncClient, embedder: FakeEmbedder) -> None:
    ready, wordless = await made(client, "words"), await made(client, "")
    embedder.hold = asyncio.Event()
    waiting = (await upload(client, picture("later"))).json()["asset"]["id"]
    answer = await client.post(
        "/api/assets/batch/embedding-status", json={"assetIds": [ready, wordless, waiting, "unknown", ready]}
    )
    statuses = answer.json()["statuses"]
    assert statuses[ready] == statuses[wordless] == {"hasEmbedding": True, "status": "ready"}
    assert statuses[waiting]["hasEmbedding"] is False
    assert statuses[waiting]["status"] in ("pending", "processing")
    assert statuses["unknown"] == {
        "hasEmbedding": False,
        "status": "failed",
        "error": "Asset not found or access denied",
    }
    assert (await client.get(f"/api/assets/{ready}/embedding-status")).json() == {
        "assetId": ready,
        "hasEmbedding": True,
        "status": "ready",
    }
    assert (await client.get("/api/assets/unknown/embedding-status")).status_code == 404
    embedding = (await client.get(f"/api/assets/{wordless}")).json()["asset"]["embedding"]
    assert (embedding["status"], embedding["dim"]) == ("ready", embedder.model.dim)
    embedder.hold.set()


async def test_at_most_fifty_statuses_are_returned_per_request(client: httpx.AsyncClient) -> None:
    asked = await client.post("/api/assets/batch/embedding-status", json={"assetIds": ["x"] * 51})
    assert (asked.status_code, asked.json()["error"]) == (400, "Batch size exceeds maximum of 50 assets")
    assert (await client.post("/api/assets/batch/embedding-status", json={"assetIds": []})).json() == {"statuses": {}}
    wrong = await client.post("/api/assets/batch/embedding-status", json={"assetIds": [1]})
    assert (wrong.status_code, wrong.json()["error"]) == (400, "Invalid request: assetIds must be an array")


async def test_an_embedding_is_generated_on_demand(client: httpx.AsyncClient) -> None:
    asset_id = (await upload(client, picture("words"))).json()["asset"]["id"]
    generated = await client.post(f"/api/assets/{asset_id}/generate-embedding")
    again = await client.post(f"/api/assets/{asset_id}/generate-embedding")
    assert generated.json()["embedding"]["dimension"] == 64
    assert (again.status_code, again.json()["message"]) == (200, "Embedding already exists")
    assert (await client.post("/api/assets/unknown/generate-embedding")).status_code == 404


async def test_a_failed_embedding_reports_its_error(client: httpx.AsyncClient, embedder: FakeEmbedder) -> None:
    embedder.errors["bad"] = [UnreadableImage("It is broken.")] * 99
    asset_id = (await upload(client, picture("bad"))).json()["asset"]["id"]
    rejected = await client.post(f"/api/assets/{asset_id}/generate-embedding")
    assert (rejected.status_code, rejected.json()["error"]) == (422, "It is broken.")
    assert (await client.get(f"/api/assets/{asset_id}/embedding-status")).json()["error"] == "It is broken."
    embedder.errors.clear()
    again = await client.post(f"/api/assets/{asset_id}/generate-embedding")
    assert (again.status_code, again.json()["embedding"]["modelName"]) == (200, "fake")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nope", 404),
        ("PUT", "/api/upload", 405),
        ("GET", "/api/assets/x", 404),
        ("POST", "/api/upload-url", 404),
    ],
)
async def test_errors_are_json(client: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert answer.json()["error"]


async def test_internal_errors_are_json_too(client: httpx.AsyncClient, config: Config) -> None:
    (config.data / "incoming").rmdir()
    answer = await upload(client, picture("a"))
    assert (answer.status_code, answer.json()["success"]) == (500, False)


@pytest.mark.parametrize(
    "query",
    [
        "limit=abc",
        "offset=-1",
        "sortBy=best",
        "sortOrder=up",
        "limit=%D9%A3",
        "offset=" + "9" * 40,
        "createdAfter=soon",
    ],
)
async def test_bad_list_parameters_are_rejected(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.get(f"/api/assets?{query}")).status_code == 400


async def test_lists_can_be_filtered(client: httpx.AsyncClient) -> None:
    ids = [await made(client, str(number), tags='["cat"]' if number else "[]") for number in range(3)]
    png = (await upload(client, b"\x89PNG\r\n\x1a\n....", name="a.png")).json()["asset"]["id"]
    await client.patch(f"/api/assets/{ids[2]}", json={"favorite": True})
    (tag,) = (await client.get("/api/tags")).json()["tags"]
    middle = (await client.get(f"/api/assets/{ids[1]}")).json()["asset"]["createdAt"]

    async def listed(query: dict[str, str]) -> list[str]:
        page = (await client.get("/api/assets", params={"sortOrder": "asc", **query})).json()
        assert page["pagination"]["total"] == len(page["assets"])
        return [asset["id"] for asset in page["assets"]]

    assert await listed({}) == [*ids, png]
    assert await listed({"favorite": "true"}) == [ids[2]]
    assert await listed({"favorite": "no"}) == [ids[0], ids[1], png]
    assert await listed({"tagId": tag["id"]}) == ids[1:]
    assert await listed({"tagId": tag["id"], "favorite": "true", "mime": "image/jpeg"}) == [ids[2]]
    assert await listed({"mime": "image/png"}) == [png]
    assert set(await listed({"createdAfter": middle})) >= {ids[1], ids[2], png}
    assert set(await listed({"createdBefore": middle})) <= {ids[0]}
    assert await listed({"createdAfter": "2001-01-01", "createdBefore": "2002-01-01T00:00:00+02:00"}) == []


async def test_lists_report_their_total_and_end(client: httpx.AsyncClient) -> None:
    ids = [(await upload(client, picture(str(number)))).json()["asset"]["id"] for number in range(3)]
    page = (await client.get("/api/assets?limit=2&sortOrder=asc")).json()
    assert [asset["id"] for asset in page["assets"]] == ids[:2]
    assert page["pagination"] == {"total": 3, "limit": 2, "offset": 0, "hasMore": True}
    assert (await client.get("/api/assets?limit=2&offset=2")).json()["pagination"]["hasMore"] is False


async def test_assets_are_edited(client: httpx.AsyncClient) -> None:
    asset_id = (await upload(client, picture("a"), tags='["x"]')).json()["asset"]["id"]
    edited = (await client.patch(f"/api/assets/{asset_id}", json={"favorite": True, "tags": ["y"]})).json()["asset"]
    assert (edited["favorite"], [tag["name"] for tag in edited["tags"]]) == (True, ["y"])
    assert (await client.patch(f"/api/assets/{asset_id}", json={"favorite": "yes"})).status_code == 400
    assert (await client.patch("/api/assets/unknown", json={"favorite": True})).status_code == 404


async def test_requests_from_other_websites_are_rejected(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/assets", headers={"origin": "https://evil.example"})).status_code == 403
    assert (await client.get("/api/assets", headers={"host": "rebound.example"})).status_code == 403
    assert (await client.get("/api/assets", headers={"origin": "http://localhost"})).status_code == 200


async def test_too_many_concurrent_requests_get_503(client: httpx.AsyncClient, config: Config) -> None:
    parked = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"{"
        await parked.wait()
        yield b"}"

    waiting = [
        asyncio.create_task(client.post("/api/upload/check", content=body())) for _ in range(config.requests_max)
    ]
    for _ in range(10):
        await asyncio.sleep(0)
    rejected = await client.get("/api/assets")
    probe = await client.get("/api/health")
    parked.set()
    assert (rejected.status_code, rejected.headers["retry-after"]) == (503, "1")
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {400}
    assert probe.status_code == 200, "health stands outside the limit"
    assert (await client.get("/api/assets")).status_code == 200


async def test_search_finds_typing_errors_and_joined_words(client: httpx.AsyncClient) -> None:
    texts = ["THIS MEETING\nCOULDHAVE BEEN ANEMAIL", "one does not simply\nwalk into mordor", "such wow\nmuch doge"]
    ids = [await made(client, text) for text in texts]
    for number, query in enumerate(["could have been an email", "simly walk into mordro", "muchdoge"]):
        found = (await client.post("/api/search", json={"query": query})).json()
        best = found["results"][0]
        assert (best["id"], best["matchedText"], best["belowThreshold"]) == (ids[number], texts[number], False)
        assert best["why"]["coverage"] > 0.5
    assert (found["embeddingModel"], found["byMeaning"], found["cached"]) == ("fake", True, False)


async def test_search_finds_new_embeddings_and_no_deleted_assets(client: httpx.AsyncClient) -> None:
    query = {"query": "brand new words"}
    assert (await client.post("/api/search", json=query)).json()["results"] == []
    asset_id = await made(client, "brand new words")
    assert [each["id"] for each in (await client.post("/api/search", json=query)).json()["results"]] == [asset_id]
    await client.delete(f"/api/assets/{asset_id}")
    assert (await client.post("/api/search", json=query)).json()["results"] == []


async def test_search_can_be_filtered(client: httpx.AsyncClient) -> None:
    ids = [await made(client, f"cat number {number}") for number in range(4)]
    await client.patch(f"/api/assets/{ids[2]}", json={"favorite": True, "tags": ["t"]})
    tag_id = (await client.get("/api/tags")).json()["tags"][0]["id"]
    for filters in ({"favorite": True}, {"tagId": tag_id}):
        found = (await client.post("/api/search", json={"query": "cat number", **filters})).json()
        assert [each["id"] for each in found["results"]] == [ids[2]]


async def test_search_by_words_works_without_embeddings(client: httpx.AsyncClient, embedder: FakeEmbedder) -> None:
    asset_id = await made(client, "some plain words")
    embedder.queries_fail = True
    found = (await client.post("/api/search", json={"query": "plain words"})).json()
    assert [each["id"] for each in found["results"]] == [asset_id]
    assert (found["byMeaning"], found["embeddingModel"], found["results"][0]["why"]["meaning"]) == (False, None, None)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Missing or invalid query parameter"),
        ({"query": " "}, "Missing or invalid query parameter"),
        ({"query": "x" * 501}, "Query text too long (max 500 characters)"),
        ({"query": "x", "limit": 0}, "limit must be a whole number, 1 or more"),
        ({"query": "x", "limit": True}, "limit must be a whole number, 1 or more"),
        ({"query": "x", "threshold": "high"}, "threshold must be a number from 0 to 1"),
    ],
)
async def test_a_bad_search_is_rejected(client: httpx.AsyncClient, body: dict[str, object], message: str) -> None:
    rejected = await client.post("/api/search", json=body)
    assert (rejected.status_code, rejected.json()["error"]) == (400, message)


@pytest.mark.parametrize("query", ['"', "* OR (", "'; DROP TABLE assets; --", "\u0000", "\u732b", "!!!", "NEAR(a b)"])
async def test_no_query_is_a_syntax_error(client: httpx.AsyncClient, query: str) -> None:
    assert (await client.post("/api/search", json={"query": query})).status_code == 200


async def test_a_full_disk_is_reported_and_later_uploads_succeed(
    client: httpx.AsyncClient, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        rejected = await upload(client, picture("a"))
    assert (rejected.status_code, rejected.json()["error"]) == (
        507,
        "The disk of the library is full; the file was not stored",
    )
    assert list((config.data / "incoming").iterdir()) == []
    assert (await upload(client, picture("a"))).status_code == 201
