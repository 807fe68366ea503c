"""The page's door on a real port: who comes in, what is refused, and what every answer forbids."""

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from controlled import House, controlled
from doorway import LIMIT_S, Browser, parsed
from walkkit import JumpClock

from splootd import protocol
from splootd.control import transport
from splootd.errors import RequestError
from splootd.page import door as page_door
from splootd.page import files
from splootd.page.door import Door, bound
from splootd.page.drop import PART
from splootd.page.session import Note


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with controlled(tmp_path) as house:
        yield house


@pytest_asyncio.fixture
async def browser(house: House) -> Browser:
    return await Browser.let_in(house.page)


async def at_door(house: House) -> Browser:
    """A browser that stands before the open door."""
    url = await house.page.address(reset=False)
    return Browser(int(url.partition("127.0.0.1:")[2].partition("/")[0]))


# Coming in.


async def test_there_is_no_door_before_somebody_wants_in(house: House):
    assert house.page.origin is None
    assert not (house.folder.parent / "page.json").exists()


async def test_an_address_lets_one_browser_in_once(house: House):
    url = await house.page.address(reset=False)
    browser = Browser(int(url.split(":")[2].partition("/")[0]))
    path = url.removeprefix(browser.origin)
    first, second = await browser.get(path), await browser.get(path)
    assert (first.status, first.headers["location"]) == (303, "/")
    assert second.status == 401
    assert b"sploot ui" in second.body
    assert "set-cookie" not in second.headers


async def test_who_only_asks_for_the_head_does_not_use_an_address_up(house: House):
    url = await house.page.address(reset=False)
    browser = await at_door(house)
    path = url.removeprefix(browser.origin)
    assert (await browser.ask("HEAD", path)).status == 401
    assert (await browser.get(path)).status == 303


async def test_an_address_is_good_for_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    clock = JumpClock()
    monkeypatch.setattr("controlled.Clock", lambda: clock)
    async with controlled(tmp_path) as house:
        url = await house.page.address(reset=False)
        browser = await at_door(house)
        clock.ahead_s = 61
        assert (await browser.get(url.removeprefix(browser.origin))).status == 401


async def test_without_a_cookie_there_is_nothing_but_a_hint(house: House):
    browser = await at_door(house)
    for path in ("/", "/static/app.js", "/v1/status", "/v1/events", "/v1/library", "/nowhere", "/enterx"):
        reply = await browser.get(path)
        assert (reply.status, reply.json["code"], reply.json["hint"]) == (401, "not_entered", "sploot ui"), path
        reply = await browser.get(path, Accept="text/html,*/*")
        assert (reply.status, b"sploot ui" in reply.body, b"<script" in reply.body) == (401, True, False)
    for cookie in ("", "sploot_page=1", f"sploot_page_{browser.port}=9999999999.00", "x" * 5_000):
        assert (await browser.get("/v1/status", Cookie=cookie)).status == 401


async def test_a_change_without_a_cookie_changes_nothing(house: House):
    browser = await at_door(house)
    assert (await browser.change("POST", "/v1/pause")).status == 401
    assert not house.parts.gate.paused


async def test_an_open_page_goes_on_after_a_restart(tmp_path: Path):
    async with controlled(tmp_path) as house:
        browser = await Browser.let_in(house.page)
    (tmp_path / "memes").rmdir()
    async with controlled(tmp_path) as house:
        await opened(house)
        assert house.page.origin == browser.origin
        assert (await browser.get("/v1/status")).status == 200


async def opened(house: House) -> None:
    """A door that was open before opens by itself; asking for an address waits for it."""
    await house.page.address(reset=False)


async def test_a_taken_port_is_given_up_for_another_one_where_the_cookie_is_not_good(tmp_path: Path):
    async with controlled(tmp_path) as house:
        browser = await Browser.let_in(house.page)
    (tmp_path / "memes").rmdir()
    with bound(browser.port, is_fixed=True):
        async with controlled(tmp_path) as house:
            await opened(house)
            elsewhere = await at_door(house)
            assert elsewhere.port != browser.port
            elsewhere.cookie = browser.cookie
            assert (await elsewhere.get("/v1/status")).status == 401


