"""The web UI server on a real port: sessions, request checks, headers and limits."""

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
import sploot_web
from control_fixtures import ControlApi, serve_control_api
from http_probe import LIMIT_S, Browser, parse_response, sends_at_once
from pipeline_fixtures import JumpClock

from splootd import protocol
from splootd.control import http_limits
from splootd.errors import RequestError
from splootd.web import server as web_server
from splootd.web.browser_upload import PART_PREFIX
from splootd.web.server import WebServer, bind_port
from splootd.web.session import SessionState


@pytest_asyncio.fixture
async def control_api(tmp_path: Path) -> AsyncIterator[ControlApi]:
    async with serve_control_api(tmp_path) as control_api:
        yield control_api


@pytest_asyncio.fixture
async def browser(control_api: ControlApi) -> Browser:
    return await Browser.sign_in(control_api.web_ui)


async def unauthenticated_browser(control_api: ControlApi) -> Browser:
    """Open the web UI and return a browser without a session."""
    url = await control_api.web_ui.create_login_url(reset=False)
    return Browser(int(url.partition("127.0.0.1:")[2].partition("/")[0]))


# Login.


async def test_no_port_is_open_before_the_first_use(control_api: ControlApi):
    assert control_api.web_ui.origin is None
    assert not (control_api.folder.parent / "web-ui.json").exists()


async def test_a_login_url_is_valid_once(control_api: ControlApi):
    url = await control_api.web_ui.create_login_url(reset=False)
    browser = Browser(int(url.split(":")[2].partition("/")[0]))
    path = url.removeprefix(browser.origin)
    first, second = await browser.get(path), await browser.get(path)
    assert (first.status, first.headers["location"]) == (303, "/")
    assert second.status == 401
    assert b"sploot ui" in second.body
    assert "set-cookie" not in second.headers


async def test_a_head_request_does_not_consume_a_login_url(control_api: ControlApi):
    url = await control_api.web_ui.create_login_url(reset=False)
    browser = await unauthenticated_browser(control_api)
    path = url.removeprefix(browser.origin)
    assert (await browser.request("HEAD", path)).status == 401
    assert (await browser.get(path)).status == 303


async def test_a_login_url_is_valid_for_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    clock = JumpClock()
    monkeypatch.setattr("control_fixtures.Clock", lambda: clock)
    async with serve_control_api(tmp_path) as control_api:
        url = await control_api.web_ui.create_login_url(reset=False)
        browser = await unauthenticated_browser(control_api)
        clock.ahead_s = 61
        assert (await browser.get(url.removeprefix(browser.origin))).status == 401


async def test_requests_without_a_session_get_only_a_hint(control_api: ControlApi):
    browser = await unauthenticated_browser(control_api)
    for path in ("/", "/static/daemon/app.js", "/v1/status", "/v1/events", "/v1/library", "/nowhere", "/loginx"):
        reply = await browser.get(path)
        assert (reply.status, reply.json["code"], reply.json["hint"]) == (401, "no_session", "sploot ui"), path
        reply = await browser.get(path, Accept="text/html,*/*")
        assert (reply.status, b"sploot ui" in reply.body, b"<script" in reply.body) == (401, True, False)
    for cookie in ("", "sploot_ui=1", f"sploot_ui_{browser.port}=9999999999.00", "x" * 5_000):
        assert (await browser.get("/v1/status", Cookie=cookie)).status == 401


async def test_a_change_without_a_session_is_rejected(control_api: ControlApi):
    browser = await unauthenticated_browser(control_api)
    assert (await browser.change("POST", "/v1/pause")).status == 401
    assert not control_api.context.admission.is_paused


async def test_a_session_survives_a_restart(tmp_path: Path):
    async with serve_control_api(tmp_path) as control_api:
        browser = await Browser.sign_in(control_api.web_ui)
    (tmp_path / "memes").rmdir()
    async with serve_control_api(tmp_path) as control_api:
        await wait_until_open(control_api)
        assert control_api.web_ui.origin == browser.origin
        assert (await browser.get("/v1/status")).status == 200


async def wait_until_open(control_api: ControlApi) -> None:
    """Wait until the web UI reopens after a restart: creating a login URL waits for it."""
    await control_api.web_ui.create_login_url(reset=False)


async def test_a_taken_port_is_replaced_and_invalidates_the_cookie(tmp_path: Path):
    async with serve_control_api(tmp_path) as control_api:
        browser = await Browser.sign_in(control_api.web_ui)
    (tmp_path / "memes").rmdir()
    with bind_port(browser.port, is_fixed=True):
        async with serve_control_api(tmp_path) as control_api:
            await wait_until_open(control_api)
            other_browser = await unauthenticated_browser(control_api)
            assert other_browser.port != browser.port
            other_browser.cookie = browser.cookie
            assert (await other_browser.get("/v1/status")).status == 401


