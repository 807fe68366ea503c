"""One exchange at a time on a line: an answer is whole or an error, however it is cut, and nothing is sent twice."""

import asyncio
import contextlib
import itertools
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.remote import lines as lines_module
from splootd.remote.http1 import HEAD_BYTES_MAX, HELD_BYTES_MAX, Line, Response
from splootd.remote.lines import Client, Direct, Lines, client_of, trust

LIMIT_S = 30.0
BODY = b'{"exists": false}'
SIZED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n%s\r\n9\r\n%s\r\n0\r\nX-Trailer: 1\r\n\r\n" % (
    BODY[:8],
    BODY[8:],
)
UNSIZED = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY
INTERIM = b"HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + SIZED
ANSWERS = {"sized": SIZED, "chunked": CHUNKED, "unsized": UNSIZED, "interim": INTERIM}

Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Plays one act per connection, the last of them again and again."""

    def __init__(self, *acts: Play) -> None:
        self._acts = list(acts)
        self.opened = self.open = self.open_max = 0
        self.met, self.closed = asyncio.Event(), asyncio.Event()
        self._playing: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serving(self, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._play, "127.0.0.1", 0, ssl=tls)
        async with self._ended(server):
            yield f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    @contextlib.asynccontextmanager
    async def serving_on(self, path: Path) -> AsyncIterator[None]:
        async with self._ended(await asyncio.start_unix_server(self._play, path)):
            yield

    @contextlib.asynccontextmanager
    async def _ended(self, server: asyncio.Server) -> AsyncIterator[None]:
        try:
            yield
        finally:
            server.close()
            for task in self._playing:
                task.cancel()
            await asyncio.gather(*self._playing, return_exceptions=True)

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._playing.add(task)
        self.opened, self.open = self.opened + 1, self.open + 1
        self.open_max = max(self.open_max, self.open)
        self.met.set()
        act = self._acts.pop(0) if len(self._acts) > 1 else self._acts[0]
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await act(reader, writer)
        finally:
            self.open -= 1
            self.closed.set()
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            self._playing.discard(task)


async def heard(reader: asyncio.StreamReader) -> bytes:
    """One request, whole."""
    head = await reader.readuntil(b"\r\n\r\n")
    sizes = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + await reader.readexactly(sum(sizes))


def saying(answer: bytes, *, times: int = 1) -> Play:
    """Hear a request and say this, so often; then hang up."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(times):
            await heard(reader)
            writer.write(answer)
            await writer.drain()

    return act


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Hear everything, say nothing."""
    while await reader.read(65_536):
        pass


@contextlib.asynccontextmanager
async def direct(base: str, *, connections: int = 1, read_s: float = LIMIT_S) -> AsyncIterator[Direct]:
    client = Direct(base, socket=None, verify=trust("http:"), connections=connections, read_s=read_s)
    try:
        yield client
    finally:
        await client.aclose()


async def asked(
    client: Client, method: str = "POST", path: str = "/x", content: object = b"{}", **headers: str
) -> bytes:
    async with client.stream(method, path, headers=headers, content=content) as response:
        return f"{response.status_code} ".encode() + b"".join([piece async for piece in response.aiter_raw()])


async def pieces(count: int, size: int = 65_536) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield bytes(size)
        await asyncio.sleep(0)


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, Path]:
    """A key and a certificate for this machine that nobody vouches for."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=sploot", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    return key, certificate


# What the answer is.


@pytest.mark.parametrize("kind", ANSWERS)
async def test_an_answer_that_is_cut_off_anywhere_is_an_error_and_never_half_an_answer(kind: str) -> None:
    answer = ANSWERS[kind]
    cuts = iter(range(len(answer)))
    whole = answer.index(b"\r\n\r\n") + 4  # from here on, an answer without a length may end anywhere

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(answer[: next(cuts)])

    server = Server(cut)
    async with server.serving() as url, direct(url) as client:
        for length in range(len(answer)):
            if kind == "unsized" and length >= whole:
                assert await asked(client) == b"200 " + answer[whole:length]
            else:
                with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                    await asked(client)


@given(kind=st.sampled_from(list(ANSWERS)), cuts=st.lists(st.integers(0, 200), max_size=20))
def test_an_answer_is_the_same_however_it_arrives(kind: str, cuts: list[int]) -> None:
    answer = ANSWERS[kind]
    marks = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    response = Response(lambda: None, lambda: None, has_body=True)
    for start, end in itertools.pairwise(marks):
        response.feed(answer[start:end])
    response.end()
    assert (response.status_code, response.is_whole, response.held_bytes) == (200, True, len(BODY))
    assert response.keeps_alive == (kind != "unsized")
    assert "link" not in response.headers
    assert "x-trailer" not in response.headers


