"""Large files in chunks, as the client sends them: what it makes of each answer, and where it goes on after a break."""

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
from hypothesis import given, settings
from hypothesis import strategies as st
from storekit import Store, opened
from walkkit import JumpClock, jpeg

from splootd.core.timetable import Timetable
from splootd.credentials import Credentials
from splootd.errors import BadAnswer, BrokenOff, FileChanged, RateLimited, Refused, ServerFault, StoreFull, Unreachable
from splootd.metrics.traffic import Transfer
from splootd.remote import resumable
from splootd.remote.answers import Found, Limits, Stored
from splootd.remote.api import Server
from splootd.remote.forms import Body
from splootd.remote.resumable import CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CHUNK_S, Resumable, offered, size_after
from splootd.remote.throttle import Throttle
from splootd.remote.verdict import Answer
from splootd.work.files import Content, MemoryBudget, look, read

PATH = "/up"
SIZE = 10_000
CHUNK = 1_000
LIMITS = Limits(100_000_000, frozenset({"image/jpeg"}))
Reaction = Answer | Exception | int | None


def json_answer(status: int, value: Any, **headers: str) -> Answer:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, {"content-type": "application/json", **named}, json.dumps(value).encode())


def refused(status: int, **headers: str) -> Answer:
    return json_answer(status, {"success": False, "error": "it says why"}, **headers)


class Tus:
    """The server side of `Resumable`, in memory. `reactions` befall the next parts, one each.

    A number is how many bytes arrive before the line breaks; an answer is given instead of taking the part; an
    exception is what the way to the server does.
    """

    def __init__(self) -> None:
        self.throttle = Throttle(Timetable(), JumpClock())
        self.reactions: list[Reaction] = []
        self.uploads: dict[str, bytearray] = {}
        self.length = 0
        self.metadata: dict[str, str] = {}
        self.asked: list[str] = []
        self.sent = 0
        self.takes = 1 << 30  # of a part, at most
        self.body_bytes_max = 1 << 30
        self.refused = 0
        self.location = PATH + "/{}"
        self.has: Found | None = None
        self.final: Callable[[bytes], Answer] = self.stored

    async def check(self, sha256: bytes) -> Found | None:
        return self.has

    async def exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: Body = b"", *, size: int = 0
    ) -> Answer:
        assert headers["tus-resumable"] == "1.0.0"
        self.asked.append(f"{method} {path}")
        if method == "POST":
            return self.create(headers)
        if path not in self.uploads:
            return refused(404)
        kept = self.uploads[path]
        if method == "DELETE":
            del self.uploads[path]
            return Answer(204, {}, b"")
        if method == "HEAD":
            return Answer(200, {"upload-offset": str(len(kept)), "upload-length": str(self.length)}, b"")
        return await self.take(kept, headers, body, size)

    def create(self, headers: Mapping[str, str]) -> Answer:
        if self.reactions and isinstance(self.reactions[0], Answer) and self.reactions[0].status == 413:
            return self.reactions.pop(0)
        pairs = [pair.split(" ") for pair in headers["upload-metadata"].split(",")]
        self.metadata = {key: base64.b64decode(value).decode() for key, value in pairs}
        self.length = int(headers["upload-length"])
        address = f"{PATH}/{len(self.asked)}"
        self.uploads[address] = bytearray()
        return Answer(201, {"location": self.location.format(len(self.asked))}, b"")

    async def take(self, kept: bytearray, headers: Mapping[str, str], body: Body, size: int) -> Answer:
        reaction = self.reactions.pop(0) if self.reactions else None
        if isinstance(reaction, Exception):
            raise reaction
        if isinstance(reaction, Answer):
            return reaction
        if size > self.body_bytes_max:
            self.refused += 1
            return Answer(413, {"content-type": "text/html"}, b"<html>")
        assert callable(body)
        data = b""
        async with contextlib.aclosing(body()) as pieces:
            async for piece in pieces:
                data += piece
        assert len(data) == size == int(headers["content-length"])
        self.sent += len(data)
        if isinstance(reaction, int) and reaction < len(data):
            raise BrokenOff("the line broke")
        if int(headers["upload-offset"]) != len(kept):
            return refused(409)
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        assert headers["upload-checksum"] == f"sha256 {digest}"
        kept += data[: self.takes]
        if len(kept) == self.length:
            return self.final(bytes(kept))
        return Answer(204, {"upload-offset": str(len(kept))}, b"")

    def stored(self, data: bytes) -> Answer:
        asset = {"id": "asset", "checksum": hashlib.sha256(data).hexdigest()}
        return json_answer(200, {"asset": asset, "isDuplicate": False}, upload_offset=str(len(data)))