async def test_a_taken_configured_port_is_reported(tmp_path: Path):
    with bind_port(0, is_fixed=False) as other:
        port = other.getsockname()[1]
        server = WebServer(tmp_path / "web-ui.json", port=port, clock=JumpClock(), instance_id="b")
        with pytest.raises(RequestError, match="the web UI cannot be opened") as error:
            await server.create_login_url(reset=False)
        assert (error.value.code, error.value.hint) == ("ui_unavailable", "sploot config set ui_port 0")
        assert server.origin is None
    assert (await server.create_login_url(reset=False)).startswith(f"http://127.0.0.1:{port}/login?token=")
    assert server._listener is not None
    server._listener.close()


async def test_a_port_that_cannot_be_opened_does_not_stop_the_daemon(tmp_path: Path):
    SessionState(1, bytes(32)).write(tmp_path / "web-ui.json")
    with bind_port(0, is_fixed=False) as other:
        server = WebServer(tmp_path / "web-ui.json", port=other.getsockname()[1], clock=JumpClock(), instance_id="b")
        running = asyncio.ensure_future(server.run())
        with pytest.raises(RequestError):
            await server.create_login_url(reset=False)
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_reset_revokes_all_sessions(control_api: ControlApi, browser: Browser):
    reader, writer = await asyncio.open_connection("127.0.0.1", browser.port)
    head = f"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1:{browser.port}\r\nCookie: {browser.cookie}\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(LIMIT_S):
        assert b" 200 " in await reader.readline()
        early = await control_api.web_ui.create_login_url(reset=False)
        url = await control_api.web_ui.create_login_url(reset=True)
        await reader.read()  # open streams are closed
    writer.close()
    assert (await browser.get("/v1/status")).status == 401
    assert (await browser.get(early.removeprefix(browser.origin))).status == 401
    assert (await browser.get(url.removeprefix(browser.origin))).status == 303


async def test_the_port_is_bound_to_loopback(control_api: ControlApi, browser: Browser):
    assert control_api.web_ui._listener is not None
    assert control_api.web_ui._listener.getsockname()[0] == "127.0.0.1"
    assert stat.S_IMODE((control_api.folder.parent / "web-ui.json").stat().st_mode) == 0o600


async def test_the_control_api_returns_a_login_url(control_api: ControlApi):
    ui_url = await control_api.request(protocol.OpenUi(), protocol.UiUrl)
    browser = await unauthenticated_browser(control_api)
    assert (await browser.get(ui_url.url.removeprefix(browser.origin))).status == 303


# Other users of this machine.


