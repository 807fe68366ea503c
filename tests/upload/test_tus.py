"""The tus client: how it handles each response, and where it resumes after an interruption."""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from file_reading import read
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_fixtures import JumpClock, jpeg
from store_fixtures import Store, open_store

from splootd.core.limits import Limits
from splootd.core.timetable import Timetable
from splootd.credentials import Credentials
from splootd.errors import (
    ConnectionLost,
    FileChanged,
    InternalServerError,
    InvalidResponse,
    LibraryFull,
    RateLimited,
    Rejected,
    StoreFull,
    Unreachable,
)
from splootd.file_reader import Content, MemoryBudget, stat_version
from splootd.metrics.collector import Transfer
from splootd.remote.bandwidth_limiter import BandwidthLimiter
from splootd.remote.client import SplootClient
from splootd.remote.responses import ExistingAsset, StoredAsset
from splootd.remote.status_mapping import HttpResponse
from splootd.remote.upload_body import RequestBody
from splootd.upload.transports import tus
from splootd.upload.transports.tus import (
    CHUNK_BYTES_MAX,
    CHUNK_BYTES_MIN,
    CHUNK_TARGET_S,
    TusClient,
    get_next_chunk_size,
    get_tus_path,
)

PATH = "/up"
SIZE = 10_000
CHUNK = 1_000
LIMITS = Limits(100_000_000, frozenset({"image/jpeg"}))
Reaction = HttpResponse | Exception | int | None


def json_response(status: int, value: Any, **headers: str) -> HttpResponse:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return HttpResponse(status, {"content-type": "application/json", **named}, json.dumps(value).encode())


def rejected(status: int, **headers: str) -> HttpResponse:
    return json_response(status, {"success": False, "error": "the server's reason"}, **headers)


class Tus:
    """A tus server in memory. Each of `reactions` decides what happens to one chunk.

    An int is the number of bytes that arrive before the connection is lost; a response is sent instead of storing the
    chunk; an exception is raised by the connection.
    """

    def __init__(self) -> None:
        self.sends_names = False
        self.bandwidth_limiter = BandwidthLimiter(Timetable(), JumpClock())
        self.reactions: list[Reaction] = []
        self.uploads: dict[str, bytearray] = {}
        self.length = 0
        self.metadata: dict[str, str] = {}
        self.requests: list[str] = []
        self.sent = 0
        self.stored_per_chunk_max = 1 << 30
        self.body_bytes_max = 1 << 30
        self.rejected = 0
        self.location = PATH + "/{}"
        self.existing: ExistingAsset | None = None
        self.respond_to_last: Callable[[bytes], HttpResponse] = self.stored

    async def check(self, sha256: bytes) -> ExistingAsset | None:
        return self.existing

    async def send_tus_request(
        self, method: str, path: str, headers: Mapping[str, str], body: RequestBody = b"", *, size: int = 0
    ) -> HttpResponse:
        assert headers["tus-resumable"] == "1.0.0"
        self.requests.append(f"{method} {path}")
        if method == "POST":
            return self.create(headers)
        if path not in self.uploads:
            return rejected(404)
        kept = self.uploads[path]
        if method == "DELETE":
            del self.uploads[path]
            return HttpResponse(204, {}, b"")
        if method == "HEAD":
            return HttpResponse(200, {"upload-offset": str(len(kept)), "upload-length": str(self.length)}, b"")
        return await self.store_chunk(kept, headers, body, size)

    def create(self, headers: Mapping[str, str]) -> HttpResponse:
        if self.reactions and isinstance(self.reactions[0], HttpResponse) and self.reactions[0].status == 413:
            return self.reactions.pop(0)
        pairs = [pair.split(" ") for pair in headers["upload-metadata"].split(",")]
        self.metadata = {key: base64.b64decode(value).decode() for key, value in pairs}
        self.length = int(headers["upload-length"])
        path = f"{PATH}/{len(self.requests)}"
        self.uploads[path] = bytearray()
        return HttpResponse(201, {"location": self.location.format(len(self.requests))}, b"")

    async def store_chunk(
        self, kept: bytearray, headers: Mapping[str, str], body: RequestBody, size: int
    ) -> HttpResponse:
        reaction = self.reactions.pop(0) if self.reactions else None
        if isinstance(reaction, Exception):
            raise reaction
        if isinstance(reaction, HttpResponse):
            return reaction
        if size > self.body_bytes_max:
            self.rejected += 1
            return HttpResponse(413, {"content-type": "text/html"}, b"<html>")
        assert callable(body)
        data = b""
        async with contextlib.aclosing(body()) as pieces:
            async for piece in pieces:
                data += piece
        assert len(data) == size == int(headers["content-length"])
        self.sent += len(data)
        if isinstance(reaction, int) and reaction < len(data):
            raise ConnectionLost("connection lost")
        if int(headers["upload-offset"]) != len(kept):
            return rejected(409)
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        assert headers["upload-checksum"] == f"sha256 {digest}"
        kept += data[: self.stored_per_chunk_max]
        if len(kept) == self.length:
            return self.respond_to_last(bytes(kept))
        return HttpResponse(204, {"upload-offset": str(len(kept))}, b"")

    def stored(self, data: bytes) -> HttpResponse:
        asset = {"id": "asset", "checksum": hashlib.sha256(data).hexdigest()}
        return json_response(200, {"asset": asset, "isDuplicate": False}, upload_offset=str(len(data)))


