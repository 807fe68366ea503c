"""Originals over a real socket: whole, ranges and conditional requests (RFC 9110, sections 13 and 14)."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from live_library import LiveLibrary, live_library
from toy_library import picture

DATA = picture("0123456789" * 300)
SIZE = len(DATA)
ETAG = f'"{hashlib.sha256(DATA).hexdigest()}"'


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[LiveLibrary]:
    async with live_library(tmp_path / "l") as library:
        yield library


async def asked(library: LiveLibrary, method: str = "GET", **headers: str) -> httpx.Response:
    sent = await library.client.post("/api/upload", files={"file": ("a.jpg", DATA, "image/jpeg")})
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await library.client.request(method, sent.json()["asset"]["blobUrl"], headers=named)


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        ("Bytes=0-0", 0, 1),
        ("bytes=100-", 100, SIZE),
        (f"bytes=5-{SIZE * 2}", 5, SIZE),
        ("bytes=-7", SIZE - 7, SIZE),
        (f"bytes=-{SIZE * 2}", 0, SIZE),
    ],
)
async def test_a_single_range_returns_exactly_that_range(
    library: LiveLibrary, wanted: str, start: int, stop: int
) -> None:
    answer = await asked(library, range=wanted)
    assert (answer.status_code, answer.content) == (206, DATA[start:stop])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert (answer.headers["etag"], answer.headers["accept-ranges"]) == (ETAG, "bytes")


@pytest.mark.parametrize("wanted", ["bytes=0-4,10-14", "bytes=9-3", "items=0-9"])
async def test_any_other_range_header_returns_the_whole_file(library: LiveLibrary, wanted: str) -> None:
    answer = await asked(library, range=wanted)
    assert (answer.status_code, answer.content) == (200, DATA)
    assert "content-range" not in answer.headers


@pytest.mark.parametrize("wanted", [f"bytes={SIZE}-", f"bytes={SIZE * 9}-{SIZE * 9 + 1}", "bytes=-0"])
async def test_a_range_after_the_end_gets_416_which_is_not_cacheable(library: LiveLibrary, wanted: str) -> None:
    answer = await asked(library, range=wanted)
    assert (answer.status_code, answer.content, answer.headers["content-range"]) == (416, b"", f"bytes */{SIZE}")
    assert answer.headers["cache-control"] == "no-store"


async def test_if_range_returns_the_range_if_the_etag_matches_and_else_the_whole_file(library: LiveLibrary) -> None:
    assert (await asked(library, range="bytes=0-9", if_range=ETAG)).status_code == 206
    for other in ('"other"', f"W/{ETAG}", "Sat, 28 Nov 2026 13:00:00 GMT"):
        answer = await asked(library, range="bytes=0-9", if_range=other)
        assert (answer.status_code, answer.content) == (200, DATA)


@pytest.mark.parametrize("known", [ETAG, f"W/{ETAG}", f'"other", {ETAG}', "*"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_client_with_a_matching_etag_gets_304(library: LiveLibrary, method: str, known: str) -> None:
    """Without Content-Length, which would be that of the file (RFC 9110, 8.6)."""
    answer = await asked(library, method, if_none_match=known, range="bytes=0-9")
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", ETAG)
    assert "content-length" not in answer.headers


async def test_a_client_with_another_etag_gets_the_file(library: LiveLibrary) -> None:
    assert (await asked(library, if_none_match='"other"')).content == DATA


async def test_head_returns_the_content_length(library: LiveLibrary) -> None:
    answer = await asked(library, "HEAD")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", str(SIZE))
