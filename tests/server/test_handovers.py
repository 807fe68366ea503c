"""Files that are named instead of sent: each with an outcome of its own, never a wrong byte, and few syncs for many."""

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
from sploot_server import handover
from sploot_server.assets.database import Database
from sploot_server.config import Config, ConfigError
from sploot_server.routes.handovers import HANDOVER_FILES_MAX
from sploot_server.serve import library_app
from toy_library import FakeEmbedder, ServerProcess, picture

Made = Callable[..., dict[str, Any]]


@pytest.fixture
async def client(config: Config, embedder: FakeEmbedder, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    config.data.mkdir()
    async with (
        library_app(replace(config, uds=tmp_path / "s", takes_files=True), embedder) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        yield client


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Writes a file, and says of it what is true but for what the test wants to be otherwise."""

    def made(name: str, data: bytes, **otherwise: Any) -> dict[str, Any]:
        path = tmp_path / name
        path.write_bytes(data)
        return {**told(path, data), **otherwise}

    return made


def told(path: Path, data: bytes) -> dict[str, Any]:
    coded = base64.b64encode(os.fsencode(path)).decode()
    checksum = hashlib.sha256(data).hexdigest()
    return {"path": coded, "size": len(data), "checksum": checksum, "filename": path.name, "tags": []}


async def hand_over(client: httpx.AsyncClient, *files: Any) -> list[dict[str, Any]]:
    answer = await client.post("/api/upload/files", json={"files": files})
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def statuses(outcomes: list[dict[str, Any]]) -> list[int]:
    return [outcome["status"] for outcome in outcomes]


async def original(client: httpx.AsyncClient, outcome: dict[str, Any]) -> bytes:
    return (await client.get(outcome["asset"]["blobUrl"])).content


def left_over(config: Config) -> list[Path]:
    return list((config.data / "incoming").iterdir())


async def test_every_file_is_kept_byte_for_byte_with_its_own_tags(
    client: httpx.AsyncClient, made: Made, config: Config
) -> None:
    data = [picture(f"{number} ") * (number * 300 + 1) for number in range(HANDOVER_FILES_MAX - 1)]
    data.append(picture("large") + bytes(3 * handover.PIECE_BYTES + 7))
    files = [made(f"{n}.jpg", each, tags=[f"t{n % 3}"] if n % 2 else []) for n, each in enumerate(data)]
    outcomes = await hand_over(client, *files)
    assert statuses(outcomes) == [201] * HANDOVER_FILES_MAX
    for number, outcome in enumerate(outcomes):
        asset = (await client.get(f"/api/assets/{outcome['asset']['id']}")).json()["asset"]
        assert [tag["name"] for tag in asset["tags"]] == ([f"t{number % 3}"] if number % 2 else [])
        assert await original(client, outcome) == data[number]
    assert left_over(config) == []


async def test_what_the_library_has_is_told_and_not_copied_again(client: httpx.AsyncClient, made: Made) -> None:
    known, tagged = made("a.jpg", picture("a")), made("b.jpg", picture("b"))
    first = await hand_over(client, known, tagged, known)
    assert statuses(first) == [201, 201, 409]
    again = await hand_over(client, known, {**tagged, "tags": ["late"]})
    assert statuses(again) == [409, 409]
    assert [each["asset"]["id"] for each in again] == [each["asset"]["id"] for each in first[:2]]
    asset = (await client.get(f"/api/assets/{again[1]['asset']['id']}")).json()["asset"]
    assert [tag["name"] for tag in asset["tags"]] == ["late"]


async def test_a_file_that_is_not_as_announced_harms_only_itself(
    client: httpx.AsyncClient, made: Made, tmp_path: Path, config: Config
) -> None:
    data = picture("true")
    (tmp_path / "link").symlink_to(tmp_path / "good.jpg")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    longer = {**made("longer.jpg", data + b"more"), "size": len(data)}
    outcomes = await hand_over(
        client,
        made("good.jpg", data),
        made("other.jpg", picture("eurt"), checksum="0" * 64),
        longer,
        told(tmp_path / "missing", data),
        told(tmp_path / "link", data),
        told(tmp_path / "pipe", data),
        told(tmp_path / "folder", data),
        made("empty.jpg", b""),
        made("text.jpg", b"just text"),
        made("tags.jpg", picture("tags"), tags=["<b>"]),
        made("nul.jpg", picture("nul"), path=base64.b64encode(b"/nul\0").decode()),
    )
    # The link leads to what the library is just getting: it is not followed, and found by nobody.
    assert statuses(outcomes) == [201, *[412] * 6, 400, 400, 400, 412]
    assert await original(client, outcomes[0]) == data
    assert left_over(config) == []


async def test_a_file_that_is_too_large_is_refused_unread(client: httpx.AsyncClient, made: Made) -> None:
    (outcome,) = await hand_over(client, made("a.jpg", picture("a"), size=10**9))
    assert outcome["status"] == 413


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
async def test_what_is_no_list_of_files_is_refused_as_a_whole(client: httpx.AsyncClient, body: Any) -> None:
    answer = await client.post("/api/upload/files", json=body)
    assert (answer.status_code, answer.json()["success"]) == (400, False)


async def test_more_files_than_announced_are_refused(client: httpx.AsyncClient, made: Made) -> None:
    files = [made("a.jpg", picture("a"))] * (HANDOVER_FILES_MAX + 1)
    assert (await client.post("/api/upload/files", json={"files": files})).status_code == 413
    features = (await client.get("/api/upload")).json()["features"]
    assert features["handOver"] == HANDOVER_FILES_MAX


def test_only_a_server_that_is_told_to_takes_files(start: Callable[..., ServerProcess], made: Made) -> None:
    """Whoever may speak to any other server, through a proxy for instance, must not read what its user may read."""
    with start().client() as client:
        assert "handOver" not in client.get("/api/upload").json()["features"]
        assert client.post("/api/upload/files", json={"files": [made("a.jpg", picture("a"))]}).status_code == 404


@pytest.mark.parametrize("otherwise", [{"uds": None}, {"accounts": True}, {"database": "postgresql://x"}])
def test_files_are_taken_only_on_a_socket_of_the_users_own(tmp_path: Path, otherwise: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="--take-files"):
        Config(**{"data": tmp_path, "uds": tmp_path / "s", "takes_files": True, **otherwise})


async def test_the_same_files_in_many_requests_at_once_are_created_once(client: httpx.AsyncClient, made: Made) -> None:
    files = [made(f"{number}.jpg", picture(str(number))) for number in range(12)]
    answers = await asyncio.gather(*(hand_over(client, *files) for _ in range(5)))
    every = [outcome for outcomes in answers for outcome in outcomes]
    assert len({outcome["asset"]["id"] for outcome in every}) == 12
    assert Counter(statuses(every))[201] == 12
    for outcome in answers[0]:
        assert await original(client, outcome)


async def test_a_full_disk_is_told_of_the_file_and_leaves_nothing(
    client: httpx.AsyncClient, made: Made, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, write = made("full.jpg", picture("full")), os.write

    def written(target: int, data: Any) -> int:
        if b"full" in bytes(data):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(target, data)

    monkeypatch.setattr(handover.os, "write", written)
    assert statuses(await hand_over(client, full, made("a.jpg", picture("a")))) == [507, 201]
    monkeypatch.undo()
    assert left_over(config) == []
    assert statuses(await hand_over(client, full)) == [201]


async def test_what_cannot_be_synced_is_acknowledged_to_nobody(
    client: httpx.AsyncClient, made: Made, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [made(f"{number}.jpg", picture(str(number))) for number in range(9)]

    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(handover.os, "fsync", failing)
    answer = await client.post("/api/upload/files", json={"files": files})
    assert answer.status_code == 500
    monkeypatch.undo()
    assert (await client.get("/api/assets")).json()["assets"] == []
    assert left_over(config) == []


async def test_many_files_cost_one_sync_each_and_one_transaction_together(
    client: httpx.AsyncClient, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one for each folder that has a new name: before the rows, and after the bytes."""
    files = [made(f"{number}.jpg", picture(str(number))) for number in range(HANDOVER_FILES_MAX)]
    told_of: list[str] = []
    fsync, write = os.fsync, Database.write

    def synced(descriptor: int) -> None:
        told_of.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    async def written(self: Database, operation: Any) -> Any:
        if "add_all" in operation.__qualname__:
            told_of.append("rows")
        return await write(self, operation)

    monkeypatch.setattr(handover.os, "fsync", synced)
    monkeypatch.setattr(Database, "write", written)
    assert statuses(await hand_over(client, *files)) == [201] * HANDOVER_FILES_MAX
    folders = len({file["checksum"][:2] for file in files})
    in_order = ["file"] * HANDOVER_FILES_MAX + ["folder"] * (folders + 1) + ["rows"]
    assert told_of == in_order


async def test_of_a_request_that_is_given_up_nothing_is_left(
    client: httpx.AsyncClient, made: Made, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def descriptors() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    def held(*arguments: Any) -> str:
        loop.call_soon_threadsafe(copying.set)
        go_on.wait(10)
        return pumped(*arguments)

    loop, copying, go_on, pumped = asyncio.get_running_loop(), asyncio.Event(), threading.Event(), handover._pumped
    files = [made(f"{n}.jpg", picture(str(n))) for n in range(8)]
    await hand_over(client, made("before.jpg", picture("before")))
    before = descriptors()
    monkeypatch.setattr(handover, "_pumped", held)
    asking = asyncio.create_task(hand_over(client, *files))
    await asyncio.wait_for(copying.wait(), 10)
    asking.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert left_over(config) == []
    assert descriptors() == before