@dataclass(slots=True, eq=False)
class RecordedTransfer(Transfer):
    """A transfer that records the reported progress."""

    progress: list[int] = field(default_factory=list)

    def record_progress(self, sent: int) -> None:
        Transfer.record_progress(self, sent)
        self.progress.append(sent)


class UploadSetup:
    """One file, the ledger, and the tus server."""

    def __init__(self, store: Store, content: Content, path: Path) -> None:
        self.store = store
        self.content = content
        self.path = path
        self.tus = Tus()
        self.progress: list[int] = []
        self.transfer = Transfer(b"a.jpg", SIZE)

    async def upload(
        self, *, tags: Sequence[str] = (), check_admission: Callable[[], None] = lambda: None
    ) -> StoredAsset:
        """Upload the file as a daemon that has just started."""
        client = TusClient(self.tus, self.store.ledger, JumpClock())  # type: ignore[arg-type] # it has the methods that are used
        self.transfer = RecordedTransfer(b"a.jpg", SIZE, progress=self.progress)
        return await client.upload(
            self.content, PATH, tags=tags, transfer=self.transfer, check_admission=check_admission
        )

    @property
    def kept(self) -> list[bytes]:
        return [bytes(each) for each in self.tus.uploads.values()]


@contextlib.asynccontextmanager
async def open_setup(folder: Path, *, size: int = SIZE, chunk: int = CHUNK) -> AsyncIterator[UploadSetup]:
    path = folder / "a.jpg"
    path.write_bytes(jpeg("a", size))
    raw = os.fsencode(path)
    async with (
        open_store(folder / "queue.db") as store,
        read(raw, stat_version(raw), budget=MemoryBudget(100_000_000), limits=LIMITS) as content,
    ):
        with pytest.MonkeyPatch.context() as patch:
            for name in ("CHUNK_BYTES_FIRST", "CHUNK_BYTES_MIN", "CHUNK_BYTES_MAX"):
                patch.setattr(tus, name, chunk)
            patch.setattr(tus, "LOCKED_RETRY_S", 0.0)
            yield UploadSetup(store, content, path)


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[UploadSetup]:
    async with open_setup(tmp_path) as setup:
        yield setup


async def test_a_file_is_sent_in_chunks_with_its_name_type_tags_and_hash(setup: UploadSetup) -> None:
    assert await setup.upload(tags=("cat", "größe")) == StoredAsset("asset", is_duplicate=False)
    assert setup.kept == [setup.path.read_bytes()]
    assert setup.tus.metadata == {
        "filename": setup.content.name,
        "filetype": "image/jpeg",
        "checksum": setup.content.sha256.hex(),
        "tags": '["cat", "gr\\u00f6\\u00dfe"]',
    }
    assert setup.tus.requests == [f"POST {PATH}", *[f"PATCH {PATH}/1"] * 10]
    assert setup.progress == list(range(CHUNK, SIZE + 1, CHUNK))
    assert await setup.store.ledger.get_upload_path(setup.content.sha256) is None


