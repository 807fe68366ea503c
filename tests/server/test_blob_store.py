"""What every BlobStore must hold: one exam for files and for a bucket of a real S3-compatible store."""

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
from sploot_server.blobs import BUFFER_BYTES, BlobStore, FileBlobs
from sploot_server.blobs_s3 import PART_BYTES, S3Blobs, key
from sploot_server.config import ConfigError
from sploot_server.model import Unreachable
from sploot_server.originals import Unsatisfiable, range_of
from sploot_server.sniff import SNIFF_BYTES


def files(folder: Path, patch: pytest.MonkeyPatch) -> BlobStore:
    blobs = FileBlobs(folder)
    blobs.open()
    return blobs


def bucket(folder: Path, patch: pytest.MonkeyPatch) -> BlobStore:
    for name, value in s3.server().items():
        patch.setenv(name, value)
    blobs = S3Blobs(s3.new_place(), folder / "incoming")
    blobs.open()
    return blobs


@pytest.fixture(params=[files, bucket], ids=["files", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BlobStore:
    make: Callable[[Path, pytest.MonkeyPatch], BlobStore] = request.param
    return make(tmp_path, monkeypatch)


async def keep(blobs: BlobStore, data: bytes) -> str:
    async with blobs.incoming() as incoming:
        for start in range(0, len(data), 100_000):
            incoming.write(data[start : start + 100_000])
            await incoming.settle()
        assert incoming.size_bytes == len(data)
        await incoming.keep()
        return incoming.checksum


async def whole(blobs: BlobStore, checksum: str, start: int, stop: int) -> bytes:
    return b"".join([piece async for piece in blobs.read(checksum, start, stop)])


@pytest.mark.parametrize("size", [1, 100_000, BUFFER_BYTES * 3 + 1, PART_BYTES * 2 + 1])
async def test_what_is_kept_is_there_byte_for_byte(blobs: BlobStore, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    checksum = await keep(blobs, data)
    assert checksum == hashlib.sha256(data).hexdigest()
    assert await whole(blobs, checksum, 0, size) == data
    async with blobs.local(checksum) as path:
        assert path.read_bytes() == data
    assert list((tmp_path / "incoming").iterdir()) == []


@pytest.mark.parametrize("links", [True, False], ids=["a second name", "a copy"])
async def test_a_file_is_kept_as_it_is_and_stays_where_it_was(
    blobs: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Whether or not the file system gives a file two names."""

    def refuse(*_: Path) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    data, file = os.urandom(BUFFER_BYTES * 2 + 7), tmp_path / "file"
    file.write_bytes(data)
    async with blobs.incoming() as incoming:
        await incoming.adopt(file)
    assert list((tmp_path / "incoming").iterdir()) == []
    async with blobs.incoming() as incoming:
        await incoming.adopt(file)
        assert (incoming.size_bytes, incoming.head) == (len(data), data[:SNIFF_BYTES])
        await incoming.keep()
    assert await whole(blobs, hashlib.sha256(data).hexdigest(), 0, len(data)) == file.read_bytes() == data
    assert list((tmp_path / "incoming").iterdir()) == []


async def test_any_part_can_be_read(blobs: BlobStore) -> None:
    data = os.urandom(BUFFER_BYTES * 2 + 7)
    checksum = await keep(blobs, data)
    for start, stop in ((0, 1), (5, 70_000), (BUFFER_BYTES - 1, BUFFER_BYTES + 1), (len(data) - 3, len(data))):
        assert await whole(blobs, checksum, start, stop) == data[start:stop]


async def test_the_same_content_kept_at_once_is_harmless(blobs: BlobStore) -> None:
    data = os.urandom(BUFFER_BYTES + 1)
    checksums = await asyncio.gather(*(keep(blobs, data) for _ in range(5)))
    assert await whole(blobs, checksums[0], 0, len(data)) == data


async def test_what_was_not_kept_leaves_nothing(blobs: BlobStore, tmp_path: Path) -> None:
    with contextlib.suppress(OSError):
        async with blobs.incoming() as incoming:
            incoming.write(os.urandom(BUFFER_BYTES + 1))
            await incoming.settle()
            raise OSError("the client has gone")
    assert list((tmp_path / "incoming").iterdir()) == []
    with pytest.raises(FileNotFoundError):
        await whole(blobs, incoming.checksum, 0, 1)


async def test_what_is_removed_is_gone_and_removing_again_is_harmless(blobs: BlobStore) -> None:
    checksum = await keep(blobs, b"abc")
    await blobs.remove(checksum)
    await blobs.remove(checksum)
    with pytest.raises(FileNotFoundError):
        await whole(blobs, checksum, 0, 3)
    await keep(blobs, b"abc")
    assert await whole(blobs, checksum, 0, 3) == b"abc"


async def test_a_large_file_goes_to_a_bucket_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the store's own account: its tag of an object in parts ends with their number."""
    blobs = bucket(tmp_path, monkeypatch)
    assert isinstance(blobs, S3Blobs)
    for size, parts in ((PART_BYTES * 2 + 1, "-3"), (PART_BYTES // 2, "")):
        checksum = await keep(blobs, os.urandom(size))
        tag = (await obstore.head_async(blobs._store, key(checksum)))["e_tag"]
        assert re.fullmatch(rf'"?[0-9a-f]+{parts}"?', str(tag)), tag


async def test_a_store_that_is_there_is_well(blobs: BlobStore) -> None:
    await blobs.check()


async def test_a_store_that_is_not_there_is_said_to_be_unreachable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [port] = s3.free_ports(1)
    monkeypatch.setattr("sploot_server.blobs_s3.RETRIES_MAX", 0)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    blobs = S3Blobs("s3://memes/nowhere", tmp_path / "incoming")
    blobs.open()
    with pytest.raises(Unreachable):
        await blobs.check()
    with pytest.raises(Unreachable):
        await keep(blobs, b"abc")
    assert list((tmp_path / "incoming").iterdir()) == []


def test_an_address_that_is_none_is_refused_with_an_example(tmp_path: Path) -> None:
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
            wanted = range_of(asked, size)
        except Unsatisfiable:
            assert expected == []
        else:
            assert (content if wanted is None else content[slice(*wanted)]) == expected


@pytest.mark.parametrize(
    "asked", ["", "bytes=", "bytes=-", "bytes=1-2,5-6", "items=1-2", "bytes=a-b", "bytes=" + "9" * 20 + "-"]
)
def test_what_is_no_single_range_is_answered_whole(asked: str) -> None:
    assert range_of(asked, 10) is None


async def test_what_an_earlier_version_kept_a_folder_deeper_is_found_and_removed(tmp_path: Path) -> None:
    blobs = FileBlobs(tmp_path)
    blobs.open()
    data = b"kept by an earlier version"
    checksum = hashlib.sha256(data).hexdigest()
    former = tmp_path / "blobs" / checksum[:2] / checksum[2:4] / checksum
    former.parent.mkdir(parents=True)
    former.write_bytes(data)
    assert await whole(blobs, checksum, 0, len(data)) == data
    await blobs.remove(checksum)
    assert not former.exists()


async def test_a_small_file_costs_two_fsyncs_and_one_trip_to_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes and its name; the first in its folder, of which there are 256, one more."""
    blobs = FileBlobs(tmp_path)
    blobs.open()
    fsyncs, trips, to_thread = 0, 0, asyncio.to_thread
    fsync = os.fsync

    def counted_fsync(descriptor: int) -> None:
        nonlocal fsyncs
        fsyncs += 1
        fsync(descriptor)

    def counted_thread(*work: Any) -> Any:
        nonlocal trips
        trips += 1
        return to_thread(*work)

    monkeypatch.setattr(os, "fsync", counted_fsync)
    monkeypatch.setattr(asyncio, "to_thread", counted_thread)
    folders = {(await keep(blobs, b"%d" % number))[:2] for number in range(100)}
    assert (fsyncs, trips) == (200 + len(folders), 100)