@dataclass(slots=True, eq=False)
class Told(Transfer):
    """An upload that remembers what it was told."""

    told: list[int] = field(default_factory=list)

    def progress(self, sent: int) -> None:
        Transfer.progress(self, sent)
        self.told.append(sent)


class Sending:
    """One file, the ledger, and the toy server."""

    def __init__(self, store: Store, content: Content, path: Path) -> None:
        self.store = store
        self.content = content
        self.path = path
        self.tus = Tus()
        self.progress: list[int] = []
        self.transfer = Transfer(b"a.jpg", SIZE)

    async def upload(self, *, tags: Sequence[str] = (), may_go: Callable[[], None] = lambda: None) -> Stored:
        """As a daemon that has just started."""
        client = Resumable(self.tus, self.store.ledger, JumpClock())  # type: ignore[arg-type] # a toy of the same shape
        self.transfer = Told(b"a.jpg", SIZE, told=self.progress)
        return await client.upload(self.content, PATH, tags=tags, transfer=self.transfer, may_go=may_go)

    @property
    def kept(self) -> list[bytes]:
        return [bytes(each) for each in self.tus.uploads.values()]


@contextlib.asynccontextmanager
async def sending_in(folder: Path, *, size: int = SIZE, chunk: int = CHUNK) -> AsyncIterator[Sending]:
    path = folder / "a.jpg"
    path.write_bytes(jpeg("a", size))
    raw = os.fsencode(path)
    async with (
        opened(folder / "queue.db") as store,
        read(raw, look(raw), budget=MemoryBudget(100_000_000), limits=LIMITS) as content,
    ):
        with pytest.MonkeyPatch.context() as scaled:
            for name in ("CHUNK_BYTES_FIRST", "CHUNK_BYTES_MIN", "CHUNK_BYTES_MAX"):
                scaled.setattr(resumable, name, chunk)
            scaled.setattr(resumable, "HELD_S", 0.0)
            yield Sending(store, content, path)


@pytest.fixture
async def sending(tmp_path: Path) -> AsyncIterator[Sending]:
    async with sending_in(tmp_path) as sending:
        yield sending


async def test_a_file_goes_in_chunks_with_its_name_type_tags_and_hash(sending: Sending) -> None:
    assert await sending.upload(tags=("cat", "größe")) == Stored("asset", duplicate=False)
    assert sending.kept == [sending.path.read_bytes()]
    assert sending.tus.metadata == {
        "filename": "a.jpg",
        "filetype": "image/jpeg",
        "checksum": sending.content.sha256.hex(),
        "tags": '["cat", "gr\\u00f6\\u00dfe"]',
    }
    assert sending.tus.asked == [f"POST {PATH}", *[f"PATCH {PATH}/1"] * 10]
    assert sending.progress == list(range(CHUNK, SIZE + 1, CHUNK))
    assert await sending.store.ledger.upload(sending.content.sha256) is None


