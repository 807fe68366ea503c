"""Unfinished uploads on disk: the committed bytes are exactly the acknowledged ones, whatever fails."""

import asyncio
import errno
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sploot_server.http.tus import upload_lock, upload_store, upload_writer
from sploot_server.http.tus.upload_lock import UploadLocked, UploadLocks
from sploot_server.http.tus.upload_store import (
    EXPIRY_S,
    FINISHED_EXPIRY_S,
    Upload,
    UploadNotFound,
    UploadOutcome,
    UploadStore,
)
from tus_fixtures import DATA, PLAIN, begin, offset_of, patch, pieces

LENGTH = 3_000
WHOLE = random.Random(1).randbytes(LENGTH)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "partial"


def opened(folder: Path) -> UploadStore:
    store = UploadStore(folder)
    store.open()
    return store


async def begun(store: UploadStore, owner: str = "") -> Upload:
    return await store.create(owner, length=LENGTH, metadata="m", filename="f", tags=("t",), checksum=None)


async def add(store: UploadStore, upload: Upload, data: bytes) -> Upload:
    with store.open_writer(upload, "sha256") as end:
        end.write(data)
        await end.commit()
    return await store.find(upload.id, upload.owner)


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


async def content(store: UploadStore, upload: Upload) -> bytes:
    return (await asyncio.to_thread(store.data_path(upload).read_bytes))[: upload.offset]


async def test_an_upload_survives_a_restart(folder: Path) -> None:
    upload = await add(store := opened(folder), await begun(store, "anna"), WHOLE[:1_000])
    again = await opened(folder).find(upload.id, "anna")
    assert (again.offset, again.length, again.metadata, again.filename, tuple(again.tags)) == (
        1_000,
        LENGTH,
        "m",
        "f",
        ("t",),
    )
    assert await content(store, again) == WHOLE[:1_000]


async def test_only_the_owner_finds_an_upload(folder: Path) -> None:
    upload = await begun(store := opened(folder), "anna")
    for stranger in ("ben", ""):
        with pytest.raises(UploadNotFound):
            await store.find(upload.id, stranger)


@pytest.mark.parametrize("name", ["", "..", "../library.db", "a" * 31, "A" * 32, "0" * 32, f"{'0' * 32}\n"])
async def test_no_id_leaves_the_folder(folder: Path, name: str) -> None:
    with pytest.raises(UploadNotFound):
        await opened(folder).find(name, "")


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["commit", "abort", "restart"]), st.integers(1, 900)), max_size=12))
def test_the_committed_bytes_are_the_acknowledged_ones_after_any_interruptions(
    steps: Sequence[tuple[str, int]],
) -> None:
    async def upload_with_interruptions(folder: Path) -> None:
        store = opened(folder)
        upload = await begun(store)
        for step, size in [*steps, ("commit", LENGTH)]:
            if step == "restart":
                store = opened(folder)
            upload = await store.find(upload.id, "")
            end = min(upload.offset + size, LENGTH)
            with store.open_writer(upload, None) as writer:
                writer.write(WHOLE[upload.offset : end] if step == "commit" else b"\xff" * (end - upload.offset))
                await (writer.commit() if step == "commit" else writer.flush())
            expected = end if step == "commit" else upload.offset
            assert (await store.find(upload.id, "")).offset == expected
        upload = await store.find(upload.id, "")
        assert upload.is_complete
        assert await content(store, upload) == WHOLE

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(upload_with_interruptions(Path(folder)))