@pytest.mark.parametrize("kind", ANSWERS)
async def test_an_answer_may_come_byte_by_byte(kind: str) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        for byte in ANSWERS[kind]:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async with Server(drip).serving() as url, direct(url) as client:
        assert await asked(client) == b"200 " + BODY


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"220 mail.example.org ESMTP\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * (5 * HEAD_BYTES_MAX),
        b"HTTP/1.1 100 Continue\r\n\r\n" * HEAD_BYTES_MAX,
    ],
    ids=["http2", "mail", "upgrade", "two lengths", "two measures", "bad chunk", "endless head", "endless interim"],
)
async def test_what_is_no_answer_is_refused(answer: bytes) -> None:
    async with Server(saying(answer)).serving() as url, direct(url) as client:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await asked(client)


async def test_names_of_headers_are_lower_case_and_twins_are_joined() -> None:
    answer = b"HTTP/1.1 204 Gone\r\nX-Clerk: A\r\nx-clerk: B\r\n\r\n"
    async with (
        Server(saying(answer)).serving() as url,
        direct(url) as client,
        client.stream("GET", "/", headers={}, content=b"") as response,
    ):
        assert (response.status_code, dict(response.headers)) == (204, {"x-clerk": "A, B"})


async def test_a_server_must_wait_for_who_does_not_read() -> None:
    flooded = asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n" + bytes(50_000_000))
        flooded.set()
        await writer.drain()

    async with (
        Server(flood).serving() as url,
        direct(url) as client,
        client.stream("GET", "/", headers={}, content=b"") as response,
    ):
        await flooded.wait()
        for _ in range(1_000):
            await asyncio.sleep(0)
        assert isinstance(response, Response)
        assert response.held_bytes <= 3 * HELD_BYTES_MAX
        assert sum([len(piece) async for piece in response.aiter_raw()]) == 50_000_000


# What is sent.


async def test_a_request_is_what_was_asked_for() -> None:
    requests = []

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await heard(reader))
        writer.write(SIZED)

    async with Server(act).serving() as url, direct(f"{url}/prefix/") as client:
        await asked(client, "POST", "/api?a=b", b"{}", authorization="Bearer t")
    head, _, body = requests[0].partition(b"\r\n\r\n")
    first, *fields = head.decode().split("\r\n")
    assert (first, body) == ("POST /prefix/api?a=b HTTP/1.1", b"{}")
    assert dict(field.split(": ", 1) for field in fields) == {
        "host": url.removeprefix("http://"),
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "splootd",
        "authorization": "Bearer t",
        "content-length": "2",
    }


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\nb", "\0", "ü"])
async def test_nothing_slips_into_a_head(value: str) -> None:
    async with direct("http://127.0.0.1:9") as client:
        with pytest.raises(httpx.LocalProtocolError):
            await asked(client, authorization=value)


async def test_a_body_goes_out_in_its_pieces_and_in_full() -> None:
    received = []

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(len(await heard(reader)))
        writer.write(SIZED)

    async with Server(act).serving() as url, direct(url) as client:
        assert await asked(client, content=pieces(100), **{"content-length": str(100 * 65_536)}) == b"200 " + BODY
    assert received[0] > 100 * 65_536


@pytest.mark.parametrize("announced", [1, 3 * 65_536])
async def test_a_body_of_another_length_than_announced_is_an_error(announced: int) -> None:
    server = Server(silent)
    async with server.serving() as url, direct(url) as client:
        with pytest.raises(httpx.LocalProtocolError):
            await asked(client, content=pieces(2), **{"content-length": str(announced)})
        async with asyncio.timeout(LIMIT_S):
            await server.closed.wait()


@pytest.mark.parametrize("resets", [False, True], ids=["hangs up", "resets"])
async def test_a_refusal_is_heard_while_the_body_is_still_on_its_way(resets: bool) -> None:
    """As of a proxy that finds an upload too large: it answers, and takes no more."""
    told, closed = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno", 0

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(told)
        await writer.drain()
        if resets:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    async def body() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            async for piece in pieces(10_000):
                yield piece
        finally:
            closed += 1

    async with Server(refuse).serving() as url, direct(url) as client:
        for _ in range(5):
            with contextlib.suppress(httpx.TransportError) if resets else contextlib.nullcontext():
                size = {"content-length": str(10_000 * 65_536)}
                assert await asked(client, content=body(), **size) == b"413 no"
    assert closed == 5


