"""What is hostile is refused within stated limits, and the others are served meanwhile."""

import asyncio
import contextlib
import select
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from sploot_server import bodies, serve
from sploot_server.config import Config
from sploot_server.process import listening
from sploot_server.serve import library_app, server_of
from toy_library import FakeEmbedder, picture

LIMIT_S = 20.0


@contextlib.asynccontextmanager
async def served(config: Config) -> AsyncIterator[Path]:
    """A server on a Unix socket, spoken to byte by byte."""
    config.data.mkdir(exist_ok=True)
    path = config.data / "s.sock"
    listening = asyncio.Event()
    async with library_app(config, FakeEmbedder()) as app:
        server = server_of(app, replace(config, uds=None), listening.set)
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


async def answer_to(path: Path, said: bytes) -> bytes:
    """All that comes back until the server hangs up."""
    async with asyncio.timeout(LIMIT_S):
        reader, writer = await asyncio.open_unix_connection(path)
        with contextlib.suppress(ConnectionError):
            writer.write(said)
            await writer.drain()
        answer = b""
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65_536):
                answer += piece
        writer.close()
        return answer


def client_of(path: Path) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path)), base_url="http://localhost")


@pytest.fixture
def quick(config: Config, tmp_path: Path) -> Config:
    return replace(config, uds=tmp_path / "s", head_s_max=0.2, answer_s_max=0.2, connections_max=3)


@pytest.mark.parametrize("said", [b"", b"GET /api/health HTTP/1.1\r\nHost: local", b"GET /"])
async def test_who_never_finishes_a_head_is_cut_off(quick: Config, said: bytes) -> None:
    async with served(quick) as path:
        assert (await answer_to(path, said)).startswith(b"HTTP/1.1 408 ")


async def test_a_head_that_comes_byte_by_byte_has_no_more_time(quick: Config) -> None:
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


async def test_a_second_request_on_a_line_has_its_time_too(quick: Config) -> None:
    one = b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with served(quick) as path:
        answers = await answer_to(path, one + b"GET /api/hea")
    assert answers.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in answers


@pytest.mark.parametrize(
    "head", [b"GET /%b HTTP/1.1\r\n\r\n" % (b"a" * 200_000), b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 40_000]
)
async def test_a_huge_head_is_refused(config: Config, tmp_path: Path, head: bytes) -> None:
    async with served(replace(config, uds=tmp_path / "s")) as path:
        assert (await answer_to(path, head)).startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
        async with client_of(path) as client:
            assert (await client.get("/api/health")).status_code == 200


async def test_what_is_not_http_is_refused_in_json(config: Config, tmp_path: Path) -> None:
    async with served(replace(config, uds=tmp_path / "s")) as path:
        answer = await answer_to(path, b"\x16\x03\x01 hello\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'{"success": false' in answer


async def test_one_connection_too_many_is_told_and_the_others_go_on(quick: Config) -> None:
    async with served(replace(quick, head_s_max=LIMIT_S)) as path, contextlib.AsyncExitStack() as stack:
        lines = [await asyncio.open_unix_connection(path) for _ in range(3)]
        for _, writer in lines:
            stack.callback(writer.close)
        reader, writer = lines[0]
        request = b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        writer.write(request)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")  # so all three are known to be connected
        assert (await answer_to(path, b"")).startswith(b"HTTP/1.1 503 ")
        lines[1][1].write(request)
        assert (await lines[1][0].readline()).startswith(b"HTTP/1.1 200 ")


async def test_one_stranger_cannot_take_all_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a socket that others reach; this machine has 127.0.0.2 to come from as well."""
    config = Config(data=tmp_path / "l", host="0.0.0.0", port=0, connections_each_max=3)
    config.data.mkdir()

    async def let_anybody_in(*_: object) -> list[object]:
        return []

    monkeypatch.setattr(serve, "guards", let_anybody_in)
    async with library_app(config, FakeEmbedder()) as app, contextlib.AsyncExitStack() as stack:
        listener = stack.enter_context(listening(config))
        ready = asyncio.Event()
        server = server_of(app, config, ready.set)
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]  # the signals are pytest's
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await ready.wait()
        port = listener.getsockname()[1]

        async def asked(source: str) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
            stack.callback(writer.close)
            writer.write(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            async with asyncio.timeout(LIMIT_S):
                return await reader.readline()

        held = [await asked("127.0.0.1") for _ in range(4)]
        assert [line[9:12] for line in held] == [b"200", b"200", b"200", b"503"]
        assert (await asked("127.0.0.2"))[9:12] == b"200"
        server.stop()
        server.stop()
        await task


async def test_who_does_not_read_his_answer_is_cut_off(quick: Config) -> None:
    data = picture("a") + bytes(8_000_000)
    async with served(quick) as path, asyncio.timeout(LIMIT_S):
        async with client_of(path) as client:
            sent = await client.post("/api/upload", files={"file": ("a.jpg", data, "image/jpeg")})
        asset_id = sent.json()["asset"]["id"].encode()
        with socket.socket(socket.AF_UNIX) as line:
            line.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(line, str(path))
            await loop.sock_sendall(line, b"GET /api/assets/%b/original HTTP/1.1\r\nHost: localhost\r\n\r\n" % asset_id)
            hung_up = select.poll()
            hung_up.register(line, 0)
            assert await asyncio.to_thread(hung_up.poll, LIMIT_S * 1000)  # nothing is read; a hang-up is told anyhow


async def test_a_body_that_drips_is_given_up(quick: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SILENCE_S_MAX", 0.1)
    async with served(quick) as path:
        head = b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"
        assert (await answer_to(path, head)).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("size", [b"99999999999", b"-1", b"abc", b"1e9"])
async def test_a_body_of_a_false_or_huge_size_is_refused(quick: Config, size: bytes) -> None:
    async with served(quick) as path:
        head = b"POST /api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        answer = await answer_to(path, head + b"Content-Length: " + size + b"\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 400 "))


@pytest.mark.parametrize(
    "path",
    ["/../library.db", "/api/assets/../../library.db", "/api/assets/%2e%2e%2flibrary.db/original", "//etc/passwd"],
)
async def test_no_path_leads_out_of_the_api(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(httpx.URL("http://localhost", raw_path=path.encode()))
    assert (answer.status_code, answer.json()["success"]) == (404, False)


@pytest.mark.parametrize(
    "name", ["a\r\nX-Evil: 1.jpg", 'a"; x="b.jpg', "\u202egpj.exe", "🐈.jpg", "a\0b.jpg", "%0d%0aX-Evil: 1"]
)
async def test_a_file_name_puts_nothing_into_a_head(client: httpx.AsyncClient, name: str) -> None:
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