async def test_bytes_are_synced_before_the_offset_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power failure at any moment, all bytes before the stored offset are on disk."""
    upload = await begun(store := opened(folder))
    inode = store.data_path(upload).stat().st_ino
    order: list[str] = []

    def recording(name: str, call: Callable[..., int | None]) -> Callable[..., int | None]:
        def record(fd: int, *rest: bytes | int) -> int | None:
            kind = "bytes" if os.fstat(fd).st_ino == inode else "state"
            order.append(f"{name} {kind}")
            return call(fd, *rest)

        return record

    for name in ("pwrite", "fsync"):
        monkeypatch.setattr(upload_writer.os, name, recording(name, getattr(os, name)))
    await add(store, upload, WHOLE)
    assert order == ["pwrite bytes", "fsync bytes", "pwrite state", "fsync state"]


async def test_the_offset_is_reduced_to_the_bytes_on_disk(folder: Path) -> None:
    upload = await add(store := opened(folder), await begun(store), WHOLE[:1_000])
    os.truncate(folder / upload.id, 600)
    assert (await store.find(upload.id, "")).offset == 600


async def test_a_full_disk_gets_507_and_keeps_the_acknowledged_bytes(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await begin(client)
    await patch(client, url, 0, DATA[:1_000])

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(upload_writer.os, "pwrite", full)
        answer = await patch(client, url, 1_000, DATA[1_000:])
    assert (answer.status_code, answer.json()["success"]) == (507, False)
    assert await offset_of(client, url) == 1_000
    with monkeypatch.context() as disk:
        disk.setattr(upload_writer.os, "fsync", full)
        assert (await patch(client, url, 1_000, DATA[1_000:2_000])).status_code == 507
    assert await offset_of(client, url) == 1_000
    assert (await patch(client, url, 1_000, DATA[1_000:])).headers["sploot-duplicate"] == "false"


async def test_a_crash_before_the_outcome_is_stored_loses_nothing(client: httpx.AsyncClient) -> None:
    """The upload is complete on disk and may be in the library already; the next request adds it again."""
    url = await begin(client)
    whole = pieces(DATA)

    def crash(*_: object) -> None:
        raise RuntimeError("crashed")

    with pytest.MonkeyPatch.context() as crashing:
        crashing.setattr(UploadStore, "_finish", crash)
        assert (await patch(client, url, 0, whole)).status_code == 500
    head = await client.head(url, headers=PLAIN)
    assert (head.headers["upload-offset"], "sploot-asset-id" in head.headers) == (str(len(DATA)), False)
    last = await patch(client, url, len(DATA), b"")
    assets = (await client.get("/api/assets")).json()["assets"]
    assert [last.headers["sploot-asset-id"]] == [asset["id"] for asset in assets]


async def test_uploads_without_progress_expire(folder: Path) -> None:
    store = opened(folder)
    fresh, left, ended = [await add(store, await begun(store), WHOLE) for _ in range(3)]
    await store.finish(ended, UploadOutcome("asset", created=True))
    assert not (folder / ended.id).exists()
    for upload, age_s in ((left, EXPIRY_S), (ended, FINISHED_EXPIRY_S)):
        os.utime(folder / f"{upload.id}.state", times=(0, time.time() - age_s - 1))
        with pytest.raises(UploadNotFound):
            await store.find(upload.id, "")
    assert store.remove_expired() == 2
    assert names(folder) == {fresh.id, f"{fresh.id}.state"}


async def test_locked_uploads_are_not_removed(folder: Path) -> None:
    upload = await begun(store := opened(folder))
    os.utime(folder / f"{upload.id}.state", times=(0, 0))
    async with store.lock(upload.id):
        assert store.remove_expired() == 0
    assert store.remove_expired() == 1


async def test_files_left_by_a_crash_are_removed_at_the_start(folder: Path) -> None:
    upload = await begun(opened(folder))
    (folder / ("1" * 32)).write_bytes(b"without a state file")
    (folder / f"{'2' * 32}.new").write_bytes(b"half a sta")
    (folder / f"{'3' * 32}.state").write_text("rubbish")
    for orphan in ("1" * 32, f"{'2' * 32}.new"):
        os.utime(folder / orphan, (0, 0))
    (folder / ("4" * 32)).write_bytes(b"being created by another server")
    opened(folder)
    (folder / ("4" * 32)).unlink()
    assert names(folder) == {upload.id, f"{upload.id}.state"}


async def test_over_the_limit_the_upload_without_progress_for_the_longest_time_is_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But no locked upload, and none of another owner."""
    monkeypatch.setattr(upload_store, "UNFINISHED_PER_OWNER_MAX", 5)
    store = opened(folder)
    ended, foreign = await begun(store), await begun(store, "another owner")
    await store.finish(ended, UploadOutcome("asset", created=True))
    owned = [await begun(store) for _ in range(5)]
    for upload, age_s in zip(owned, (500, 400, 300, 200, 100), strict=True):
        os.utime(folder / f"{upload.id}.state", times=(0, time.time() - age_s))
    async with store.lock(owned[0].id):
        await begun(store)
        await begun(store)
    for upload in (ended, foreign, owned[0], *owned[3:]):
        await store.find(upload.id, upload.owner)
    for upload in owned[1:3]:
        with pytest.raises(UploadNotFound):
            await store.find(upload.id, "")


async def test_a_receiving_request_keeps_the_lock_and_a_silent_one_loses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that broke without notice must not lock out its client when that reconnects."""
    monkeypatch.setattr(upload_lock, "IDLE_TIMEOUT_S", 0.05)
    locks, acquired, ended = UploadLocks(), asyncio.Event(), asyncio.Event()

    async def hold(*, silent: bool) -> None:
        async with locks.acquire("upload") as lock, lock.receiving():
            acquired.set()
            while not ended.is_set():
                if not silent:
                    lock.record_activity()
                await asyncio.sleep(0)

    sender = asyncio.create_task(hold(silent=False))
    await acquired.wait()
    with pytest.raises(UploadLocked):
        async with locks.acquire("upload"):
            raise AssertionError("two requests hold the lock")
    ended.set()
    await sender
    ended.clear()
    acquired.clear()
    silent = asyncio.create_task(hold(silent=True))
    await acquired.wait()
    async with locks.acquire("upload"):
        with pytest.raises(TimeoutError):
            await silent


async def test_two_servers_on_one_folder_exclude_each_other(folder: Path) -> None:
    one, other = opened(folder), opened(folder)
    upload = await begun(one)
    async with one.lock(upload.id):
        with pytest.raises(UploadLocked):
            async with other.lock(upload.id):
                raise AssertionError("two requests hold the lock")
    async with other.lock(upload.id):
        await add(other, upload, WHOLE[:100])
    assert (await one.find(upload.id, "")).offset == 100