@pytest.mark.parametrize("reaction", [500, rejected(409), rejected(423, retry_after="1"), rejected(460)])
async def test_after_a_failed_chunk_the_offset_is_fetched(setup: UploadSetup, reaction: Reaction) -> None:
    setup.tus.reactions = [None, None, reaction]
    await setup.upload()
    assert setup.kept == [setup.path.read_bytes()]
    assert setup.tus.requests[3:6] == [f"PATCH {PATH}/1", f"HEAD {PATH}/1", f"PATCH {PATH}/1"]
    assert setup.tus.sent == SIZE + (CHUNK if isinstance(reaction, int) else 0)


async def test_a_proxy_that_accepts_only_small_requests_gets_small_chunks(tmp_path: Path) -> None:
    """Proxies limit request bodies, often to one megabyte."""
    async with open_setup(tmp_path, size=3 << 20, chunk=1 << 20) as setup:
        setup.tus.body_bytes_max = 300_000
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tus, "CHUNK_BYTES_MIN", CHUNK_BYTES_MIN)
            await setup.upload()
        assert setup.kept == [setup.path.read_bytes()]
        assert setup.tus.sent == 3 << 20
        assert setup.tus.rejected == 2


async def test_endless_failures_end_the_upload(setup: UploadSetup) -> None:
    setup.tus.reactions = [rejected(460)] * 100
    with pytest.raises(InvalidResponse, match=r"rejected a chunk of a[.]jpg"):
        await setup.upload()
    assert setup.tus.requests.count(f"PATCH {PATH}/1") == tus.CHUNK_RETRIES_MAX + 1


@pytest.mark.parametrize(
    ("reaction", "error"),
    [
        (Unreachable("no connection"), Unreachable),
        (rejected(500), InternalServerError),
        (rejected(429, retry_after="7"), RateLimited),
        (rejected(507), LibraryFull),
    ],
)
async def test_a_server_error_is_raised_as_for_any_upload_and_the_next_attempt_resumes(
    setup: UploadSetup, reaction: Reaction, error: type[Exception]
) -> None:
    setup.tus.reactions = [None, None, None, reaction]
    with pytest.raises(error):
        await setup.upload()
    await setup.upload()
    assert setup.tus.requests[5] == f"HEAD {PATH}/1"
    assert (setup.transfer.resumed_offset, setup.transfer.offset, setup.transfer.sent_bytes) == (
        3_000,
        SIZE,
        7_000,
    )
    assert (setup.kept, setup.tus.sent) == ([setup.path.read_bytes()], SIZE)


@pytest.mark.parametrize("status", [404, 410])
async def test_an_upload_that_the_server_lost_starts_again(setup: UploadSetup, status: int) -> None:
    await setup.store.ledger.start_upload(setup.content.sha256, f"{PATH}/expired", now=0.0)
    await setup.upload()
    assert setup.tus.requests[:3] == [f"HEAD {PATH}/expired", f"POST {PATH}", f"PATCH {PATH}/2"]
    setup.tus.uploads.clear()
    setup.tus.reactions = [None, rejected(status)]
    await setup.upload()
    assert setup.kept[-1] == setup.path.read_bytes()


async def test_a_server_that_loses_every_upload_is_given_up(setup: UploadSetup) -> None:
    setup.tus.reactions = [rejected(404)] * 10
    with pytest.raises(InvalidResponse, match="lost an upload"):
        await setup.upload()


@pytest.mark.parametrize(("offset", "length"), [(SIZE + 1, SIZE), (5, SIZE + 1)])
async def test_an_offset_that_does_not_fit_the_file_is_not_used(setup: UploadSetup, offset: int, length: int) -> None:
    await setup.store.ledger.start_upload(setup.content.sha256, f"{PATH}/other", now=0.0)
    setup.tus.uploads[f"{PATH}/other"] = bytearray(offset)
    setup.tus.length = length
    await setup.upload()
    assert setup.kept[-1] == setup.path.read_bytes()


@pytest.mark.parametrize("said", ["999999", "0", "many", ""])
async def test_an_impossible_acknowledgement_is_an_error(setup: UploadSetup, said: str) -> None:
    setup.tus.reactions = [None, HttpResponse(204, {"upload-offset": said}, b"")]
    with pytest.raises(InvalidResponse, match=r"no valid Upload-Offset for a[.]jpg"):
        await setup.upload()