@pytest.mark.parametrize("reaction", [500, refused(409), refused(423, retry_after="1"), refused(460)])
async def test_after_a_hitch_the_server_is_asked_where_to_go_on(sending: Sending, reaction: Reaction) -> None:
    sending.tus.reactions = [None, None, reaction]
    await sending.upload()
    assert sending.kept == [sending.path.read_bytes()]
    assert sending.tus.asked[3:6] == [f"PATCH {PATH}/1", f"HEAD {PATH}/1", f"PATCH {PATH}/1"]
    assert sending.tus.sent == SIZE + (CHUNK if isinstance(reaction, int) else 0)


async def test_what_lets_only_small_requests_through_gets_small_ones(tmp_path: Path) -> None:
    """Proxies have limits on bodies, of a megabyte often."""
    async with sending_in(tmp_path, size=3 << 20, chunk=1 << 20) as sending:
        sending.tus.body_bytes_max = 300_000
        with pytest.MonkeyPatch.context() as scaled:
            scaled.setattr(resumable, "CHUNK_BYTES_MIN", CHUNK_BYTES_MIN)
            await sending.upload()
        assert sending.kept == [sending.path.read_bytes()]
        assert sending.tus.sent == 3 << 20
        assert sending.tus.refused == 2


async def test_hitches_without_end_end(sending: Sending) -> None:
    sending.tus.reactions = [refused(460)] * 100
    with pytest.raises(BadAnswer, match=r"did not take a part of a[.]jpg"):
        await sending.upload()
    assert sending.tus.asked.count(f"PATCH {PATH}/1") == resumable.HITCHES_MAX + 1


@pytest.mark.parametrize(
    ("reaction", "error"),
    [
        (Unreachable("no line"), Unreachable),
        (refused(500), ServerFault),
        (refused(429, retry_after="7"), RateLimited),
        (refused(507), ServerFault),
    ],
)
async def test_what_is_about_the_server_is_told_as_of_any_upload_and_the_next_try_goes_on(
    sending: Sending, reaction: Reaction, error: type[Exception]
) -> None:
    sending.tus.reactions = [None, None, None, reaction]
    with pytest.raises(error):
        await sending.upload()
    await sending.upload()
    assert sending.tus.asked[5] == f"HEAD {PATH}/1"
    assert (sending.transfer.resumed_at, sending.transfer.sent, sending.transfer.carried) == (3_000, SIZE, 7_000)
    assert (sending.kept, sending.tus.sent) == ([sending.path.read_bytes()], SIZE)


@pytest.mark.parametrize("status", [404, 410])
async def test_an_upload_that_the_server_has_forgotten_is_begun_anew(sending: Sending, status: int) -> None:
    await sending.store.ledger.upload_begun(sending.content.sha256, f"{PATH}/expired", now=0.0)
    await sending.upload()
    assert sending.tus.asked[:3] == [f"HEAD {PATH}/expired", f"POST {PATH}", f"PATCH {PATH}/2"]
    sending.tus.uploads.clear()
    sending.tus.reactions = [None, refused(status)]
    await sending.upload()
    assert sending.kept[-1] == sending.path.read_bytes()


async def test_a_server_that_forgets_everything_is_not_asked_for_ever(sending: Sending) -> None:
    sending.tus.reactions = [refused(404)] * 10
    with pytest.raises(BadAnswer, match="forgets"):
        await sending.upload()


@pytest.mark.parametrize(("offset", "length"), [(SIZE + 1, SIZE), (5, SIZE + 1)])
async def test_an_offset_that_does_not_fit_the_file_is_not_believed(sending: Sending, offset: int, length: int) -> None:
    await sending.store.ledger.upload_begun(sending.content.sha256, f"{PATH}/other", now=0.0)
    sending.tus.uploads[f"{PATH}/other"] = bytearray(offset)
    sending.tus.length = length
    await sending.upload()
    assert sending.kept[-1] == sending.path.read_bytes()


@pytest.mark.parametrize("said", ["999999", "0", "many", ""])
async def test_an_acknowledgement_that_cannot_be_true_is_no_success(sending: Sending, said: str) -> None:
    sending.tus.reactions = [None, Answer(204, {"upload-offset": said}, b"")]
    with pytest.raises(BadAnswer, match=r"does not say how much of a[.]jpg it has"):
        await sending.upload()


