"""Hostile requests are rejected within the limits, and other clients are served meanwhile."""

import asyncio
import contextlib
import select
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from http_probe import sends_at_once
from sploot_server import app as app_module
from sploot_server.app import create_app, create_server
from sploot_server.config import Config
from sploot_server.http import request_body
from sploot_server.server_process import open_listening_socket
from toy_library import FakeEmbedder, picture

LIMIT_S = 20.0


@contextlib.asynccontextmanager
async def served(config: Config) -> AsyncIterator[Path]:
    """Run a server on a Unix socket for raw requests."""
    config.data.mkdir(exist_ok=True)
    path = config.data / "s.sock"
    listening = asyncio.Event()
    async with create_app(config, FakeEmbedder()) as app:
        server = create_server(app, replace(config, uds=None), listening.set)
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]  # the signals are pytest's
        settings = server.config
        settings.uds = str(path)
        task = asyncio.create_task(server.serve())
        await listening.wait()
        try:
            yield path
        finally:
            server.stop()
            server.stop()
            await task


async def response_to(path: Path, request: bytes) -> bytes:
    """Send a request and return all bytes until the server closes the connection."""
    async with asyncio.timeout(LIMIT_S):
        reader, writer = await asyncio.open_unix_connection(path)
        with contextlib.suppress(ConnectionError):
            writer.write(request)
            await writer.drain()
        response = b""
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(65_536):
                response += chunk
        writer.close()
        return response


def client_of(path: Path) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path)), base_url="http://localhost")


@pytest.fixture
def quick(config: Config, tmp_path: Path) -> Config:
    return replace(config, uds=tmp_path / "s", header_timeout_s=0.2, send_timeout_s=0.2, connections_max=3)


@pytest.mark.parametrize("request_part", [b"", b"GET /api/health HTTP/1.1\r\nHost: local", b"GET /"])
async def test_incomplete_headers_time_out(quick: Config, request_part: bytes) -> None:
    async with served(quick) as path:
        assert (await response_to(path, request_part)).startswith(b"HTTP/1.1 408 ")


async def test_slow_headers_do_not_extend_the_timeout(quick: Config) -> None:
    async with served(quick) as path, asyncio.timeout(LIMIT_S):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /api/health HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof():
                writer.write(b"a: b\r\n")
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        if (await reader.read(12)).startswith(b"HTTP/1.1 408"):
                            break
        writer.close()


async def test_a_second_request_on_a_connection_has_the_same_timeout(quick: Config) -> None:
    one = b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with served(quick) as path:
        answers = await response_to(path, one + b"GET /api/hea")
    assert answers.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in answers


async def test_headers_that_arrive_in_one_piece_are_measured_too(config: Config, tmp_path: Path) -> None:
    head = b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 15_000 + b"\r\n"
    assert 64 * 1024 < len(head) < 200_000
    async with served(replace(config, uds=tmp_path / "s", header_bytes_max=16 * 1024)) as path:
        assert (await response_to(path, head)).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("name", [b"Host", b"Authorization"])
async def test_two_hosts_or_two_tokens_are_rejected(config: Config, tmp_path: Path, name: bytes) -> None:
    request = b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n%b: a\r\n%b: b\r\n\r\n" % (name, name)
    async with served(replace(config, uds=tmp_path / "s")) as path:
        assert (await response_to(path, request)).startswith(b"HTTP/1.1 400 ")


async def test_no_response_redirects_to_the_host_that_was_named(client: httpx.AsyncClient) -> None:
    answer = await client.get("/s/x/", headers={"host": "127.0.0.1"})
    assert (answer.status_code, answer.headers.get("location")) == (404, None)


