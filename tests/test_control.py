"""The control API over a real socket, on a real store. Only the server and the clock's pace are not real."""

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sploot.client import Client, Connection

from splootd import __version__, control, transport
from splootd.bus import Bells, Bus
from splootd.clock import Clock
from splootd.config import Config
from splootd.control import Control, bind
from splootd.core.failure import Fault
from splootd.core.item import State
from splootd.credentials import Credentials
from splootd.errors import RequestError, SignedOut
from splootd.gate import Gate
from splootd.metrics import Traffic
from splootd.parts import Parts
from splootd.protocol import (
    API,
    Add,
    Added,
    Bump,
    Changed,
    Done,
    Folders,
    Forget,
    GetEvents,
    GetFolders,
    GetProgress,
    GetStatus,
    Hits,
    Items,
    ListItems,
    Login,
    Logout,
    Pause,
    Progress,
    RemoveFolder,
    Request,
    Resume,
    Retry,
    Search,
    Shutdown,
    Status,
    Story,
    Why,
)
from splootd.remote.api import Match
from splootd.store.arrivals import Arrivals
from splootd.store.database import Database
from splootd.store.ledger import server_id
from splootd.store.listing import Listing
from splootd.store.queue import Queue
from splootd.work.intake import Intake
from splootd.work.watcher import Watcher

LIMIT_S = 20
PNG = b"\x89PNG\r\n\x1a\n"


class Library:
    """A server that answers one search."""

    def __init__(self) -> None:
        self.matches: list[Match] = []
        self.error: Exception | None = None

    async def search(self, text: str, limit: int) -> list[Match]:
        if self.error:
            raise self.error
        return self.matches[:limit]


@dataclass
class House:
    """A control API that runs, and its parts."""

    path: Path
    folder: Path
    parts: Parts
    control: Control
    library: Library
    shutdowns: list[str] = field(default_factory=list)

    async def ask(self, request: Request, reply: type[Any]) -> Any:
        def ask() -> Any:
            client = Client(lambda: Connection(self.path), print)
            try:
                return client.ask(request, reply)
            finally:
                client.close()

        return await asyncio.to_thread(ask)

    async def raw(self, message: bytes) -> bytes:
        """Whatever comes back for `message`, until the other end hangs up."""
        reader, writer = await asyncio.open_unix_connection(self.path)
        async with asyncio.timeout(LIMIT_S):
            writer.write(message)
            try:
                return await reader.read()
            except ConnectionResetError:
                return b""
            finally:
                writer.close()

    async def http(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], Any]:
        """One request, however wrong: status, headers, JSON."""
        lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return parse(await self.raw("\r\n".join([*lines, "", ""]).encode() + body))

    async def add(self, *names: str) -> Added:
        for name in names:
            (self.folder / name).write_bytes(PNG + name.encode())
        return await self.ask(Add(tuple(str(self.folder / name) for name in names)), Added)


def parse(answer: bytes) -> tuple[int, dict[str, str], Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), headers, json.loads(body)


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    folder = tmp_path / "memes"
    folder.mkdir()
    clock, bells, config, library = Clock(), Bells(), Config(settle_s=0.0), Library()
    database = await Database.open(tmp_path / "queue.db")
    row = await server_id(database, config.server)
    credentials = Credentials(tmp_path / "token", clock)
    arrivals = Arrivals(database, server_id=row, bells=bells)
    intake = Intake(arrivals, clock, settle_s=0.0)
    shutdowns: list[str] = []
    parts = Parts(
        boot="boot-1",
        config=config,
        clock=clock,
        bells=bells,
        bus=Bus(),
        listing=Listing(database, server_id=row),
        queue=Queue(database, server_id=row, boot="boot-1", bells=bells),
        arrivals=arrivals,
        intake=intake,
        watcher=Watcher(arrivals, intake, clock, config),
        server=library,  # type: ignore[arg-type]  # the part of it that is asked
        gate=Gate(clock, credentials),
        traffic=Traffic(clock),
        credentials=credentials,
        shutdown=lambda: shutdowns.append("now"),
    )
    path = tmp_path / "run" / "splootd.sock"
    it = Control(bind(path), parts)
    running = [asyncio.create_task(it.run()), asyncio.create_task(intake.run())]
    yield House(path, folder, parts, it, library, shutdowns)
    it.close()
    running[1].cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await database.close()