async def test_a_partly_stored_chunk_continues_at_the_acknowledged_offset(setup: UploadSetup) -> None:
    setup.tus.stored_per_chunk_max = 700
    await setup.upload()
    assert setup.kept == [setup.path.read_bytes()]


async def test_a_rejection_carries_the_servers_message_and_the_upload_is_not_kept(setup: UploadSetup) -> None:
    setup.tus.reactions = [None, rejected(400)]
    with pytest.raises(Rejected, match=r"the server rejected a[.]jpg: the server's reason"):
        await setup.upload()
    assert await setup.store.ledger.get_upload_path(setup.content.sha256) is None
    setup.tus.reactions = [rejected(413)]
    with pytest.raises(Rejected, match="too large"):
        await setup.upload()


async def test_a_complete_upload_whose_last_response_was_lost_is_completed_again(setup: UploadSetup) -> None:
    lost = [True]

    def final(data: bytes) -> HttpResponse:
        if lost.pop() if lost else False:
            raise ConnectionLost("connection lost")
        return setup.tus.stored(data)

    setup.tus.respond_to_last = final
    assert await setup.upload() == StoredAsset("asset", is_duplicate=False)
    assert (setup.tus.sent, setup.tus.requests[-2:]) == (SIZE, [f"HEAD {PATH}/1", f"PATCH {PATH}/1"])


async def test_a_last_response_without_an_asset_leads_to_a_lookup_by_hash(setup: UploadSetup) -> None:
    setup.tus.respond_to_last = lambda data: HttpResponse(204, {"upload-offset": str(len(data))}, b"")
    with pytest.raises(InvalidResponse, match="did not store it"):
        await setup.upload()
    setup.tus.existing = ExistingAsset("by hash", has_embedding=False)
    assert await setup.upload() == StoredAsset("by hash", is_duplicate=False)


async def test_a_different_checksum_in_the_last_response_is_an_error(setup: UploadSetup) -> None:
    setup.tus.respond_to_last = lambda data: setup.tus.stored(data + b"x")
    with pytest.raises(InvalidResponse):
        await setup.upload()


async def test_the_upload_of_a_file_that_changes_is_deleted(tmp_path: Path) -> None:
    """The bytes sent so far match neither version."""
    async with open_setup(tmp_path, size=3 << 20, chunk=1 << 20) as setup:

        def change() -> None:
            if setup.tus.sent:
                os.utime(setup.path, (1, 1))

        with pytest.raises(FileChanged):
            await setup.upload(check_admission=change)
        assert setup.tus.uploads == {}
        assert await setup.store.ledger.get_upload_path(setup.content.sha256) is None


