"""The file reader: one version from start to end, with bounded memory, and never blocked."""

import asyncio
import hashlib
import os
import re
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from file_reading import read
from pipeline_fixtures import HEAD, jpeg

from splootd import file_reader
from splootd.core.item import Version
from splootd.core.limits import Limits
from splootd.errors import (
    FileChanged,
    FileEmpty,
    FileMissing,
    FileTooLarge,
    FileUnreadable,
    ItemError,
    NotAFile,
    NotAnImage,
    ResourceExhausted,
    Unsupported,
)
from splootd.file_reader import BUFFERED_BYTES_MAX, MemoryBudget, stat_version
from splootd.text import NAME_CHARS_MAX, display_name, format_size

LIMITS = Limits(10 * 1024 * 1024, frozenset({"image/jpeg", "image/png"}))


def put(path: Path, content: bytes) -> tuple[bytes, Version]:
    path.write_bytes(content)
    return os.fsencode(path), stat_version(os.fsencode(path))


def descriptors() -> set[Path]:
    return set(Path("/dev/fd").iterdir())


async def read_all(path: bytes, version: Version, budget: MemoryBudget | None = None) -> tuple[bytes, bytes]:
    """Return the bytes that would be sent, and their hash."""
    async with read(path, version, budget=budget or MemoryBudget(100_000_000), limits=LIMITS) as content:
        return b"".join([piece async for piece in content.iter_bytes()]), content.sha256


@pytest.mark.parametrize("size", [30, 256 * 1024, BUFFERED_BYTES_MAX, BUFFERED_BYTES_MAX + 1, 5_000_000, 7_654_321])
async def test_what_is_sent_is_what_was_hashed(tmp_path: Path, size: int) -> None:
    content = HEAD + os.urandom(size - len(HEAD))
    budget = MemoryBudget(100_000_000)
    whole, sha256 = await read_all(*put(tmp_path / "a.jpg", content), budget)
    assert whole == content
    assert sha256 == hashlib.sha256(content).digest()
    assert budget.in_use == 0


async def test_a_large_file_takes_little_memory(tmp_path: Path) -> None:
    path, version = put(tmp_path / "a.jpg", HEAD + os.urandom(9_000_000))
    budget = MemoryBudget(100_000_000)
    async with read(path, version, budget=budget, limits=LIMITS) as content:
        assert content.data is None
        async for _ in content.iter_bytes():
            assert budget.in_use == file_reader.READ_BYTES


async def test_readers_wait_for_memory_and_all_finish(tmp_path: Path) -> None:
    budget, contents = MemoryBudget(1_000_000), {}
    for number in range(20):
        contents[number] = HEAD + os.urandom(100_000 * number)
    paths = [put(tmp_path / f"{number}.jpg", content) for number, content in contents.items()]
    results = await asyncio.gather(*(read_all(path, version, budget) for path, version in paths))
    assert [whole for whole, _ in results] == list(contents.values())
    assert budget.in_use == 0


async def test_the_type_is_detected_from_the_first_bytes_and_not_from_the_name(tmp_path: Path) -> None:
    path, version = put(tmp_path / "lies.png", jpeg("a"))
    async with read(path, version, budget=MemoryBudget(1_000_000), limits=LIMITS) as content:
        assert (content.mime, content.extension) == ("image/jpeg", "jpg")
        assert content.name == f"{hashlib.sha256(jpeg('a')).hexdigest()[:12]}.jpg"


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", FileEmpty, "is empty"),
        (b"no image", NotAnImage, "not an image"),
        (b"GIF89a...;", Unsupported, "image/gif; the server accepts jpeg, png"),
        (
            jpeg("a", LIMITS.bytes_max + 1),
            FileTooLarge,
            "a.jpg is 10,485,761 bytes; the server accepts at most 10,485,760 bytes",
        ),
        (jpeg("a", 2 * LIMITS.bytes_max), FileTooLarge, "a.jpg is 21 MB; the server accepts at most 10.5 MB"),
    ],
)
async def test_a_file_that_the_server_would_not_accept_is_not_read(
    tmp_path: Path, content: bytes, error: type[ItemError], message: str
) -> None:
    with pytest.raises(error, match=message):
        await read_all(*put(tmp_path / "a.jpg", content))


async def test_the_refusal_of_a_type_names_the_command_that_brings_its_decoder(tmp_path: Path) -> None:
    path, version = put(tmp_path / "a.mp4", b"\0\0\0\x18ftypisom\0\0\x02\0isommp42")
    limits = replace(LIMITS, features={"missingDecoders": {"video/mp4": "video", "image/heic": "evil; rm"}})
    command = "a.mp4 is video/mp4; its decoder is missing. Run: pip install 'sploot[video]' && sploot daemon restart"
    with pytest.raises(Unsupported, match=re.escape(command)):
        async with read(path, version, budget=MemoryBudget(1_000_000), limits=limits):
            pass
    assert limits.missing_decoder("image/heic") is None


