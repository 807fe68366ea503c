"""The HTTP server of the control API: peers, limits and problems."""

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from control_fixtures import LIMIT_S, ControlApi, parse, serve_control_api
from sploot.connection import Connection

from splootd import API, __version__
from splootd.control import endpoints, http_limits
from splootd.control.server import bind


@pytest_asyncio.fixture
async def control_api(tmp_path: Path) -> AsyncIterator[ControlApi]:
    async with serve_control_api(tmp_path) as control_api:
        yield control_api


async def test_the_socket_is_private(control_api: ControlApi):
    assert stat.S_IMODE(control_api.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(control_api.path.parent.stat().st_mode) == 0o700


async def test_a_stale_socket_is_replaced(tmp_path: Path):
    path = tmp_path / "run" / "splootd.sock"
    bind(path).close()
    assert path.exists()
    listener = bind(path)
    Connection(path).close()
    listener.close()


async def test_the_connection_of_another_user_is_closed(control_api: ControlApi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_limits, "get_peer_uid", lambda _: os.getuid() + 1)
    assert await control_api.raw(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n") == b""


async def test_the_kernel_reports_the_peer(control_api: ControlApi):
    local, remote = socket.socketpair(socket.AF_UNIX)
    assert http_limits.get_peer_uid(local) == os.getuid()
    local.close()
    remote.close()


@pytest.mark.root
async def test_the_connection_of_a_real_other_user_is_closed(control_api: ControlApi):
    control_api.path.chmod(0o666)
    control_api.path.parent.chmod(0o711)
    program = f"""
import os, socket
os.chdir({str(control_api.path.parent)!r})  # still as root: the folders above stay closed
os.setgid(65534), os.setuid(65534)
with socket.socket(socket.AF_UNIX) as s:
    s.connect({control_api.path.name!r})
    try:
        s.sendall(b"GET /v1/status HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        print(s.recv(100))
    except OSError:
        print(b"")
"""
    command = [sys.executable, "-c", program]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    assert done.stdout == "b''\n"


async def test_requests_with_an_origin_are_rejected(control_api: ControlApi):
    status, _, problem = await control_api.http("GET", "/v1/status", Origin="http://evil.example")
    assert (status, problem["code"]) == (403, "origin_not_allowed")
    status, _, problem = await control_api.http("POST", "/v1/pause", Origin="null")
    assert (status, problem["code"]) == (403, "origin_not_allowed")
    assert not control_api.context.admission.is_paused


async def test_every_response_has_the_identity_headers(control_api: ControlApi):
    for method, path in (("GET", "/v1/status"), ("GET", "/nowhere"), ("POST", "/v1/status"), ("GET", "/v1/why")):
        _, headers, _ = await control_api.http(method, path)
        identity = [headers[name] for name in ("sploot-version", "sploot-api", "sploot-instance-id")]
        assert identity == [__version__, API, "instance-1"]


@pytest.mark.parametrize(
    ("request_line", "body", "status", "code"),
    [
        ("GET /nowhere", b"", 404, "no_such_route"),
        ("GET /v1/status/", b"", 404, "no_such_route"),
        ("DELETE /v1/status", b"", 405, "method_not_allowed"),
        ("GET /v1/why", b"", 400, "malformed"),
        ("GET /v1/items?limit=many", b"", 400, "malformed"),
        ("GET /v1/items?before=99999999999999999999", b"", 400, "malformed"),
        ("GET /v1/items?state=dead", b"", 400, "bad_state"),
        ("GET /v1/items?error_code=bad_luck", b"", 400, "bad_error_code"),
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
        ("POST /v1/retry", b"{}", 400, "missing_argument"),
        ("POST /v1/forget", b'{"targets": ["rel.png"]}', 400, "bad_target"),
        ("POST /v1/folders/remove", b'{"folder": "/nowhere"}', 404, "not_found"),
        ("POST /v1/login", b"{}", 400, "no_token"),
    ],
)
async def test_every_invalid_request_has_a_problem_code(
    control_api: ControlApi, request_line: str, body: bytes, status: int, code: str
):
    got, headers, problem = await control_api.http(*request_line.split(" "), body)
    assert (got, problem["code"], problem["status"]) == (status, code, status)
    assert problem["title"]
    assert headers["content-type"] == "application/problem+json"


async def test_other_protocols_get_a_problem(control_api: ControlApi):
    status, headers, problem = parse(await control_api.raw(b"hello there\r\n\r\n"))
    assert (status, problem["code"]) == (400, "not_http")
    assert headers["sploot-version"] == __version__


async def test_an_endless_head_is_rejected(control_api: ControlApi):
    endless = b"GET /v1/status HTTP/1.1\r\nX: " + b"x" * (http_limits.HEAD_BYTES_MAX + 1000)
    status, _, problem = parse(await control_api.raw(endless))
    assert (status, problem["code"]) == (431, "head_too_large")


async def test_a_declared_large_body_is_not_read(control_api: ControlApi, monkeypatch: pytest.MonkeyPatch):
    head = b"POST /v1/add HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 16000001\r\n\r\n"
    status, _, problem = parse(await control_api.raw(head))
    assert (status, problem["code"]) == (413, "too_large")


async def test_a_chunked_body_is_bounded(control_api: ControlApi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(endpoints, "BODY_BYTES_MAX", 1000)
    head = b"POST /v1/add HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
    status, _, problem = parse(await control_api.raw(head + chunk + b"0\r\n\r\n"))
    assert (status, problem["code"]) == (413, "too_large")


async def test_an_incomplete_request_times_out(control_api: ControlApi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_limits, "REQUEST_TIMEOUT_S", 0.01)
    assert await control_api.raw(b"GET /v1/status HTT") == b""
    assert await control_api.raw(b"POST /v1/pause HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{") == b""


async def test_too_many_connections_are_rejected(control_api: ControlApi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_limits, "CONNECTIONS_MAX", 0)
    status, _, problem = parse(await control_api.raw(b""))
    assert (status, problem["code"]) == (503, "busy")


async def test_an_internal_error_has_no_details(control_api: ControlApi, monkeypatch: pytest.MonkeyPatch):
    async def broken() -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(control_api.context.read_queries, "counts", broken)
    status, _, problem = await control_api.http("GET", "/v1/status")
    assert (status, problem["code"]) == (500, "internal")
    assert "secret" not in json.dumps(problem)