async def test_a_server_that_takes_less_than_was_sent_is_sent_the_rest(sending: Sending) -> None:
    sending.tus.takes = 700
    await sending.upload()
    assert sending.kept == [sending.path.read_bytes()]


async def test_what_the_server_refuses_is_refused_in_its_words_and_not_remembered(sending: Sending) -> None:
    sending.tus.reactions = [None, refused(400)]
    with pytest.raises(Refused, match=r"the server refuses a[.]jpg: it says why"):
        await sending.upload()
    assert await sending.store.ledger.upload(sending.content.sha256) is None
    sending.tus.reactions = [refused(413)]
    with pytest.raises(Refused, match="too large"):
        await sending.upload()


async def test_a_complete_upload_whose_answer_was_lost_is_asked_for_it(sending: Sending) -> None:
    lost = [True]

    def final(data: bytes) -> Answer:
        if lost.pop() if lost else False:
            raise BrokenOff("the line broke")
        return sending.tus.stored(data)

    sending.tus.final = final
    assert await sending.upload() == Stored("asset", duplicate=False)
    assert (sending.tus.sent, sending.tus.asked[-2:]) == (SIZE, [f"HEAD {PATH}/1", f"PATCH {PATH}/1"])


async def test_a_server_that_names_no_asset_is_asked_by_hash(sending: Sending) -> None:
    sending.tus.final = lambda data: Answer(204, {"upload-offset": str(len(data))}, b"")
    with pytest.raises(BadAnswer, match="does not know it"):
        await sending.upload()
    sending.tus.has = Found("by hash", embedded=False)
    assert await sending.upload() == Stored("by hash", duplicate=False)


async def test_other_bytes_than_were_sent_are_no_success(sending: Sending) -> None:
    sending.tus.final = lambda data: sending.tus.stored(data + b"x")
    with pytest.raises(BadAnswer):
        await sending.upload()


async def test_a_file_that_changes_on_the_way_is_taken_back(tmp_path: Path) -> None:
    """What was sent of it fits neither version."""
    async with sending_in(tmp_path, size=3 << 20, chunk=1 << 20) as sending:

        def change() -> None:
            if sending.tus.sent:
                os.utime(sending.path, (1, 1))

        with pytest.raises(FileChanged):
            await sending.upload(may_go=change)
        assert sending.tus.uploads == {}
        assert await sending.store.ledger.upload(sending.content.sha256) is None