async def test_a_refusal_that_waits_in_the_kernel_is_heard_though_the_sending_has_failed() -> None:
    """The loop may learn that the line is broken before it has read what was said on it."""
    answer = b"HTTP/1.1 429 Later\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"

    async def body() -> AsyncIterator[bytes]:
        yield bytes(65_536)
        there, _ = listener.accept()
        there.settimeout(LIMIT_S)
        there.recv(200_000)
        there.sendall(answer)
        there.close()
        for _ in range(200):  # without giving the loop a chance to read
            yield bytes(65_536)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with direct(f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            assert await asked(client, content=body(), **{"content-length": str(201 * 65_536)}) == b"429 "


async def test_a_server_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "WRITE_S", 0.05)

    async def deaf(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with Server(deaf).serving() as url, direct(url) as client:
        with pytest.raises(httpx.WriteTimeout):
            await asked(client, content=pieces(1_000), **{"content-length": str(1_000 * 65_536)})


async def test_a_server_that_says_nothing_is_given_up() -> None:
    async with Server(silent).serving() as url, direct(url, read_s=0.05) as client:
        with pytest.raises(httpx.ReadTimeout):
            await asked(client)


async def test_an_answer_that_stops_coming_is_given_up() -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(SIZED[:-1])
        await asyncio.Event().wait()

    async with Server(stall).serving() as url, direct(url, read_s=0.05) as client:
        with pytest.raises(httpx.ReadTimeout):
            await asked(client)


async def test_nobody_there_is_an_error_before_anything_is_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with direct(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(httpx.ConnectError) as caught:
            await asked(client)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


# Which line it goes over.


@pytest.mark.parametrize(
    ("answer", "lines"),
    [
        (SIZED, 1),
        (CHUNKED, 1),
        (INTERIM, 1),
        (UNSIZED, 3),
        (SIZED + b"HTTP/1.1 200 OK\r\n", 3),
        (SIZED.replace(b"Content-Type", b"Connection: close\r\nContent-Type"), 3),
        (SIZED.replace(b"HTTP/1.1", b"HTTP/1.0"), 3),
    ],
    ids=["sized", "chunked", "interim", "unsized", "surplus", "close", "http 1.0"],
)
async def test_a_line_is_used_again_only_where_its_answer_has_ended_well(answer: bytes, lines: int) -> None:
    server = Server(saying(answer, times=1 if answer is UNSIZED else 3))
    async with server.serving() as url, direct(url) as client:
        for _ in range(3):
            assert await asked(client) == b"200 " + BODY
        assert (server.opened, server.open_max <= 1) == (lines, True)


async def test_a_line_whose_answer_was_not_read_is_not_used_again() -> None:
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n" + bytes(5_000_000)
    server = Server(saying(long), saying(SIZED))
    async with server.serving() as url, direct(url) as client:
        async with client.stream("GET", "/", headers={}, content=b""):
            pass
        assert await asked(client) == b"200 " + BODY
    assert server.opened == 2


async def test_no_request_goes_over_a_line_that_the_server_has_just_closed() -> None:
    """Not even when this program has had no time to notice: the kernel is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        async with direct(f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            for _ in range(20):
                asking = asyncio.create_task(asked(client))
                there, _ = await loop.sock_accept(listener)
                await loop.sock_recv(there, 65_536)
                await loop.sock_sendall(there, SIZED)
                assert await asking == b"200 " + BODY
                there.close()


async def test_a_line_that_rested_too_long_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "KEEPALIVE_S", 0.0)
    server = Server(saying(SIZED, times=9))
    async with server.serving() as url, direct(url) as client:
        await asked(client)
        await asked(client)
        assert (server.opened, server.open_max) == (2, 1)


async def test_what_is_said_unasked_closes_the_line() -> None:
    async def chatty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(SIZED)
        await writer.drain()
        await asyncio.sleep(0)
        writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    server = Server(chatty)
    async with server.serving() as url, direct(url) as client:
        for _ in range(3):
            assert await asked(client) == b"200 " + BODY


async def test_a_cancelled_request_takes_its_line_with_it() -> None:
    server = Server(silent, saying(SIZED))
    async with server.serving() as url, direct(url) as client:
        asking = asyncio.create_task(asked(client))
        await server.met.wait()
        asking.cancel()
        await asyncio.wait([asking])
        async with asyncio.timeout(LIMIT_S):
            await server.closed.wait()
        assert await asked(client) == b"200 " + BODY


async def test_there_are_never_more_lines_than_allowed_whatever_happens_to_them() -> None:
    server = Server(saying(UNSIZED), saying(SIZED, times=2), silent, saying(SIZED + b"x"), saying(SIZED))
    async with server.serving() as url, direct(url, connections=3, read_s=0.5) as client:
        results = await asyncio.gather(*(asked(client) for _ in range(30)), return_exceptions=True)
        assert sum(result == b"200 " + BODY for result in results) >= 25
    assert server.open_max <= 3


async def test_whoever_finds_all_lines_busy_waits_and_gives_up_in_the_end() -> None:
    async with Server(silent).serving() as url, direct(url, read_s=0.05) as client:
        first, second = await asyncio.gather(asked(client), asked(client), return_exceptions=True)
    assert isinstance(first, httpx.ReadTimeout)
    assert isinstance(second, httpx.PoolTimeout | httpx.ReadTimeout)


async def test_closing_breaks_off_what_is_under_way() -> None:
    server = Server(silent)
    async with server.serving() as url, direct(url) as client:
        asking = asyncio.create_task(asked(client))
        await server.met.wait()
        await client.aclose()
        with pytest.raises((httpx.ConnectError, httpx.ReadError)):
            await asking


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with Server(saying(SIZED)).serving_on(path):
        client = Direct("http://library", socket=path, verify=trust("http:"), connections=1, read_s=LIMIT_S)
        assert await asked(client) == b"200 " + BODY
        await client.aclose()


def test_where_the_environment_names_a_proxy_httpx_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"verify": trust("http:"), "connections": 1, "read_s": 1.0}
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async def kinds() -> list[type]:
        clients = [client_of("http://a", socket=None, **options), client_of("http://a", socket=Path("s"), **options)]
        for client in clients:
            await client.aclose()
        return [type(client) for client in clients]

    assert asyncio.run(kinds()) == [httpx.AsyncClient, Direct]


async def test_lines_that_are_renewed_leave_nothing_open() -> None:
    server = Server(saying(SIZED, times=9))
    async with server.serving() as url:
        lines = Lines(url, socket=None, verify=trust(url), connections=2, read_s=LIMIT_S)
        for _ in range(3):
            async with lines.stream("GET", "/", headers={}, content=b"") as response:
                assert [piece async for piece in response.aiter_raw()] == [BODY]
            await lines.renew()
        await lines.close()
        assert server.opened == 3


@pytest.mark.skipif(
    shutil.which("openssl") is None, reason="no openssl to make a certificate with: apt install openssl"
)
async def test_over_tls_the_server_must_be_who_it_says(signed: tuple[Path, Path]) -> None:
    key, certificate = signed
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(certificate, key)
    server = Server(saying(SIZED, times=9))
    async with server.serving(tls=theirs) as url:
        trusting, wary = (ssl.create_default_context(cafile=each) for each in (certificate, None))
        client = Direct(url, socket=None, verify=trusting, connections=1, read_s=LIMIT_S)
        size = {"content-length": str(9 * 65_536)}
        assert await asked(client, content=pieces(9), **size) == b"200 " + BODY
        assert await asked(client) == b"200 " + BODY
        await client.aclose()
        assert server.opened == 1
        client = Direct(url, socket=None, verify=wary, connections=1, read_s=LIMIT_S)
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            await asked(client)
        await client.aclose()


class Written(asyncio.Transport):
    """Takes note of each write, which is a system call where the kernel has room."""

    def __init__(self) -> None:
        super().__init__()
        self.ours, self.theirs = socket.socketpair()
        self.writes: list[bytes] = []

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self.ours

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.ours.close()
        self.theirs.close()


async def test_a_small_request_costs_one_write_and_its_answer_one_wake_up() -> None:
    transport, line = Written(), Line(is_secret=False, read_s=LIMIT_S, write_s=LIMIT_S)
    line.connection_made(transport)
    for _ in range(3):
        asking = asyncio.create_task(line.ask(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n", b"{}", 2))
        await asyncio.sleep(0)
        line.data_received(SIZED)
        await asyncio.sleep(0)
        assert asking.done()
        assert line.rest(0.0)
    assert transport.writes == [b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"] * 3
    line.close()
    line.connection_lost(None)