async def test_no_response_is_taken_for_another_type_or_shown_by_other_websites(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/assets")
    assert answer.headers["x-content-type-options"] == "nosniff"
    sent = await client.post("/api/upload", files={"file": ("a.jpg", picture("x"), "image/jpeg")})
    original = await client.get(f"/api/assets/{sent.json()['asset']['id']}/original")
    assert original.headers["cross-origin-resource-policy"] == "same-origin"
    assert original.headers.get_list("x-content-type-options") == ["nosniff"]


@pytest.mark.parametrize(
    "head", [b"GET /%b HTTP/1.1\r\n\r\n" % (b"a" * 200_000), b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 40_000]
)
async def test_huge_headers_are_rejected(config: Config, tmp_path: Path, head: bytes) -> None:
    async with served(replace(config, uds=tmp_path / "s")) as path:
        assert (await response_to(path, head)).startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
        async with client_of(path) as client:
            assert (await client.get("/api/health")).status_code == 200


async def test_bytes_that_are_not_http_are_rejected_with_json(config: Config, tmp_path: Path) -> None:
    async with served(replace(config, uds=tmp_path / "s")) as path:
        answer = await response_to(path, b"\x16\x03\x01 hello\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'{"success": false' in answer


REQUEST = b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
SLOW_REQUEST = b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
"""The server answers `100 Continue` when it waits for the body."""


async def test_a_new_connection_takes_the_place_of_the_longest_idle_one(quick: Config) -> None:
    async with served(replace(quick, header_timeout_s=LIMIT_S)) as path, contextlib.AsyncExitStack() as stack:

        async def connect(request: bytes) -> asyncio.StreamReader:
            reader, writer = await asyncio.open_unix_connection(path)
            stack.callback(writer.close)
            writer.write(request)
            return reader

        async with asyncio.timeout(LIMIT_S):
            busy = await connect(SLOW_REQUEST)
            assert await busy.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            silent, recent = await connect(b""), await connect(REQUEST)
            assert (await recent.readline()).startswith(b"HTTP/1.1 200 ")  # so the server has accepted all three
            newest = await connect(REQUEST)
            assert (await newest.readline()).startswith(b"HTTP/1.1 200 ")
            assert await silent.read() == b""
            assert not busy.at_eof()
            assert not recent.at_eof()


async def test_a_connection_over_the_limit_gets_503_while_all_others_have_requests(quick: Config) -> None:
    async with served(quick) as path, contextlib.AsyncExitStack() as stack:
        async with asyncio.timeout(LIMIT_S):
            for _ in range(3):
                reader, writer = await asyncio.open_unix_connection(path)
                stack.callback(writer.close)
                writer.write(SLOW_REQUEST)
                assert (await reader.readline()).startswith(b"HTTP/1.1 100 ")
            assert (await response_to(path, b"")).startswith(b"HTTP/1.1 503 ")


async def test_a_response_of_several_pieces_is_sent_at_once(tmp_path: Path) -> None:
    with open_listening_socket(Config(data=tmp_path, port=0)) as listener:
        assert await sends_at_once(listener)


async def test_one_address_cannot_use_all_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a public address; 127.0.0.2 acts as the second client address."""
    config = Config(data=tmp_path / "l", host="0.0.0.0", port=0, connections_per_address_max=3)
    config.data.mkdir()

    async def no_authentication(*_: object) -> list[object]:
        return []

    monkeypatch.setattr(app_module, "authentication_middleware", no_authentication)
    async with create_app(config, FakeEmbedder()) as app, contextlib.AsyncExitStack() as stack:
        listener = stack.enter_context(open_listening_socket(config))
        ready = asyncio.Event()
        server = create_server(app, config, ready.set)
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]  # the signals are pytest's
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await ready.wait()
        port = listener.getsockname()[1]

        async def status_line(source: str) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
            stack.callback(writer.close)
            writer.write(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            async with asyncio.timeout(LIMIT_S):
                return await reader.readline()

        lines = [await status_line("127.0.0.1") for _ in range(4)]
        assert [line[9:12] for line in lines] == [b"200", b"200", b"200", b"503"]
        assert (await status_line("127.0.0.2"))[9:12] == b"200"
        server.stop()
        server.stop()
        await task


async def test_a_client_that_does_not_read_its_response_is_disconnected(quick: Config) -> None:
    data = picture("a") + bytes(8_000_000)
    async with served(quick) as path, asyncio.timeout(LIMIT_S):
        async with client_of(path) as client:
            sent = await client.post("/api/upload", files={"file": ("a.jpg", data, "image/jpeg")})
        asset_id = sent.json()["asset"]["id"].encode()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(connection, str(path))
            request = b"GET /api/assets/%b/original HTTP/1.1\r\nHost: localhost\r\n\r\n" % asset_id
            await loop.sock_sendall(connection, request)
            closed = select.poll()
            closed.register(connection, 0)
            assert await asyncio.to_thread(closed.poll, LIMIT_S * 1000)  # reports POLLHUP without reading


async def test_a_stalled_body_times_out(quick: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "IDLE_TIMEOUT_S", 0.1)
    async with served(quick) as path:
        head = b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"
        assert (await response_to(path, head)).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("size", [b"99999999999", b"-1", b"abc", b"1e9"])
async def test_an_invalid_or_huge_content_length_is_rejected(quick: Config, size: bytes) -> None:
    async with served(quick) as path:
        head = b"POST /api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        answer = await response_to(path, head + b"Content-Length: " + size + b"\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 400 "))


@pytest.mark.parametrize(
    "path",
    ["/../library.db", "/api/assets/../../library.db", "/api/assets/%2e%2e%2flibrary.db/original", "//etc/passwd"],
)
async def test_no_path_leaves_the_api(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(httpx.URL("http://localhost", raw_path=path.encode()))
    assert (answer.status_code, answer.json()["success"]) == (404, False)


@pytest.mark.parametrize(
    "name", ["a\r\nX-Evil: 1.jpg", 'a"; x="b.jpg', "\u202egpj.exe", "🐈.jpg", "a\0b.jpg", "%0d%0aX-Evil: 1"]
)
async def test_a_file_name_cannot_inject_headers(client: httpx.AsyncClient, name: str) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="%b"\r\n\r\n%b\r\n--b--\r\n'
    escaped = name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22").encode()
    headers = {"content-type": "multipart/form-data; boundary=b"}
    sent = await client.post("/api/upload", content=body % (escaped, picture("x")), headers=headers)
    assert sent.status_code in (201, 400)
    if sent.status_code == 201:
        got = await client.get(f"/api/assets/{sent.json()['asset']['id']}/original")
        assert got.status_code == 200
        assert "x-evil" not in got.headers
        assert not set(got.headers["content-disposition"]) & set("\r\n\0")