async def test_a_token_that_expires_during_the_upload_is_refreshed_and_no_chunk_is_lost(
    setup: UploadSetup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the client that sends all uploads."""
    (tmp_path / "token").write_text("first")
    credentials = Credentials(tmp_path / "kept", JumpClock(), token_command=f"cat {tmp_path / 'token'}")
    api = SplootClient("http://library.test", credentials=credentials, connections=4)

    async def send_once(_: object, request: Any, token: str | None) -> HttpResponse:
        if setup.tus.sent == 3 * CHUNK:
            (tmp_path / "token").write_text("second")
            if token != "second":
                return HttpResponse(401, {"www-authenticate": "Bearer"}, b"")
        size = int(request.headers.get("content-length", "0"))
        return await setup.tus.send_tus_request(request.method, request.path, request.headers, request.body, size=size)

    monkeypatch.setattr(api, "_send_once", send_once)
    client = TusClient(api, setup.store.ledger, JumpClock())
    transfer = Transfer(b"a.jpg", SIZE)
    stored = await client.upload(setup.content, PATH, tags=(), transfer=transfer, check_admission=lambda: None)
    assert stored == StoredAsset("asset", is_duplicate=False)
    assert (setup.kept, setup.tus.sent) == ([setup.path.read_bytes()], SIZE)
    await api.close()


async def test_the_bandwidth_limit_applies_to_chunks(setup: UploadSetup) -> None:
    """The limiter is applied to each piece of a chunk."""

    class Halving(BandwidthLimiter):
        async def iter_throttled(self, piece: bytes) -> AsyncIterator[bytes]:
            for half in (piece[: CHUNK // 2], piece[CHUNK // 2 :]):
                yield half

    setup.tus.bandwidth_limiter = Halving(Timetable(), JumpClock())
    await setup.upload()
    assert setup.kept == [setup.path.read_bytes()]
    assert setup.progress == list(range(CHUNK // 2, SIZE + 1, CHUNK // 2))


async def test_an_upload_that_is_held_back_stops_between_chunks_and_resumes_there(setup: UploadSetup) -> None:
    class HeldBack(Exception):
        pass

    def hold() -> None:
        if setup.tus.sent == 3 * CHUNK:
            raise HeldBack

    with pytest.raises(HeldBack):
        await setup.upload(check_admission=hold)
    await setup.upload()
    assert (setup.kept, setup.tus.sent) == ([setup.path.read_bytes()], SIZE)


async def test_a_full_disk_only_prevents_resuming_after_a_restart(
    setup: UploadSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object, **__: object) -> None:
        raise StoreFull("no room")

    monkeypatch.setattr(type(setup.store.ledger), "_write", full)
    assert await setup.upload() == StoredAsset("asset", is_duplicate=False)


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/up/{}", "/up/1"),
        ("up/{}", "/up/1"),
        ("http://another.name:99/up/{}", "/up/1"),
        ("https://host/prefix/up/{}", "/up/1"),
        ("/elsewhere/{}?key=%20a", "/elsewhere/1?key=%20a"),
    ],
)
async def test_only_the_path_of_a_location_is_used(setup: UploadSetup, location: str, path: str) -> None:
    """The token is for this server only."""
    setup.tus.location = location
    setup.tus.reactions = [Unreachable("no connection")]
    with contextlib.suppress(Unreachable, InvalidResponse):
        await setup.upload()
    assert setup.tus.requests[1] == f"PATCH {path}"


@pytest.mark.parametrize("location", ["", "http://[", "/a b", "/ü", "/" + "x" * 3_000])
async def test_an_invalid_location_is_an_error(setup: UploadSetup, location: str) -> None:
    setup.tus.location = location
    with pytest.raises(InvalidResponse, match="without a valid Location"):
        await setup.upload()


@pytest.mark.parametrize(
    ("features", "path"),
    [
        ({}, None),
        ({"resumable": True}, None),
        ({"resumable": {"path": 1}}, None),
        ({"resumable": {"path": "http://other.host/up"}}, None),
        ({"resumable": {"path": "//other.host/up"}}, None),
        ({"resumable": {"path": "/up", "more": 1}}, "/up"),
    ],
)
def test_only_a_path_on_this_server_is_a_tus_endpoint(features: dict[str, Any], path: str | None) -> None:
    assert get_tus_path(Limits(1, frozenset(), features)) == path


@given(st.integers(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX), st.floats(0, 1_000))
def test_a_chunk_takes_about_two_seconds(size: int, took_s: float) -> None:
    after = get_next_chunk_size(size, took_s)
    assert CHUNK_BYTES_MIN <= after <= CHUNK_BYTES_MAX
    assert (after > size) <= (took_s < CHUNK_TARGET_S) <= (after >= size)


@settings(max_examples=25)
@given(
    st.lists(
        st.one_of(
            st.none(),
            st.integers(0, CHUNK - 1),
            st.sampled_from([rejected(409), rejected(423), rejected(460), rejected(500)]),
            st.just(Unreachable("no connection")),
        ),
        max_size=25,
    )
)
def test_acknowledged_bytes_are_never_sent_again(reactions: Sequence[Reaction]) -> None:
    """Only interrupted and rejected chunks are sent again. Each attempt is that of a new daemon."""

    async def run(folder: Path) -> None:
        async with open_setup(folder) as setup:
            setup.tus.reactions = list(reactions)
            attempts = 0
            while True:
                attempts += 1
                with contextlib.suppress(Unreachable, InternalServerError, InvalidResponse, ConnectionLost):
                    await setup.upload()
                    break
            assert attempts <= len(reactions) + 1
            broken = sum(1 for reaction in reactions if isinstance(reaction, int))
            assert setup.kept == [setup.path.read_bytes()]
            assert setup.tus.sent <= SIZE + broken * CHUNK

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))