async def test_the_connection_of_another_user_is_closed(browser: Browser, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(web_server, "get_loopback_peer_uid", lambda *_: os.getuid() + 1)
    assert await browser.raw(b"GET / HTTP/1.1\r\n\r\n") == b""
    monkeypatch.setattr(web_server, "get_loopback_peer_uid", lambda *_: None)
    assert (await browser.get("/v1/status")).status == 200, "without a peer uid the session decides"


@pytest.mark.root
async def test_a_real_other_user_with_a_stolen_cookie_is_rejected(browser: Browser):
    stolen = f"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1:{browser.port}\r\nCookie: {browser.cookie}\r\n\r\n"
    program = f"""
import os, socket
os.setgid(65534), os.setuid(65534)  # imports fail from here on: the libraries may be in a private home
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


@pytest.mark.skipif(not http_limits.TCP_TABLE.exists(), reason="this system has no /proc/net/tcp")
def test_the_kernel_reports_the_peer_of_a_loopback_connection():
    with bind_port(0, is_fixed=False) as listener:
        listener.setblocking(True)
        with socket.create_connection(listener.getsockname()) as client:
            server_end, remote = listener.accept()
            with server_end:
                assert http_limits.get_loopback_peer_uid(remote, server_end.getsockname()) == os.getuid()
                assert http_limits.get_loopback_peer_uid(("127.0.0.1", 1), server_end.getsockname()) is None
                client.close()
                assert http_limits.get_loopback_peer_uid(remote, server_end.getsockname()) == http_limits.UNKNOWN_UID


def test_an_unreadable_connection_table_has_no_uid(tmp_path: Path):
    ends = (("127.0.0.1", 1), ("127.0.0.1", 2))
    assert http_limits.get_loopback_peer_uid(*ends, tmp_path / "missing") is None
    row = " ".join(
        ["0:", *(http_limits._format_table_address(end).decode() for end in ends), "01", "x", "x", "x", "root"]
    )
    for text in ("", "sl\n", "\n\n", row):
        (tmp_path / "tcp").write_text(text)
        assert http_limits.get_loopback_peer_uid(*ends, tmp_path / "tcp") is None
    (tmp_path / "tcp").write_text(row.replace("root", "1000"))
    assert http_limits.get_loopback_peer_uid(*ends, tmp_path / "tcp") == 1000


# Host, Origin and Sec-Fetch-Site.


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", ""]
)
async def test_other_host_names_are_rejected(browser: Browser, host: str):
    reply = await browser.get("/v1/status", Host=host.format(port=browser.port))
    assert (reply.status, reply.json["code"]) == (421, "misdirected")


async def test_two_or_no_host_headers_are_rejected(browser: Browser):
    host = f"Host: 127.0.0.1:{browser.port}\r\n"
    for hosts in (host + "Host: evil.example\r\n", host + host, ""):
        lines = f"GET /v1/status HTTP/1.1\r\n{hosts}Cookie: {browser.cookie}\r\nConnection: close\r\n\r\n"
        assert parse_response(await browser.raw(lines.encode())).status in (400, 421)


async def test_localhost_is_accepted(browser: Browser):
    host = f"localhost:{browser.port}"
    assert (await browser.get("/v1/status", Host=host, Origin=f"http://{host}")).status == 200


@pytest.mark.parametrize(
    "origin",
    ["null", "http://evil.example", "https://127.0.0.1:{port}", "http://127.0.0.1:1", "http://localhost:{port}", ""],
)
async def test_other_origins_are_rejected(control_api: ControlApi, browser: Browser, origin: str):
    headers = {"Origin": origin.format(port=browser.port)}
    assert (await browser.get("/v1/status", **headers)).json["code"] == "origin_not_allowed"
    assert (await browser.get("/login?token=x", **headers)).json["code"] == "origin_not_allowed"
    assert (await browser.change("POST", "/v1/pause", **headers)).json["code"] == "origin_not_allowed"
    assert not control_api.context.admission.is_paused


@pytest.mark.parametrize("site", ["cross-site", "same-site", "sideways", ""])
async def test_cross_site_requests_are_rejected(browser: Browser, site: str):
    assert (await browser.get("/v1/status", Sec_Fetch_Site=site)).status == 403
    assert (await browser.get("/", Sec_Fetch_Site=site)).status == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
async def test_same_origin_and_direct_requests_are_accepted(browser: Browser, site: str):
    assert (await browser.get("/v1/status", Sec_Fetch_Site=site)).status == 200


async def test_a_change_requires_the_header_and_an_origin(control_api: ControlApi, browser: Browser):
    for headers in (
        {"Origin": browser.origin},
        {"X_Sploot_UI": "1"},
        {"Origin": browser.origin, "X_Sploot_UI": "2"},
    ):
        reply = await browser.request("POST", "/v1/pause", b"{}", **headers)
        assert (reply.status, reply.json["code"]) == (403, "csrf_header_missing")
    assert not control_api.context.admission.is_paused
    assert (await browser.change("POST", "/v1/pause")).status == 200
    assert control_api.context.admission.is_paused


async def test_no_response_has_cors_headers(browser: Browser):
    replies = [
        await browser.get("/v1/status"),
        await browser.request(
            "OPTIONS", "/v1/pause", Origin="http://evil.example", Access_Control_Request_Method="POST"
        ),
        await browser.request("OPTIONS", "/v1/pause", Origin=browser.origin, X_Sploot_UI="1"),
    ]
    assert [reply.status for reply in replies] == [200, 403, 405]
    assert not [name for reply in replies for name in reply.headers if name.startswith("access-control")]


async def test_every_response_has_the_security_headers(browser: Browser):
    replies = [
        await browser.get(path, **headers)
        for path, headers in (
            ("/v1/status", {}),
            ("/v1/nowhere", {}),
            ("/", {}),
            ("/static/nowhere.js", {}),
            ("/login", {}),
            ("/v1/status", {"Host": "evil.example"}),
            ("/v1/status", {"Cookie": ""}),
        )
    ]
    for reply in replies:
        policy = reply.headers["content-security-policy"]
        sources = (
            "script-src 'self'; style-src 'self'",
            "style-src 'sha256-",
        )  # the second is of the page before a login
        assert policy.startswith(tuple(f"default-src 'none'; {each}" for each in sources))
        assert "frame-ancestors 'none'" in policy
        assert not {"unsafe-inline", "unsafe-eval", "http:", "https:", "*"} & set(policy.replace("'", "").split())
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cross-origin-opener-policy"] == "same-origin"
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"
        assert reply.headers["cache-control"] in ("no-store", "no-cache")
        assert reply.headers["sploot-instance-id"] == "instance-1"


# Routes.


async def test_requests_have_the_same_replies_as_on_the_socket(control_api: ControlApi, browser: Browser):
    (control_api.folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nx")
    added = await browser.change("POST", "/v1/add", {"paths": [str(control_api.folder / "a.png")]}, Idempotency_Key="k")
    assert added.json["counts"] == {"queued": 1}
    again = await browser.change("POST", "/v1/add", {"paths": [str(control_api.folder / "a.png")]}, Idempotency_Key="k")
    assert again.json == added.json
    items = (await browser.get("/v1/items")).json["items"]
    assert items == (await control_api.http("GET", "/v1/items"))[2]["items"]
    reply = await browser.get("/v1/items?state=dead")
    assert (reply.status, reply.json["code"]) == (400, "bad_state")


async def test_shutdown_login_and_backup_are_not_available(control_api: ControlApi, browser: Browser):
    hidden = {"/v1/shutdown", "/v1/login", "/v1/logout", "/v1/backup", "/v1/ui", "/v1/metrics"}
    hidden |= {"/v1/assets", "/v1/share", "/v1/share-links", "/v1/save-image"}
    hidden |= {"/v1/templates", "/v1/templates/learn", "/v1/templates/name", "/v1/templates/remove"}
    assert {kind.path for kind in protocol.REQUESTS} - {kind.path for kind in web_server.ALLOWED_REQUESTS} == hidden
    for path in hidden:
        assert (await browser.change("POST", path)).status == 404
    assert not control_api.shutdowns


async def test_only_static_files_are_served(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    daemon = tmp_path / "web" / "daemon"
    daemon.mkdir(parents=True)
    (daemon / "index.html").write_text("<!doctype html>")
    (daemon / "app.js").write_text("1")
    (daemon / "secret.txt").write_text("no")
    (daemon / "below.js").mkdir()
    (tmp_path / "outside.js").write_text("no")
    monkeypatch.setattr(sploot_web, "ROOT", tmp_path / "web")
    index, script = await browser.get("/"), await browser.get("/static/daemon/app.js")
    assert (index.status, index.headers["content-type"], index.body) == (
        200,
        "text/html; charset=utf-8",
        b"<!doctype html>",
    )
    assert index.headers["set-cookie"].startswith(f"sploot_ui_{browser.port}=")
    assert (script.headers["content-type"], script.body) == ("text/javascript; charset=utf-8", b"1")
    cached = await browser.get("/static/daemon/app.js", If_None_Match=script.headers["etag"])
    assert (cached.status, cached.body) == (304, b"")
    (daemon / "app.js").write_text("2")
    assert (await browser.get("/static/daemon/app.js", If_None_Match=script.headers["etag"])).body == b"2"
    for name in (
        "daemon/secret.txt",
        "daemon/below.js",
        "daemon/nowhere.js",
        "..%2Foutside.js",
        "../outside.js",
        "daemon/../../outside.js",
        "%2e%2e/outside.js",
        "daemon/%2e%2e/%2e%2e/outside.js",
        "app.js",
        "daemon/.js",
        "daemon/APP.js",
        "daemon/a%00.js",
        "",
    ):
        assert (await browser.get(f"/static/{name}")).status == 404, name


async def test_status_and_metrics_are_streamed_to_subscribers(control_api: ControlApi, browser: Browser):
    reader, writer = await asyncio.open_connection("127.0.0.1", browser.port)
    head = f"Host: 127.0.0.1:{browser.port}\r\nCookie: {browser.cookie}\r\n\r\n"
    writer.write(f"GET /v1/events?status=true&metrics=true HTTP/1.1\r\n{head}".encode())
    seen: dict[str, dict[str, object]] = {}
    async with asyncio.timeout(LIMIT_S):
        while not {"start", "status", "metrics"} <= seen.keys():
            line = (await reader.readline()).decode()
            if line.startswith("event: "):
                seen[line[7:].strip()] = json.loads((await reader.readline())[6:])
        await control_api.add("a.png")
        while seen["status"]["items"]["total"] != 1:  # type: ignore[index]  # a nested object
            line = (await reader.readline()).decode()
            if line.startswith("event: "):
                seen[line[7:].strip()] = json.loads((await reader.readline())[6:])
    writer.close()
    assert seen["status"]["daemon"]["state"] == "running"  # type: ignore[index]  # as above
    assert {"at", "rates", "calls", "memory", "errors", "uploads"} <= seen["metrics"].keys()


# Limits.


async def test_an_endless_head_is_rejected(browser: Browser):
    endless = b"GET / HTTP/1.1\r\nX: " + b"x" * (http_limits.HEAD_BYTES_MAX + 1_000)
    assert parse_response(await browser.raw(endless)).status == 431


async def test_an_incomplete_request_times_out(browser: Browser, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_limits, "REQUEST_TIMEOUT_S", 0.05)
    assert await browser.raw(b"GET / HTTP/1.1\r\n") == b""


async def test_a_slow_body_is_accepted_while_it_keeps_arriving(control_api: ControlApi, browser: Browser):
    image = b"\x89PNG\r\n\x1a\n" + b"x" * 20
    reader, writer = await asyncio.open_connection("127.0.0.1", browser.port)
    writer.write(
        f"PUT /v1/upload?name=slow.png HTTP/1.1\r\nHost: 127.0.0.1:{browser.port}\r\nCookie: {browser.cookie}\r\n"
        f"Origin: {browser.origin}\r\nX-Sploot-UI: 1\r\nConnection: close\r\n"
        f"Content-Length: {len(image)}\r\n\r\n".encode()
    )
    assert control_api.web_ui._server is not None
    connections = control_api.web_ui._server.server_state.connections

    def deadline() -> float:
        return max((each._deadline.when() for each in connections if each._deadline), default=0.0)

    before = 0.0
    async with asyncio.timeout(LIMIT_S):
        for byte in image[:-1]:
            writer.write(bytes([byte]))
            while deadline() <= before:  # noqa: ASYNC110 - a deadline has no signal
                await asyncio.sleep(0)
            before = deadline()
        writer.write(image[-1:])
        assert parse_response(await reader.read()).json["outcome"] == "queued"
    writer.close()


async def test_a_stalled_body_is_aborted_and_leaves_no_file(
    control_api: ControlApi, browser: Browser, monkeypatch: pytest.MonkeyPatch
):
    head = (
        f"PUT /v1/upload?name=half.png HTTP/1.1\r\nHost: 127.0.0.1:{browser.port}\r\nCookie: {browser.cookie}\r\n"
        f"Origin: {browser.origin}\r\nX-Sploot-UI: 1\r\nContent-Length: 100\r\n\r\n\x89PNG"
    )
    upload_folder = control_api.folder.parent / "browser-uploads"
    reader, writer = await asyncio.open_connection("127.0.0.1", browser.port)
    async with asyncio.timeout(LIMIT_S):
        writer.write(head.encode("latin-1"))
        while not list(upload_folder.glob(f"{PART_PREFIX}*")):  # noqa: ASYNC110 - a folder has no signal
            await asyncio.sleep(0)
        monkeypatch.setattr(http_limits, "REQUEST_TIMEOUT_S", 0.05)
        writer.write(b"\r")  # the last byte sent
        assert await reader.read() == b""
        while [each for each in upload_folder.iterdir() if each.name != ".sent"]:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
    writer.close()


async def test_too_many_connections_are_rejected(browser: Browser, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_limits, "CONNECTIONS_MAX", 3)
    idle = [await asyncio.open_connection("127.0.0.1", browser.port) for _ in range(3)]
    assert (await browser.get("/v1/status")).status == 503
    for _, writer in idle:
        writer.close()


async def test_the_body_of_a_rejected_request_is_not_read(browser: Browser):
    """The connection of a rejected upload is closed instead of drained."""
    head = f"PUT /v1/upload?name=a HTTP/1.1\r\nHost: 127.0.0.1:{browser.port}\r\nContent-Length: 100000000000\r\n\r\n"
    assert parse_response(await browser.raw(head.encode())).status == 401


async def test_a_response_of_several_pieces_is_sent_at_once():
    assert await sends_at_once(bind_port(0, is_fixed=False))


def test_a_port_in_use_is_not_shared():
    with bind_port(0, is_fixed=False) as one:
        port = one.getsockname()[1]
        with bind_port(port, is_fixed=False) as other:
            assert other.getsockname()[1] != port
        with pytest.raises(OSError, match="in use"):
            bind_port(port, is_fixed=True)
    with bind_port(port, is_fixed=True) as again, socket.create_connection(("127.0.0.1", port)):
        assert again.getsockname()[1] == port
    assert replace(SessionState(1, b"x"), port=2).port == 2