async def test_a_port_that_was_asked_for_and_is_taken_is_said_so(tmp_path: Path):
    with bound(0, is_fixed=False) as other:
        port = other.getsockname()[1]
        door = Door(tmp_path / "page.json", port=port, clock=JumpClock(), boot="b")
        with pytest.raises(RequestError, match="the page cannot be opened") as refusal:
            await door.address(reset=False)
        assert (refusal.value.code, refusal.value.hint) == ("no_page", "sploot config set page_port 0")
        assert door.origin is None
    assert (await door.address(reset=False)).startswith(f"http://127.0.0.1:{port}/enter?token=")
    assert door._listener is not None
    door._listener.close()


async def test_a_door_that_cannot_be_opened_does_not_stop_the_daemon(tmp_path: Path):
    Note(1, bytes(32)).write(tmp_path / "page.json")
    with bound(0, is_fixed=False) as other:
        door = Door(tmp_path / "page.json", port=other.getsockname()[1], clock=JumpClock(), boot="b")
        running = asyncio.ensure_future(door.run())
        with pytest.raises(RequestError):
            await door.address(reset=False)
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_reset_makes_every_browser_a_stranger(house: House, browser: Browser):
    reader, writer = await asyncio.open_connection("127.0.0.1", browser.port)
    head = f"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1:{browser.port}\r\nCookie: {browser.cookie}\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(LIMIT_S):
        assert b" 200 " in await reader.readline()
        early = await house.page.address(reset=False)
        url = await house.page.address(reset=True)
        await reader.read()  # what was listened to ends
    writer.close()
    assert (await browser.get("/v1/status")).status == 401
    assert (await browser.get(early.removeprefix(browser.origin))).status == 401
    assert (await browser.get(url.removeprefix(browser.origin))).status == 303


async def test_the_door_is_on_this_machine_alone(house: House, browser: Browser):
    assert house.page._listener is not None
    assert house.page._listener.getsockname()[0] == "127.0.0.1"
    assert stat.S_IMODE((house.folder.parent / "page.json").stat().st_mode) == 0o600


async def test_the_command_line_is_told_the_address(house: House):
    address = await house.ask(protocol.OpenPage(), protocol.PageAddress)
    browser = await at_door(house)
    assert (await browser.get(address.url.removeprefix(browser.origin))).status == 303


# Another user of this machine.


async def test_another_user_is_hung_up_on_unheard(browser: Browser, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(page_door, "loopback_peer_uid", lambda *_: os.getuid() + 1)
    assert await browser.raw(b"GET / HTTP/1.1\r\n\r\n") == b""
    monkeypatch.setattr(page_door, "loopback_peer_uid", lambda *_: None)
    assert (await browser.get("/v1/status")).status == 200, "where the system does not tell, the cookie does"


@pytest.mark.root
async def test_a_real_other_user_with_a_stolen_cookie_is_hung_up_on(browser: Browser):
    stolen = f"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1:{browser.port}\r\nCookie: {browser.cookie}\r\n\r\n"
    program = f"""
import os, socket
os.setgid(65534), os.setuid(65534)  # from here on nothing can be imported: the library may lie in a private home
with socket.socket() as s:
    s.connect(("127.0.0.1", {browser.port}))
    try:
        s.sendall({stolen.encode()!r})
        print(s.recv(100))
    except OSError:
        print(b"")
"""
    command = [sys.executable, "-c", program]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    assert done.stdout == "b''\n"
    assert (await browser.get("/v1/status")).status == 200


@pytest.mark.skipif(not transport.TCP_TABLE.exists(), reason="this system has no list of its connections")
def test_the_kernel_says_who_is_at_the_other_end():
    with bound(0, is_fixed=False) as listener:
        listener.setblocking(True)
        with socket.create_connection(listener.getsockname()) as theirs:
            ours, there = listener.accept()
            with ours:
                assert transport.loopback_peer_uid(there, ours.getsockname()) == os.getuid()
                assert transport.loopback_peer_uid(("127.0.0.1", 1), ours.getsockname()) is None
                theirs.close()
                assert transport.loopback_peer_uid(there, ours.getsockname()) == transport.NOBODY


def test_a_list_of_connections_that_cannot_be_read_tells_nothing(tmp_path: Path):
    ends = (("127.0.0.1", 1), ("127.0.0.1", 2))
    assert transport.loopback_peer_uid(*ends, tmp_path / "nowhere") is None
    row = " ".join(["0:", *(transport._listed(end).decode() for end in ends), "01", "x", "x", "x", "root"])
    for text in ("", "sl\n", "\n\n", row):
        (tmp_path / "tcp").write_text(text)
        assert transport.loopback_peer_uid(*ends, tmp_path / "tcp") is None
    (tmp_path / "tcp").write_text(row.replace("root", "1000"))
    assert transport.loopback_peer_uid(*ends, tmp_path / "tcp") == 1000


# Who asks, and for whom.


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", ""]
)
async def test_a_name_that_is_pointed_at_this_machine_is_not_ours(browser: Browser, host: str):
    reply = await browser.get("/v1/status", Host=host.format(port=browser.port))
    assert (reply.status, reply.json["code"]) == (421, "misdirected")


