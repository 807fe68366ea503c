"""The door of the control API: who may come in, how much they may say, and how a refusal looks."""

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
from controlled import LIMIT_S, House, controlled, parse
from sploot.connection import Connection

from splootd import API, __version__
from splootd.control import endpoints as control
from splootd.control import transport
from splootd.control.door import bind


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with controlled(tmp_path) as house:
        yield house


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
    house.path.chmod(0o666)
    house.path.parent.chmod(0o711)
    program = f"""
import os, socket
os.chdir({str(house.path.parent)!r})  # still as root: the folders above stay closed
os.setgid(65534), os.setuid(65534)
with socket.socket(socket.AF_UNIX) as s:
    s.connect({house.path.name!r})
    try:
        s.sendall(b"GET /v1/status HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        print(s.recv(100))
    except OSError:
        print(b"")
"""
    command = [sys.executable, "-c", program]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=LIMIT_S, check=True)
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
