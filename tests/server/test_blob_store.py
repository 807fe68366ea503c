"""The contract of BlobStore: the same tests for files and for a bucket of a real S3-compatible store."""

import asyncio
import contextlib
import errno
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore
import pytest
import s3
from hypothesis import given
from hypothesis import strategies as st
from sploot_server.config import ConfigError
from sploot_server.domain.entities import BackendUnavailable, OriginalMissing
from sploot_server.domain.sniff import SNIFF_BYTES
from sploot_server.http.range_response import RangeNotSatisfiable, parse_range
from sploot_server.storage.blobs.files import BUFFER_BYTES, BlobStore, FileBlobs
from sploot_server.storage.blobs.s3 import PART_BYTES, S3Blobs, object_key


def files(folder: Path, patch: pytest.MonkeyPatch) -> BlobStore:
    blobs = FileBlobs(folder)
    blobs.open()
    return blobs


def bucket(folder: Path, patch: pytest.MonkeyPatch) -> BlobStore:
    for name, value in s3.server().items():
        patch.setenv(name, value)
    blobs = S3Blobs(s3.new_prefix(), folder / "incoming")
    blobs.open()
    return blobs


@pytest.fixture(params=[files, bucket], ids=["files", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BlobStore:
    make: Callable[[Path, pytest.MonkeyPatch], BlobStore] = request.param
    return make(tmp_path, monkeypatch)


async def store(blobs: BlobStore, data: bytes) -> str:
    async with blobs.open_upload() as upload:
        for start in range(0, len(data), 100_000):
            upload.write(data[start : start + 100_000])
            await upload.flush_if_full()
        assert upload.size_bytes == len(data)
        await upload.commit()
        return upload.checksum


async def read(blobs: BlobStore, checksum: str, start: int, stop: int) -> bytes:
    return b"".join([chunk async for chunk in blobs.read(checksum, start, stop)])


@pytest.mark.parametrize("size", [1, 100_000, BUFFER_BYTES * 3 + 1, PART_BYTES * 2 + 1])
async def test_a_committed_upload_is_stored_byte_for_byte(blobs: BlobStore, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    checksum = await store(blobs, data)
    assert checksum == hashlib.sha256(data).hexdigest()
    assert await read(blobs, checksum, 0, size) == data
    async with blobs.local_file(checksum) as path:
        assert path.read_bytes() == data
    assert list((tmp_path / "incoming").iterdir()) == []


@pytest.mark.parametrize("links", [True, False], ids=["hard link", "copy"])
async def test_a_file_is_stored_unchanged_and_its_source_is_kept(
    blobs: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """With and without support of the file system for hard links."""

    def refuse(*_: Path) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    data, file = os.urandom(BUFFER_BYTES * 2 + 7), tmp_path / "file"
    file.write_bytes(data)
    async with blobs.open_upload() as upload:
        await upload.link_from(file)
    assert list((tmp_path / "incoming").iterdir()) == []
    async with blobs.open_upload() as upload:
        await upload.link_from(file)
        assert (upload.size_bytes, upload.head) == (len(data), data[:SNIFF_BYTES])
        await upload.commit()
    assert await read(blobs, hashlib.sha256(data).hexdigest(), 0, len(data)) == file.read_bytes() == data
    assert list((tmp_path / "incoming").iterdir()) == []


async def test_any_range_can_be_read(blobs: BlobStore) -> None:
    data = os.urandom(BUFFER_BYTES * 2 + 7)
    checksum = await store(blobs, data)
    for start, stop in ((0, 1), (5, 70_000), (BUFFER_BYTES - 1, BUFFER_BYTES + 1), (len(data) - 3, len(data))):
        assert await read(blobs, checksum, start, stop) == data[start:stop]


async def test_concurrent_commits_of_the_same_content_are_harmless(blobs: BlobStore) -> None:
    data = os.urandom(BUFFER_BYTES + 1)
    checksums = await asyncio.gather(*(store(blobs, data) for _ in range(5)))
    assert await read(blobs, checksums[0], 0, len(data)) == data


async def test_an_upload_that_was_not_committed_leaves_nothing(blobs: BlobStore, tmp_path: Path) -> None:
    with contextlib.suppress(OSError):
        async with blobs.open_upload() as upload:
            upload.write(os.urandom(BUFFER_BYTES + 1))
            await upload.flush_if_full()
            raise OSError("connection lost")
    assert list((tmp_path / "incoming").iterdir()) == []
    with pytest.raises(OriginalMissing):
        await read(blobs, upload.checksum, 0, 1)


async def test_removing_a_blob_is_idempotent(blobs: BlobStore) -> None:
    checksum = await store(blobs, b"abc")
    await blobs.remove(checksum)
    await blobs.remove(checksum)
    with pytest.raises(OriginalMissing):
        await read(blobs, checksum, 0, 3)
    await store(blobs, b"abc")
    assert await read(blobs, checksum, 0, 3) == b"abc"


async def test_a_large_file_is_uploaded_to_a_bucket_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ETag of an object that was uploaded in parts ends with their number."""
    blobs = bucket(tmp_path, monkeypatch)
    assert isinstance(blobs, S3Blobs)
    for size, parts in ((PART_BYTES * 2 + 1, "-3"), (PART_BYTES // 2, "")):
        checksum = await store(blobs, os.urandom(size))
        tag = (await obstore.head_async(blobs._store, object_key(checksum)))["e_tag"]
        assert re.fullmatch(rf'"?[0-9a-f]+{parts}"?', str(tag)), tag


async def test_a_reachable_store_passes_its_check(blobs: BlobStore) -> None:
    await blobs.check_writable()


async def test_an_unreachable_store_raises_backend_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [port] = s3.free_ports(1)
    monkeypatch.setattr("sploot_server.storage.blobs.s3.RETRIES_MAX", 0)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    blobs = S3Blobs("s3://memes/nowhere", tmp_path / "incoming")
    blobs.open()
    with pytest.raises(BackendUnavailable):
        await blobs.check_writable()
    with pytest.raises(BackendUnavailable):
        await store(blobs, b"abc")
    assert list((tmp_path / "incoming").iterdir()) == []


def test_an_invalid_url_is_refused_with_an_example(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="s3://bucket/prefix"):
        S3Blobs("s3:nonsense", tmp_path)


@given(st.integers(1, 50), st.integers(0, 60), st.integers(0, 60))
def test_a_range_is_what_the_rfc_says(size: int, first: int, last: int) -> None:
    """RFC 9110, 14.1.2: against the slices of a list."""
    content = list(range(size))
    cases = {
        f"bytes={first}-{last}": content[first : last + 1] if first <= last else content,
        f"bytes={first}-": content[first:],
        f"bytes=-{last}": content[-last:] if last else [],
    }
    for asked, expected in cases.items():
        try:
            wanted = parse_range(asked, size)
        except RangeNotSatisfiable:
            assert expected == []
        else:
            assert (content if wanted is None else content[slice(*wanted)]) == expected


@pytest.mark.parametrize(
    "asked", ["", "bytes=", "bytes=-", "bytes=1-2,5-6", "items=1-2", "bytes=a-b", "bytes=" + "9" * 20 + "-"]
)
def test_what_is_no_single_range_is_answered_whole(asked: str) -> None:
    assert parse_range(asked, 10) is None


async def test_a_small_file_costs_two_fsyncs_and_one_call_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for its bytes and one for its folder; one more for the first file in each of the 256 folders."""
    blobs = FileBlobs(tmp_path)
    blobs.open()
    fsyncs, calls, to_thread = 0, 0, asyncio.to_thread
    fsync = os.fsync

    def counted_fsync(descriptor: int) -> None:
        nonlocal fsyncs
        fsyncs += 1
        fsync(descriptor)

    def counted_thread(*work: Any) -> Any:
        nonlocal calls
        calls += 1
        return to_thread(*work)

    monkeypatch.setattr(os, "fsync", counted_fsync)
    monkeypatch.setattr(asyncio, "to_thread", counted_thread)
    folders = {(await store(blobs, b"%d" % number))[:2] for number in range(100)}
    assert (fsyncs, calls) == (200 + len(folders), 100)