async def test_a_file_of_exactly_the_limit_is_accepted(tmp_path: Path) -> None:
    content = jpeg("a", LIMITS.bytes_max)
    assert (await read_all(*put(tmp_path / "a.jpg", content)))[0] == content


async def test_a_different_version_than_the_requested_one_is_a_change(tmp_path: Path) -> None:
    path, version = put(tmp_path / "a.jpg", jpeg("a"))
    put(tmp_path / "a.jpg", jpeg("other"))
    with pytest.raises(FileChanged):
        await read_all(path, version)


async def test_a_file_truncated_during_the_upload_is_a_change(tmp_path: Path) -> None:
    path, version = put(tmp_path / "a.jpg", HEAD + bytes(3_000_000))
    async with read(path, version, budget=MemoryBudget(100_000_000), limits=LIMITS) as content:
        os.truncate(path, 1_000_000)
        with pytest.raises(FileChanged):
            [piece async for piece in content.iter_bytes()]


async def test_the_last_piece_of_a_changed_file_is_never_yielded(tmp_path: Path) -> None:
    path, version = put(tmp_path / "a.jpg", HEAD + bytes(2_000_000))
    async with read(path, version, budget=MemoryBudget(100_000_000), limits=LIMITS) as content:
        with (tmp_path / "a.jpg").open("r+b") as stream:
            stream.seek(1_999_999)
            stream.write(b"x")
        pieces = content.iter_bytes()
        for _ in range(file_reader.READ_BYTES // file_reader.SEND_BYTES):
            await anext(pieces)
        with pytest.raises(FileChanged):
            await anext(pieces)


def test_stat_of_a_path_that_is_not_a_regular_file(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        stat_version(os.fsencode(tmp_path / "nowhere"))
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    for name in ("fifo", "link", "."):
        with pytest.raises(NotAFile):
            stat_version(os.fsencode(tmp_path / name))


@pytest.mark.parametrize("make", ["fifo", "socket", "link", "loop", "folder"])
async def test_reading_a_path_that_is_not_a_regular_file_does_not_block(tmp_path: Path, make: str) -> None:
    path, version = put(tmp_path / "a.jpg", jpeg("a"))
    (tmp_path / "a.jpg").unlink()
    match make:
        case "fifo":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(path)
        case "link":
            (tmp_path / "a.jpg").symlink_to("b.jpg")
        case "loop":
            (tmp_path / "a.jpg").symlink_to("a.jpg")
        case "folder":
            (tmp_path / "a.jpg").mkdir()
    with pytest.raises(NotAFile):
        await read_all(path, version)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FileNotFoundError(2, "no such file"), FileMissing),
        (NotADirectoryError(20, "not a directory"), FileMissing),
        (PermissionError(13, "denied"), FileUnreadable),
        (OSError(5, "Input/output error"), FileUnreadable),
        (OSError(24, "Too many open files"), ResourceExhausted),
        (OSError(12, "Cannot allocate memory"), ResourceExhausted),
        (MemoryError(), ResourceExhausted),
    ],
)
async def test_system_errors_are_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: type[ItemError]
) -> None:
    def refuse(*_: object) -> int:
        raise error

    path, version = put(tmp_path / "a.jpg", jpeg("a"))
    budget = MemoryBudget(1_000_000)
    monkeypatch.setattr("splootd.file_reader.os.open", refuse)
    with pytest.raises(expected):
        await read_all(path, version, budget)
    assert budget.in_use == 0


async def test_no_descriptor_is_left_open_after_a_cancellation(tmp_path: Path) -> None:
    path, version = put(tmp_path / "a.jpg", HEAD + os.urandom(3_000_000))
    before = descriptors()
    for steps in range(0, 60, 3):
        reading = asyncio.create_task(read_all(path, version))
        for _ in range(steps):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    assert descriptors() == before


def test_display_name_is_printable_and_short() -> None:
    assert display_name(b"/memes/cat.png") == "cat.png"
    assert display_name(b"/memes/caf\xe9.png") == "caf\\xe9.png"
    assert display_name(b"/memes/two\nlines\x1b[31m.png") == "two\\nlines\\x1b[31m.png"
    assert len(display_name(b"/" + b"x" * 255)) <= NAME_CHARS_MAX


def test_format_size() -> None:
    sizes = [1, 999, 1_000, 14_200_000, 10 * 1024 * 1024, 3_000_000_000]
    assert [format_size(size) for size in sizes] == ["1 byte", "999 bytes", "1 KB", "14.2 MB", "10.5 MB", "3 GB"]