# Who may come in, and with how much.


async def test_the_socket_is_the_users_alone(house: House):
    assert stat.S_IMODE(house.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(house.path.parent.stat().st_mode) == 0o700


async def test_a_stale_socket_is_replaced(tmp_path: Path):
    path = tmp_path / "run" / "splootd.sock"
    bind(path).close()
    assert path.exists()
    listener = bind(path)
    Connection(path).close()
    listener.close()


async def test_a_foreign_user_is_hung_up_on_unheard(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transport, "peer_uid", lambda _: os.getuid() + 1)
    assert await house.raw(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n") == b""


async def test_the_kernel_says_who_is_there(house: House):
    here, there = socket.socketpair(socket.AF_UNIX)
    assert transport.peer_uid(here) == os.getuid()
    here.close()
    there.close()


@pytest.mark.root
async def test_a_real_foreign_user_is_hung_up_on_unheard(house: House):
    for place in (house.path, *house.path.parents[:4]):
        place.chmod(0o777)
    program = f"""
import os, socket
os.setgid(65534), os.setuid(65534)
s = socket.socket(socket.AF_UNIX); s.connect({str(house.path)!r})
try:
    s.sendall(b"GET /v1/status HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"); print(s.recv(100))
except OSError as error:
    print(b"")
"""
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True, timeout=LIMIT_S, check=True
    )
    assert done.stdout == "b''\n"


async def test_web_pages_are_refused(house: House):
    status, _, problem = await house.http("GET", "/v1/status", Origin="http://evil.example")
    assert (status, problem["code"]) == (403, "origin")
    status, _, problem = await house.http("POST", "/v1/pause", Origin="null")
    assert (status, problem["code"]) == (403, "origin")
    assert not house.parts.gate.paused


async def test_every_reply_says_who_answers(house: House):
    for method, path in (("GET", "/v1/status"), ("GET", "/nowhere"), ("POST", "/v1/status"), ("GET", "/v1/why")):
        _, headers, _ = await house.http(method, path)
        said = [headers[name] for name in ("sploot-version", "sploot-api", "sploot-boot-id")]
        assert said == [__version__, API, "boot-1"]


@pytest.mark.parametrize(
    ("asked", "body", "status", "code"),
    [
        ("GET /nowhere", b"", 404, "no_such_address"),
        ("GET /v1/status/", b"", 404, "no_such_address"),
        ("DELETE /v1/status", b"", 405, "wrong_method"),
        ("GET /v1/why", b"", 400, "malformed"),
        ("GET /v1/items?limit=many", b"", 400, "malformed"),
        ("GET /v1/items?before=99999999999999999999", b"", 400, "malformed"),
        ("GET /v1/items?state=failed", b"", 400, "bad_state"),
        ("GET /v1/items?reason=bad_luck", b"", 400, "bad_reason"),
        ("GET /v1/items?folder=/nowhere", b"", 404, "not_found"),
        ("GET /v1/why?target=99", b"", 404, "not_found"),
        ("GET /v1/why?target=%2Fnowhere", b"", 404, "not_found"),
        ("GET /v1/why?target=rel.png", b"", 400, "bad_target"),
        ("POST /v1/add", b"{", 400, "malformed"),
        ("POST /v1/add", b"[]", 400, "malformed"),
        ("POST /v1/add", b"[" * 100_000, 400, "malformed"),
        ("POST /v1/add", b"\xff\xfe", 400, "malformed"),
        ("POST /v1/add", b'{"paths": ["rel.png"]}', 400, "bad_path"),
        ("POST /v1/add", b'{"paths": ["/a\\u0000b"]}', 400, "bad_path"),
        ("POST /v1/add", b'{"paths": [], "priority": "soon"}', 400, "bad_priority"),
        ("POST /v1/add", json.dumps({"paths": ["/x"] * 1001}).encode(), 400, "too_many"),
        ("POST /v1/retry", b"{}", 400, "nothing_named"),
        ("POST /v1/forget", b'{"targets": ["rel.png"]}', 400, "bad_target"),
        ("POST /v1/folders/remove", b'{"folder": "/nowhere"}', 404, "not_found"),
        ("POST /v1/login", b"{}", 400, "no_token"),
    ],
)
async def test_every_mistake_is_a_problem_with_a_code(house: House, asked: str, body: bytes, status: int, code: str):
    got, headers, problem = await house.http(*asked.split(" "), body)
    assert (got, problem["code"], problem["status"]) == (status, code, status)
    assert problem["title"]
    assert headers["content-type"] == "application/problem+json"


async def test_what_is_not_http_is_told_so(house: House):
    status, headers, problem = parse(await house.raw(b"hello there\r\n\r\n"))
    assert (status, problem["code"]) == (400, "not_http")
    assert headers["sploot-version"] == __version__


async def test_a_head_without_end_is_cut_off(house: House):
    endless = b"GET /v1/status HTTP/1.1\r\nX: " + b"x" * (transport.HEAD_BYTES_MAX + 1000)
    status, _, problem = parse(await house.raw(endless))
    assert (status, problem["code"]) == (431, "head_too_large")


async def test_a_body_too_large_is_refused_before_it_is_read(house: House, monkeypatch: pytest.MonkeyPatch):
    head = b"POST /v1/add HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 16000001\r\n\r\n"
    status, _, problem = parse(await house.raw(head))
    assert (status, problem["code"]) == (413, "too_large")


async def test_a_body_that_does_not_say_how_long_it_is_is_bounded_too(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(control, "BODY_BYTES_MAX", 1000)
    head = b"POST /v1/add HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
    status, _, problem = parse(await house.raw(head + chunk + b"0\r\n\r\n"))
    assert (status, problem["code"]) == (413, "too_large")


async def test_a_request_that_never_arrives_is_given_up(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transport, "ARRIVAL_S", 0.01)
    assert await house.raw(b"GET /v1/status HTT") == b""
    assert await house.raw(b"POST /v1/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{") == b""


async def test_more_connections_than_allowed_are_refused(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transport, "CONNECTIONS_MAX", 0)
    status, _, problem = parse(await house.raw(b""))
    assert (status, problem["code"]) == (503, "busy")


async def test_a_fault_of_the_daemon_is_said_without_a_trace(house: House, monkeypatch: pytest.MonkeyPatch):
    async def broken() -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(house.parts.listing, "counts", broken)
    status, _, problem = await house.http("GET", "/v1/status")
    assert (status, problem["code"]) == (500, "internal")
    assert "secret" not in json.dumps(problem)


# What is answered.


async def test_the_status_has_the_agreed_shape_and_adds_up(house: House):
    await house.add("a.png", "b.png")
    status, _, body = await house.http("GET", "/v1/status")
    assert status == 200
    states = [state.value for state in State]
    assert list(body) == [
        "daemon",
        "server",
        "items",
        "ready_of_which_duplicates",
        "pending_of_which_delayed",
        "rates",
        "folders",
        "needs_you",
    ]
    assert set(body["items"]) == {"total", *states}
    assert body["items"]["total"] == 2 == sum(body["items"][state] for state in states)
    assert body["daemon"]["pid"] == os.getpid()
    assert body["daemon"]["state"] == "running"
    assert body["daemon"]["rss_bytes"] > 1_000_000
    assert body["server"] == {
        "url": "local",
        "embedded": True,
        "state": "ok",
        "breaker": "closed",
        "push": "polling",
        "retry_at": None,
        "detail": None,
    }
    assert body["rates"] == {"items_per_s": 0.0, "bytes_per_s": 0.0, "eta_s": None}


async def test_an_added_file_is_listed_and_has_a_story(house: House):
    added = await house.add("a.png")
    (row,) = (await house.ask(ListItems(), Items)).items
    assert (row.path, row.state, row.size) == (str(house.folder / "a.png"), "pending", 13)
    story = await house.ask(Why(str(house.folder / "a.png")), Story)
    assert story == await house.ask(Why(str(row.id)), Story)
    assert story.next == "It waits for its turn."
    assert story.item == row
    assert added.counts["queued"] == 1


async def test_a_story_is_found_over_a_link(house: House, tmp_path: Path):
    await house.add("a.png")
    (tmp_path / "link").symlink_to(house.folder)
    assert (await house.ask(Why(f"{tmp_path}/link/a.png"), Story)).item.path == str(house.folder / "a.png")


async def test_a_name_that_is_not_utf8_comes_through(house: House):
    name = os.fsdecode(b"caf\xe9\n.png")
    (house.folder / name).write_bytes(PNG)
    await house.ask(Add((str(house.folder / name),)), Added)
    (row,) = (await house.ask(ListItems(), Items)).items
    assert row.path == str(house.folder / name)
    assert (await house.ask(Why(row.path), Story)).item.id == row.id


async def test_pages_follow_each_other_without_gap_or_overlap(house: House):
    await house.add(*(f"{number}.png" for number in range(5)))
    seen: list[int] = []
    before: int | None = None
    while True:
        page = await house.ask(ListItems(limit=2, before=before), Items)
        seen += [row.id for row in page.items]
        before = page.before
        if before is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 5


async def test_the_same_key_twice_is_one_change_and_the_same_answer(house: House):
    (house.folder / "a.png").write_bytes(PNG)
    body = json.dumps({"paths": [str(house.folder / "a.png")]}).encode()
    first = await house.http("POST", "/v1/add", body, Idempotency_Key="k1")
    again = await house.http("POST", "/v1/add", body, Idempotency_Key="k1")
    assert first[2] == again[2]
    assert first[2]["counts"] == {"queued": 1}
    other = await house.http("POST", "/v1/add", body, Idempotency_Key="k2")
    assert other[2]["counts"] == {"known": 1}


async def test_the_same_key_at_the_same_time_is_one_change_too(house: House):
    (house.folder / "a.png").write_bytes(PNG)
    body = json.dumps({"paths": [str(house.folder / "a.png")]}).encode()
    answers = await asyncio.gather(*(house.http("POST", "/v1/add", body, Idempotency_Key="k") for _ in range(5)))
    assert [answer[2]["counts"] for answer in answers] == [{"queued": 1}] * 5


async def test_a_key_belongs_to_its_request(house: House):
    assert (await house.http("POST", "/v1/pause", Idempotency_Key="k"))[0] == 200
    assert (await house.http("POST", "/v1/resume", Idempotency_Key="k"))[0] == 200
    assert not house.parts.gate.paused


async def test_a_refused_change_may_be_tried_again_under_its_key(house: House):
    assert (await house.http("POST", "/v1/login", b"{}", Idempotency_Key="k"))[0] == 400
    assert (await house.http("POST", "/v1/login", b'{"token": "t"}', Idempotency_Key="k"))[0] == 200


async def test_a_pause_holds_and_is_kept(house: House):
    await house.ask(Pause(), Done)
    assert house.parts.gate.paused
    assert await house.parts.listing.setting("paused")
    assert (await house.ask(GetStatus(), Status)).daemon.state == "paused"
    await house.add("a.png")
    assert "sploot resume" in (await house.ask(Why(str(house.folder / "a.png")), Story)).next
    await house.ask(Resume(), Done)
    assert not house.parts.gate.paused
    assert not await house.parts.listing.setting("paused")


async def test_forget_retry_and_bump_say_what_they_changed_and_what_is_not_there(house: House):
    await house.add("a.png", "b.png")
    a, b = (str(house.folder / name) for name in ("a.png", "b.png"))
    forgotten = await house.ask(Forget((a, "99", "/nowhere")), Changed)
    assert forgotten.not_found == ("99", "/nowhere")
    assert (await house.ask(Why(a), Story)).item.state == "skipped"
    assert (await house.ask(Retry(forgotten.ids), Changed)).ids == forgotten.ids
    assert (await house.ask(Why(a), Story)).item.priority == "urgent"
    assert len((await house.ask(Bump((b,)), Changed)).ids) == 1
    assert (await house.ask(Retry((99,)), Changed)) == Changed((), ("99",))


async def bury(house: House) -> int:
    """Send the one item that waits to the dead letters."""
    now = house.parts.clock.now()
    leased = [await house.parts.queue.claim(shard, now=now, chance=0.0) for shard in range(16)]
    (one,) = [each for each in leased if each is not None]
    assert await house.parts.queue.bury(one, fault=Fault.TOO_LARGE, reason="it is too large", now=now)
    return one.item.id


async def test_a_dead_letter_needs_the_user_and_comes_back(house: House):
    await house.add("a.png")
    item = await bury(house)
    (need,) = (await house.ask(GetStatus(), Status)).needs_you
    assert (need.count, need.command) == (1, "sploot failed")
    (row,) = (await house.ask(ListItems(state="dead", reason="too_large"), Items)).items
    assert (row.id, row.reason) == (item, "it is too large")
    story = await house.ask(Why(str(item)), Story)
    assert [(each.fault, each.verdict) for each in story.attempts] == [("too_large", "bury")]
    assert f"sploot retry {item}" in story.next
    assert (await house.ask(Retry(reason="too_large"), Changed)).ids == (item,)
    assert (await house.ask(GetStatus(), Status)).needs_you == ()


async def test_watched_folders_are_shown_and_can_be_let_go(house: House):
    await house.ask(Add((str(house.folder),)), Added)
    (row,) = (await house.ask(GetFolders(), Folders)).folders
    assert row.path == str(house.folder)
    await house.ask(RemoveFolder(str(house.folder)), Done)
    assert (await house.ask(GetFolders(), Folders)).folders == ()


async def test_a_match_knows_its_file(house: House):
    await house.add("a.png")
    now = house.parts.clock.now()
    leased = [await house.parts.queue.claim(shard, now=now, chance=0.0) for shard in range(16)]
    (one,) = [each for each in leased if each is not None]
    assert await house.parts.queue.accept(one, asset_id="A", sha256=b"1" * 32, duplicate=False, embedded=True, now=now)
    house.library.matches = [Match("A", 0.9, "http://x/A", "cat"), Match("B", None, "http://x/B", None)]
    hits = await house.ask(Search("cat"), Hits)
    assert [(hit.asset_id, hit.path, hit.score) for hit in hits.hits] == [
        ("A", str(house.folder / "a.png"), 0.9),
        ("B", None, None),
    ]
    assert hits.note is None


async def test_a_search_while_memes_are_on_their_way_says_so(house: House):
    await house.add("a.png")
    assert "1 more" in ((await house.ask(Search("cat"), Hits)).note or "")


async def test_an_error_of_the_server_keeps_its_code(house: House):
    house.library.error = SignedOut("the server does not know you", "sploot login")
    with pytest.raises(RequestError) as caught:
        await house.ask(Search("cat"), Hits)
    assert (caught.value.code, caught.value.hint) == ("signed_out", "sploot login")


async def test_a_token_is_kept_and_forgotten(house: House):
    await house.ask(Login(token="t-1"), Done)
    assert await house.parts.credentials.token() == "t-1"
    await house.ask(Logout(), Done)
    assert await house.parts.credentials.token() is None


async def test_shutdown_begins_the_end(house: House):
    await house.ask(Shutdown(), Done)
    assert house.shutdowns == ["now"]
    assert (await house.ask(GetStatus(), Status)).daemon.state == "draining"


# What streams.


class Stream:
    """Server-sent events as they come. The sizes of chunks between them look like fields without meaning."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def next(self) -> tuple[str, dict[str, Any], int | None]:
        async with asyncio.timeout(LIMIT_S):
            while True:
                fields: dict[str, str] = {}
                while line := (await self._reader.readline()).decode().rstrip("\r\n"):
                    name, _, value = line.partition(": ")
                    fields[name] = value
                if "data" in fields:
                    number = int(fields["id"]) if "id" in fields else None
                    return fields["event"], json.loads(fields["data"]), number

    async def rest(self) -> bytes:
        async with asyncio.timeout(LIMIT_S):
            return await self._reader.read()

    def close(self) -> None:
        self._writer.close()


async def stream(house: House, path: str, *headers: str) -> Stream:
    reader, writer = await asyncio.open_unix_connection(house.path)
    lines = [f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
    writer.write("\r\n".join(lines).encode())
    async with asyncio.timeout(LIMIT_S):
        assert b" 200 " in await reader.readline()
        while (await reader.readline()).strip():
            pass
    return Stream(reader, writer)


async def test_news_come_as_they_are_committed(house: House):
    news = await stream(house, "/v1/events")
    assert (await news.next())[0] == "start"
    await house.add("a.png")
    kind, data, number = await news.next()
    assert (kind, data["state"], data["path"]) == ("item", "pending", str(house.folder / "a.png"))
    assert number == data["seq"]
    news.close()


@pytest.mark.parametrize("by_header", [True, False])
async def test_news_resume_without_a_gap_after_the_last_that_was_seen(house: House, by_header: bool):
    await house.add("a.png", "b.png", "c.png")
    cursor = (await house.parts.listing.events(since=0, limit=1))[0].seq
    if by_header:
        news = await stream(house, "/v1/events", f"Last-Event-ID: {cursor}")
    else:
        news = await stream(house, f"/v1/events?since={cursor}")
    assert (await news.next())[0] == "start"
    missed = [(await news.next())[2] for _ in range(2)]
    assert missed == [cursor + 1, cursor + 2]
    await house.add("d.png")
    assert (await news.next())[2] == cursor + 3
    news.close()


async def test_a_cursor_that_is_too_old_is_told_so(house: House):
    await house.add("a.png")
    news = await stream(house, "/v1/events?since=999999")
    kind, data, number = await news.next()
    assert kind == "fresh"
    assert number == data["newest"] == await house.parts.listing.newest_event()
    news.close()


async def test_a_slow_reader_is_told_how_much_it_lost(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("splootd.bus.LISTENER_NEWS_MAX", 2)
    news = house.control.answers.news.events(None)
    assert b"event: start" in await anext(news)
    house.parts.bus.publish({"seq": 1_000_001})
    for number in range(5):
        house.parts.bus.publish({"seq": 1_000_002 + number})
    assert b'event: lost\ndata: {"count": 4}' in await anext(news)
    await news.aclose()


async def test_silence_is_broken_by_a_sign_of_life(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("splootd.stream.HEARTBEAT_S", 0.01)
    news = house.control.answers.news.events(None)
    await anext(news)
    assert (await anext(news)).startswith(b":")
    await news.aclose()


async def test_the_progress_of_an_add_streams_until_it_has_ended(house: House):
    added = await house.add("a.png", "b.png")
    progress = await stream(house, f"/v1/progress?add={added.add}&follow=true")
    _, data, _ = await progress.next()
    assert (data["total"], data["states"]["pending"], data["ended"]) == (2, 2, False)
    assert sum(data["states"].values()) == data["total"]
    now = house.parts.clock.now()
    ids = [row.id for row in (await house.ask(ListItems(), Items)).items]
    await house.parts.queue.forget(ids, now=now)
    while not data["ended"]:
        _, data, _ = await progress.next()
    assert data["states"]["skipped"] == 2
    assert b"data:" not in await progress.rest()


async def test_the_progress_is_also_told_once(house: House):
    added = await house.add("a.png")
    progress = await house.ask(GetProgress(added.add), Progress)
    assert (progress.total, progress.bytes_total, progress.ended) == (1, 13, False)


async def test_streams_end_when_the_daemon_does(house: House):
    added = await house.add("a.png")
    news = await stream(house, "/v1/events")
    progress = await stream(house, f"/v1/progress?add={added.add}&follow=true")
    await news.next()
    await progress.next()
    house.control.close()
    assert b"event: lost" not in await news.rest()
    await progress.rest()


def test_the_client_reads_a_stream_whose_pieces_are_torn(tmp_path: Path):
    """A chunk may arrive in any number of pieces, and an event may be spread over chunks."""
    listener = bind(tmp_path / "s.sock")
    connection = Connection(tmp_path / "s.sock")
    listener.setblocking(True)
    peer, _ = listener.accept()
    body = b'event: item\ndata: {"seq": 1}\n\n: life\n\nevent: item\ndata: {"seq": 2}\n\n'
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:13], body[13:40], body[40:]))
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    peer.sendall(answer[:60])
    assert connection.send(GetEvents(), "").status == 200
    events = connection.events(lambda: 0.0)
    got: list[Any] = []
    for number in range(60, len(answer), 7):
        got.append(next(events))
        peer.sendall(answer[number : number + 7])
    got += list(events)
    seen: Sequence[Any] = [event for event in got if event is not None]
    assert seen == [("item", {"seq": 1}), ("item", {"seq": 2})]
    for each in (peer, listener):
        each.close()
    connection.close()