async def test_two_hosts_or_none_are_not_ours(browser: Browser):
    host = f"Host: 127.0.0.1:{browser.port}\r\n"
    for hosts in (host + "Host: evil.example\r\n", host + host, ""):
        lines = f"GET /v1/status HTTP/1.1\r\n{hosts}Cookie: {browser.cookie}\r\nConnection: close\r\n\r\n"
        assert parsed(await browser.raw(lines.encode())).status in (400, 421)


async def test_localhost_is_this_machine_too(browser: Browser):
    host = f"localhost:{browser.port}"
    assert (await browser.get("/v1/status", Host=host, Origin=f"http://{host}")).status == 200


@pytest.mark.parametrize(
    "origin",
    ["null", "http://evil.example", "https://127.0.0.1:{port}", "http://127.0.0.1:1", "http://localhost:{port}", ""],
)
async def test_other_pages_are_refused_whatever_they_want(house: House, browser: Browser, origin: str):
    told = {"Origin": origin.format(port=browser.port)}
    assert (await browser.get("/v1/status", **told)).json["code"] == "origin"
    assert (await browser.get("/enter?token=x", **told)).json["code"] == "origin"
    assert (await browser.change("POST", "/v1/pause", **told)).json["code"] == "origin"
    assert not house.parts.gate.paused


@pytest.mark.parametrize("site", ["cross-site", "same-site", "sideways", ""])
async def test_requests_that_another_site_caused_are_refused(browser: Browser, site: str):
    assert (await browser.get("/v1/status", Sec_Fetch_Site=site)).status == 403
    assert (await browser.get("/", Sec_Fetch_Site=site)).status == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
async def test_requests_of_the_page_and_of_the_user_are_answered(browser: Browser, site: str):
    assert (await browser.get("/v1/status", Sec_Fetch_Site=site)).status == 200


async def test_a_change_needs_the_header_and_an_origin(house: House, browser: Browser):
    for headers in (
        {"Origin": browser.origin},
        {"X_Sploot_Page": "1"},
        {"Origin": browser.origin, "X_Sploot_Page": "2"},
    ):
        reply = await browser.ask("POST", "/v1/pause", b"{}", **headers)
        assert (reply.status, reply.json["code"]) == (403, "no_header")
    assert not house.parts.gate.paused
    assert (await browser.change("POST", "/v1/pause")).status == 200
    assert house.parts.gate.paused


async def test_no_other_origin_is_ever_given_permission(browser: Browser):
    replies = [
        await browser.get("/v1/status"),
        await browser.ask("OPTIONS", "/v1/pause", Origin="http://evil.example", Access_Control_Request_Method="POST"),
        await browser.ask("OPTIONS", "/v1/pause", Origin=browser.origin, X_Sploot_Page="1"),
    ]
    assert [reply.status for reply in replies] == [200, 403, 405]
    assert not [name for reply in replies for name in reply.headers if name.startswith("access-control")]