async def test_a_token_that_ends_on_the_way_is_renewed_and_nothing_is_sent_in_vain(
    sending: Sending, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the client that all uploads go through."""
    (tmp_path / "token").write_text("first")
    credentials = Credentials(tmp_path / "kept", JumpClock(), token_command=f"cat {tmp_path / 'token'}")
    server = Server("http://library.test", credentials=credentials, connections=4)

    async def once(_: object, question: Any, token: str | None) -> Answer:
        if sending.tus.sent == 3 * CHUNK:
            (tmp_path / "token").write_text("second")
            if token != "second":
                return Answer(401, {"www-authenticate": "Bearer"}, b"")
        size = int(question.headers.get("content-length", "0"))
        return await sending.tus.exchange(question.method, question.path, question.headers, question.body, size=size)

    monkeypatch.setattr(server, "_once", once)
    client = Resumable(server, sending.store.ledger, JumpClock())
    transfer = Transfer(b"a.jpg", SIZE)
    stored = await client.upload(sending.content, PATH, tags=(), transfer=transfer, may_go=lambda: None)
    assert stored == Stored("asset", duplicate=False)
    assert (sending.kept, sending.tus.sent) == ([sending.path.read_bytes()], SIZE)
    await server.close()


async def test_a_limit_on_bandwidth_holds_for_chunks_too(sending: Sending) -> None:
    """Each piece of one goes when it may."""

    class Halving(Throttle):
        async def parts(self, piece: bytes) -> AsyncIterator[bytes]:
            for half in (piece[: CHUNK // 2], piece[CHUNK // 2 :]):
                yield half

    sending.tus.throttle = Halving(Timetable(), JumpClock())
    await sending.upload()
    assert sending.kept == [sending.path.read_bytes()]
    assert sending.progress == list(range(CHUNK // 2, SIZE + 1, CHUNK // 2))


async def test_sending_that_is_held_back_stops_between_two_chunks_and_goes_on_there(sending: Sending) -> None:
    class Held(Exception):
        pass

    def hold() -> None:
        if sending.tus.sent == 3 * CHUNK:
            raise Held

    with pytest.raises(Held):
        await sending.upload(may_go=hold)
    await sending.upload()
    assert (sending.kept, sending.tus.sent) == ([sending.path.read_bytes()], SIZE)


async def test_without_room_in_the_queue_it_goes_on_until_the_daemon_ends(
    sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object, **__: object) -> None:
        raise StoreFull("no room")

    monkeypatch.setattr(type(sending.store.ledger), "_write", full)
    assert await sending.upload() == Stored("asset", duplicate=False)


@pytest.mark.parametrize(
    ("location", "address"),
    [
        ("/up/{}", "/up/1"),
        ("up/{}", "/up/1"),
        ("http://another.name:99/up/{}", "/up/1"),
        ("https://host/prefix/up/{}", "/up/1"),
        ("/elsewhere/{}?key=%20a", "/elsewhere/1?key=%20a"),
    ],
)
async def test_whatever_the_server_is_called_in_its_address_only_this_one_is_asked(
    sending: Sending, location: str, address: str
) -> None:
    """The token is for this server."""
    sending.tus.location = location
    sending.tus.reactions = [Unreachable("no line")]
    with contextlib.suppress(Unreachable, BadAnswer):
        await sending.upload()
    assert sending.tus.asked[1] == f"PATCH {address}"


@pytest.mark.parametrize("location", ["", "http://[", "/a b", "/ü", "/" + "x" * 3_000])
async def test_an_address_that_leads_nowhere_is_no_beginning(sending: Sending, location: str) -> None:
    sending.tus.location = location
    with pytest.raises(BadAnswer, match="where the upload goes on"):
        await sending.upload()


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
def test_only_a_path_on_this_server_is_an_offer(features: dict[str, Any], path: str | None) -> None:
    assert offered(Limits(1, frozenset(), features)) == path


@given(st.integers(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX), st.floats(0, 1_000))
def test_a_chunk_is_as_large_as_the_line_carries_in_about_two_seconds(size: int, took_s: float) -> None:
    after = size_after(size, took_s)
    assert CHUNK_BYTES_MIN <= after <= CHUNK_BYTES_MAX
    assert (after > size) <= (took_s < CHUNK_S) <= (after >= size)


@settings(max_examples=25)
@given(
    st.lists(
        st.one_of(
            st.none(),
            st.integers(0, CHUNK - 1),
            st.sampled_from([refused(409), refused(423), refused(460), refused(500)]),
            st.just(Unreachable("no line")),
        ),
        max_size=25,
    )
)
def test_whatever_happens_nothing_acknowledged_is_sent_again(reactions: Sequence[Reaction]) -> None:
    """A part that is broken off or refused is sent again, and no other; each try is that of a new daemon."""

    async def story(folder: Path) -> None:
        async with sending_in(folder) as sending:
            sending.tus.reactions = list(reactions)
            tries = 0
            while True:
                tries += 1
                with contextlib.suppress(Unreachable, ServerFault, BadAnswer, BrokenOff):
                    await sending.upload()
                    break
            assert tries <= len(reactions) + 1
            broken = sum(1 for reaction in reactions if isinstance(reaction, int))
            assert sending.kept == [sending.path.read_bytes()]
            assert sending.tus.sent <= SIZE + broken * CHUNK

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(story(Path(folder)))
