"""Upload by path: one result per file, never a wrong byte, and few syncs for many files."""

import asyncio
import base64
import errno
import hashlib
import os
import stat
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sploot_server.app import create_app
from sploot_server.config import Config, ConfigError
from sploot_server.http.routes.local_import import UPLOAD_BY_PATH_FILES_MAX
from sploot_server.library import local_import
from sploot_server.storage.sqlite.database import Database
from toy_library import FakeEmbedder, ServerProcess, picture

Made = Callable[..., dict[str, Any]]


@pytest.fixture
async def client(config: Config, embedder: FakeEmbedder, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    config.data.mkdir()
    async with (
        create_app(replace(config, uds=tmp_path / "s", allows_upload_by_path=True), embedder) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        yield client


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Return a function that writes a file and describes it; keywords replace parts of the description."""

    def made(name: str, data: bytes, **changes: Any) -> dict[str, Any]:
        path = tmp_path / name
        path.write_bytes(data)
        return {**description(path, data), **changes}

    return made


def description(path: Path, data: bytes) -> dict[str, Any]:
    coded = base64.b64encode(os.fsencode(path)).decode()
    checksum = hashlib.sha256(data).hexdigest()
    return {"path": coded, "size": len(data), "checksum": checksum, "filename": path.name, "tags": []}


async def upload_by_path(client: httpx.AsyncClient, *files: Any) -> list[dict[str, Any]]:
    answer = await client.post("/api/upload/files", json={"files": files})
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def statuses(results: list[dict[str, Any]]) -> list[int]:
    return [result["status"] for result in results]


async def original(client: httpx.AsyncClient, result: dict[str, Any]) -> bytes:
    return (await client.get(result["asset"]["blobUrl"])).content


def left_over(config: Config) -> list[Path]:
    return list((config.data / "incoming").iterdir())


async def test_every_file_is_stored_byte_for_byte_with_its_own_tags(
    client: httpx.AsyncClient, made: Made, config: Config
) -> None:
    data = [picture(f"{number} ") * (number * 300 + 1) for number in range(UPLOAD_BY_PATH_FILES_MAX - 1)]
    data.append(picture("large") + bytes(3 * local_import.CHUNK_BYTES + 7))
    files = [made(f"{n}.jpg", each, tags=[f"t{n % 3}"] if n % 2 else []) for n, each in enumerate(data)]
    results = await upload_by_path(client, *files)
    assert statuses(results) == [201] * UPLOAD_BY_PATH_FILES_MAX
    for number, result in enumerate(results):
        asset = (await client.get(f"/api/assets/{result['asset']['id']}")).json()["asset"]
        assert [tag["name"] for tag in asset["tags"]] == ([f"t{number % 3}"] if number % 2 else [])
        assert await original(client, result) == data[number]
    assert left_over(config) == []


async def test_content_already_in_the_library_is_not_copied_again(client: httpx.AsyncClient, made: Made) -> None:
    known, tagged = made("a.jpg", picture("a")), made("b.jpg", picture("b"))
    first = await upload_by_path(client, known, tagged, known)
    assert statuses(first) == [201, 201, 409]
    again = await upload_by_path(client, known, {**tagged, "tags": ["late"]})
    assert statuses(again) == [409, 409]
    assert [each["asset"]["id"] for each in again] == [each["asset"]["id"] for each in first[:2]]
    asset = (await client.get(f"/api/assets/{again[1]['asset']['id']}")).json()["asset"]
    assert [tag["name"] for tag in asset["tags"]] == ["late"]


async def test_a_file_that_does_not_match_its_description_does_not_affect_the_others(
    client: httpx.AsyncClient, made: Made, tmp_path: Path, config: Config
) -> None:
    data = picture("true")
    (tmp_path / "link").symlink_to(tmp_path / "good.jpg")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    longer = {**made("longer.jpg", data + b"more"), "size": len(data)}
    results = await upload_by_path(
        client,
        made("good.jpg", data),
        made("other.jpg", picture("eurt"), checksum="0" * 64),
        longer,
        description(tmp_path / "missing", data),
        description(tmp_path / "link", data),
        description(tmp_path / "pipe", data),
        description(tmp_path / "folder", data),
        made("empty.jpg", b""),
        made("text.jpg", b"just text"),
        made("tags.jpg", picture("tags"), tags=["<b>"]),
        made("nul.jpg", picture("nul"), path=base64.b64encode(b"/nul\0").decode()),
    )
    # The symbolic link points to a file of the same request, but it is not followed.
    assert statuses(results) == [201, *[412] * 6, 400, 400, 400, 412]
    assert await original(client, results[0]) == data
    assert left_over(config) == []


async def test_a_file_that_is_too_large_is_rejected_without_reading_it(client: httpx.AsyncClient, made: Made) -> None:
    (result,) = await upload_by_path(client, made("a.jpg", picture("a"), size=10**9))
    assert result["status"] == 413


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"files": []},
        {"files": "a"},
        {"files": [1]},
        {"files": [{"path": "L2E=", "size": -1, "checksum": "0" * 64, "filename": "a"}]},
        {"files": [{"path": "L2E=", "size": True, "checksum": "0" * 64, "filename": "a"}]},
        {"files": [{"path": "é", "size": 1, "checksum": "0" * 64, "filename": "a"}]},
        {"files": [{"path": "YQ==", "size": 1, "checksum": "0" * 64, "filename": "a"}]},
        {"files": [{"path": "L2E=", "size": 1, "checksum": "0", "filename": "a"}]},
        {"files": [{"path": "L2E=", "size": 1, "checksum": "0" * 64, "filename": "a", "tags": "cat"}]},
    ],
)
async def test_an_invalid_list_of_files_is_rejected_as_a_whole(client: httpx.AsyncClient, body: Any) -> None:
    answer = await client.post("/api/upload/files", json=body)
    assert (answer.status_code, answer.json()["success"]) == (400, False)


async def test_more_files_than_the_limit_are_rejected(client: httpx.AsyncClient, made: Made) -> None:
    files = [made("a.jpg", picture("a"))] * (UPLOAD_BY_PATH_FILES_MAX + 1)
    assert (await client.post("/api/upload/files", json={"files": files})).status_code == 413
    features = (await client.get("/api/upload")).json()["features"]
    assert features["uploadByPath"] == UPLOAD_BY_PATH_FILES_MAX


def test_upload_by_path_is_disabled_by_default(start: Callable[..., ServerProcess], made: Made) -> None:
    """Clients of other servers, for instance through a proxy, must not read files with the rights of the server."""
    with start().client() as client:
        assert "uploadByPath" not in client.get("/api/upload").json()["features"]
        assert client.post("/api/upload/files", json={"files": [made("a.jpg", picture("a"))]}).status_code == 404


@pytest.mark.parametrize("changes", [{"uds": None}, {"accounts": True}, {"database": "postgresql://x"}])
def test_upload_by_path_is_allowed_only_on_a_private_unix_socket(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="--allow-upload-by-path"):
        Config(**{"data": tmp_path, "uds": tmp_path / "s", "allows_upload_by_path": True, **changes})


async def test_concurrent_requests_with_the_same_files_create_each_once(client: httpx.AsyncClient, made: Made) -> None:
    files = [made(f"{number}.jpg", picture(str(number))) for number in range(12)]
    answers = await asyncio.gather(*(upload_by_path(client, *files) for _ in range(5)))
    every = [result for results in answers for result in results]
    assert len({result["asset"]["id"] for result in every}) == 12
    assert Counter(statuses(every))[201] == 12
    for result in answers[0]:
        assert await original(client, result)


async def test_a_full_disk_fails_the_file_and_leaves_no_files(
    client: httpx.AsyncClient, made: Made, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, write = made("full.jpg", picture("full")), os.write

    def failing_write(target: int, data: Any) -> int:
        if b"full" in bytes(data):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(target, data)

    monkeypatch.setattr(local_import.os, "write", failing_write)
    assert statuses(await upload_by_path(client, full, made("a.jpg", picture("a")))) == [507, 201]
    monkeypatch.undo()
    assert left_over(config) == []
    assert statuses(await upload_by_path(client, full)) == [201]


async def test_files_that_cannot_be_synced_are_not_acknowledged(
    client: httpx.AsyncClient, made: Made, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [made(f"{number}.jpg", picture(str(number))) for number in range(9)]

    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(local_import.os, "fsync", failing)
    answer = await client.post("/api/upload/files", json={"files": files})
    assert answer.status_code == 500
    monkeypatch.undo()
    assert (await client.get("/api/assets")).json()["assets"] == []
    assert left_over(config) == []


async def test_many_files_need_one_sync_each_and_one_common_transaction(
    client: httpx.AsyncClient, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one sync for each folder with a new entry: after the bytes and before the rows."""
    files = [made(f"{number}.jpg", picture(str(number))) for number in range(UPLOAD_BY_PATH_FILES_MAX)]
    calls: list[str] = []
    fsync, write = os.fsync, Database.write

    def synced(descriptor: int) -> None:
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    async def recording_write(self: Database, operation: Any) -> Any:
        if "add_all" in operation.__qualname__:
            calls.append("rows")
        return await write(self, operation)

    monkeypatch.setattr(local_import.os, "fsync", synced)
    monkeypatch.setattr(Database, "write", recording_write)
    assert statuses(await upload_by_path(client, *files)) == [201] * UPLOAD_BY_PATH_FILES_MAX
    folders = len({file["checksum"][:2] for file in files})
    in_order = ["file"] * UPLOAD_BY_PATH_FILES_MAX + ["folder"] * (folders + 1) + ["rows"]
    assert calls == in_order


async def test_a_cancelled_request_leaves_no_files_and_descriptors(
    client: httpx.AsyncClient, made: Made, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def descriptors() -> int:
        targets = [str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
        return sum("/etilqs_" not in target for target in targets)  # temporary files of SQLite come and go

    def wait_and_copy(*arguments: Any) -> str:
        loop.call_soon_threadsafe(copying.set)
        may_continue.wait(10)
        return copy_and_hash(*arguments)

    loop, copying, may_continue = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    copy_and_hash = local_import._copy_and_hash
    files = [made(f"{n}.jpg", picture(str(n))) for n in range(8)]
    # As many at once, so that each thread and connection that stays open is open already.
    await upload_by_path(client, *(made(f"before-{n}.jpg", picture(f"before {n}")) for n in range(8)))
    before = descriptors()
    monkeypatch.setattr(local_import, "_copy_and_hash", wait_and_copy)
    request = asyncio.create_task(upload_by_path(client, *files))
    await asyncio.wait_for(copying.wait(), 10)
    request.cancel()
    await asyncio.sleep(0)
    may_continue.set()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert left_over(config) == []
    assert descriptors() == before