async def test_every_answer_is_fenced_in(browser: Browser):
    answers = [
        await browser.get(path, **headers)
        for path, headers in (
            ("/v1/status", {}),
            ("/v1/nowhere", {}),
            ("/", {}),
            ("/static/nowhere.js", {}),
            ("/enter", {}),
            ("/v1/status", {"Host": "evil.example"}),
            ("/v1/status", {"Cookie": ""}),
        )
    ]
    for reply in answers:
        policy = reply.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "frame-ancestors 'none'" in policy
        assert not {"unsafe-inline", "unsafe-eval", "http:", "https:", "*"} & set(policy.replace("'", "").split())
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cross-origin-opener-policy"] == "same-origin"
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"
        assert reply.headers["cache-control"] in ("no-store", "no-cache")
        assert reply.headers["sploot-boot-id"] == "boot-1"


# What is behind it.


async def test_the_same_requests_have_the_same_answers_as_on_the_socket(house: House, browser: Browser):
    (house.folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nx")
    added = await browser.change("POST", "/v1/add", {"paths": [str(house.folder / "a.png")]}, Idempotency_Key="k")
    assert added.json["counts"] == {"queued": 1}
    again = await browser.change("POST", "/v1/add", {"paths": [str(house.folder / "a.png")]}, Idempotency_Key="k")
    assert again.json == added.json
    items = (await browser.get("/v1/items")).json["items"]
    assert items == (await house.http("GET", "/v1/items"))[2]["items"]
    reply = await browser.get("/v1/items?state=failed")
    assert (reply.status, reply.json["code"]) == (400, "bad_state")


async def test_a_page_cannot_end_the_daemon_sign_in_or_write_files(house: House, browser: Browser):
    hidden = {"/v1/shutdown", "/v1/login", "/v1/logout", "/v1/backup", "/v1/ui", "/v1/metrics"}
    assert {kind.path for kind in protocol.REQUESTS} - {kind.path for kind in page_door.REQUESTS} == hidden
    for path in hidden:
        assert (await browser.change("POST", path)).status == 404
    assert not house.shutdowns


async def test_the_files_of_the_page_and_no_others_are_served(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    static = tmp_path / "static"
    static.mkdir()
    (static / "index.html").write_text("<!doctype html>")
    (static / "app.js").write_text("1")
    (static / "secret.txt").write_text("no")
    (static / "below.js").mkdir()
    (tmp_path / "outside.js").write_text("no")
    monkeypatch.setattr(files, "STATIC", static)
    index, script = await browser.get("/"), await browser.get("/static/app.js")
    assert (index.status, index.headers["content-type"], index.body) == (
        200,
        "text/html; charset=utf-8",
        b"<!doctype html>",
    )
    assert index.headers["set-cookie"].startswith(f"sploot_page_{browser.port}=")
    assert (script.headers["content-type"], script.body) == ("text/javascript; charset=utf-8", b"1")
    known = await browser.get("/static/app.js", If_None_Match=script.headers["etag"])
    assert (known.status, known.body) == (304, b"")
    (static / "app.js").write_text("2")
    assert (await browser.get("/static/app.js", If_None_Match=script.headers["etag"])).body == b"2"
    for name in (
        "secret.txt",
        "below.js",
        "..%2Foutside.js",
        "../outside.js",
        "%2e%2e/outside.js",
        ".js",
        "APP.js",
        "a%00.js",
        "",
    ):
        assert (await browser.get(f"/static/{name}")).status == 404, name


async def test_figures_are_pushed_to_those_who_watch(house: House, browser: Browser):
    reader, writer = await asyncio.open_connection("127.0.0.1", browser.port)
    head = f"Host: 127.0.0.1:{browser.port}\r\nCookie: {browser.cookie}\r\n\r\n"
    writer.write(f"GET /v1/events?now=true&numbers=true HTTP/1.1\r\n{head}".encode())
    seen: dict[str, dict[str, object]] = {}
    async with asyncio.timeout(LIMIT_S):
        while not {"start", "now", "numbers"} <= seen.keys():
            line = (await reader.readline()).decode()
            if line.startswith("event: "):
                seen[line[7:].strip()] = json.loads((await reader.readline())[6:])
        await house.add("a.png")
        while seen["now"]["items"]["total"] != 1:  # type: ignore[index]  # an object in an object
            line = (await reader.readline()).decode()
            if line.startswith("event: "):
                seen[line[7:].strip()] = json.loads((await reader.readline())[6:])
    writer.close()
    assert seen["now"]["daemon"]["state"] == "running"  # type: ignore[index]  # as above
    assert {"at", "rates", "calls", "memory", "errors", "uploads"} <= seen["numbers"].keys()


# Bounds.


async def test_a_head_without_end_is_cut_off(browser: Browser):
    endless = b"GET / HTTP/1.1\r\nX: " + b"x" * (transport.HEAD_BYTES_MAX + 1_000)
    assert parsed(await browser.raw(endless)).status == 431


async def test_what_does_not_come_is_not_waited_for(browser: Browser, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transport, "ARRIVAL_S", 0.05)
    assert await browser.raw(b"GET / HTTP/1.1\r\n") == b""


async def test_a_body_may_take_its_time_while_it_keeps_coming(house: House, browser: Browser):
    picture = b"\x89PNG\r\n\x1a\n" + b"x" * 20
    reader, writer = await asyncio.open_connection("127.0.0.1", browser.port)
    writer.write(
        f"PUT /v1/drop?name=slow.png HTTP/1.1\r\nHost: 127.0.0.1:{browser.port}\r\nCookie: {browser.cookie}\r\n"
        f"Origin: {browser.origin}\r\nX-Sploot-Page: 1\r\nConnection: close\r\n"
        f"Content-Length: {len(picture)}\r\n\r\n".encode()
    )
    assert house.page._server is not None
    connections = house.page._server.server_state.connections

    def deadline() -> float:
        return max((each._deadline.when() for each in connections if each._deadline), default=0.0)

    before = 0.0
    async with asyncio.timeout(LIMIT_S):
        for byte in picture[:-1]:
            writer.write(bytes([byte]))
            while deadline() <= before:  # noqa: ASYNC110 - a deadline that is put off rings no bell
                await asyncio.sleep(0)
            before = deadline()
        writer.write(picture[-1:])
        assert parsed(await reader.read()).json["outcome"] == "queued"
    writer.close()


async def test_a_body_that_stops_coming_is_hung_up_on_and_leaves_nothing(
    house: House, browser: Browser, monkeypatch: pytest.MonkeyPatch
):
    head = (
        f"PUT /v1/drop?name=half.png HTTP/1.1\r\nHost: 127.0.0.1:{browser.port}\r\nCookie: {browser.cookie}\r\n"
        f"Origin: {browser.origin}\r\nX-Sploot-Page: 1\r\nContent-Length: 100\r\n\r\n\x89PNG"
    )
    dropped = house.folder.parent / "dropped"
    reader, writer = await asyncio.open_connection("127.0.0.1", browser.port)
    async with asyncio.timeout(LIMIT_S):
        writer.write(head.encode("latin-1"))
        while not list(dropped.glob(f"{PART}*")):  # noqa: ASYNC110 - a folder rings no bell
            await asyncio.sleep(0)
        monkeypatch.setattr(transport, "ARRIVAL_S", 0.05)
        writer.write(b"\r")  # the last that comes
        assert await reader.read() == b""
        while [each for each in dropped.iterdir() if each.name != ".sent"]:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
    writer.close()


async def test_too_many_connections_are_refused(browser: Browser, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transport, "CONNECTIONS_MAX", 3)
    idle = [await asyncio.open_connection("127.0.0.1", browser.port) for _ in range(3)]
    assert (await browser.get("/v1/status")).status == 503
    for _, writer in idle:
        writer.close()


async def test_what_is_refused_is_not_read_to_its_end(browser: Browser):
    """A stranger's upload ends with the answer: the connection is closed, not drained."""
    head = f"PUT /v1/drop?name=a HTTP/1.1\r\nHost: 127.0.0.1:{browser.port}\r\nContent-Length: 100000000000\r\n\r\n"
    assert parsed(await browser.raw(head.encode())).status == 401


def test_a_port_in_use_is_never_shared():
    with bound(0, is_fixed=False) as one:
        port = one.getsockname()[1]
        with bound(port, is_fixed=False) as other:
            assert other.getsockname()[1] != port
        with pytest.raises(OSError, match="in use"):
            bound(port, is_fixed=True)
    with bound(port, is_fixed=True) as again, socket.create_connection(("127.0.0.1", port)):
        assert again.getsockname()[1] == port
    assert replace(Note(1, b"x"), port=2).port == 2
