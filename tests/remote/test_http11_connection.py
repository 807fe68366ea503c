"""HTTP/1.1 connections: a response is complete or an error, however it is cut, and no request is sent twice."""

import asyncio
import contextlib
import itertools
import os
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.remote import connection_pool as pool_module
from splootd.remote.connection_pool import ConnectionPool, RotatingPool
from splootd.remote.http11_connection import (
    BUFFERED_BYTES_MAX,
    HEAD_BYTES_MAX,
    READ_BYTES,
    HTTP11Connection,
    Response,
    StaleConnection,
)
from splootd.remote.pool_share import PoolShare

LIMIT_S = 30.0
BODY = b'{"exists": false}'
SIZED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n%s\r\n9\r\n%s\r\n0\r\nX-Trailer: 1\r\n\r\n" % (
    BODY[:8],
    BODY[8:],
)
UNSIZED = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY
INTERIM = b"HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + SIZED
RESPONSES = {"sized": SIZED, "chunked": CHUNKED, "unsized": UNSIZED, "interim": INTERIM}

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Runs one handler per connection, the last one for all further connections."""

    def __init__(self, *handlers: Handler) -> None:
        self._handlers = list(handlers)
        self.opened = self.open = self.open_max = 0
        self.accepted, self.closed = asyncio.Event(), asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serve(self, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0, ssl=tls)
        async with self._closing(server):
            yield f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    @contextlib.asynccontextmanager
    async def serve_on(self, path: Path) -> AsyncIterator[None]:
        async with self._closing(await asyncio.start_unix_server(self._handle, path)):
            yield

    @contextlib.asynccontextmanager
    async def _closing(self, server: asyncio.Server) -> AsyncIterator[None]:
        try:
            yield
        finally:
            server.close()
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        self.opened, self.open = self.opened + 1, self.open + 1
        self.open_max = max(self.open_max, self.open)
        self.accepted.set()
        handler = self._handlers.pop(0) if len(self._handlers) > 1 else self._handlers[0]
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await handler(reader, writer)
        finally:
            self.open -= 1
            self.closed.set()
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            self._running.discard(task)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Read one complete request."""
    head = await reader.readuntil(b"\r\n\r\n")
    sizes = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + await reader.readexactly(sum(sizes))


def responding(response: bytes, *, times: int = 1) -> Handler:
    """Read a request and send this response, `times` times, then disconnect."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(times):
            await read_request(reader)
            writer.write(response)
            await writer.drain()

    return act


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Read everything and send nothing."""
    while await reader.read(65_536):
        pass


@contextlib.asynccontextmanager
async def open_pool(
    base: str,
    *,
    socket: Path | None = None,
    connections: int = 1,
    read_s: float = LIMIT_S,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[PoolShare]:
    pool = RotatingPool(
        base,
        socket=socket,
        connections_max=connections,
        get_ssl_context=lambda: tls or ssl.create_default_context(),
    )
    try:
        yield PoolShare(pool, read_s=read_s)
    finally:
        await pool.close()


def transport_of(share: PoolShare) -> ConnectionPool:
    assert share._pool._generation is not None
    transport = share._pool._generation.client._transport
    assert isinstance(transport, ConnectionPool)
    return transport


async def send(
    client: PoolShare, method: str = "POST", path: str = "/x", content: Any = b"{}", **headers: str
) -> bytes:
    async with client.stream(method, path, headers=headers, content=content) as response:
        return f"{response.status_code} ".encode() + b"".join([piece async for piece in response.aiter_raw()])


async def pieces(count: int, size: int = 65_536) -> AsyncGenerator[bytes, None]:
    for _ in range(count):
        yield bytes(size)
        await asyncio.sleep(0)


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, Path]:
    """Create a self-signed key and certificate for this machine."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=sploot", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    return key, certificate


# Responses.


@pytest.mark.parametrize("kind", RESPONSES)
async def test_a_response_cut_off_at_any_byte_is_an_error(kind: str) -> None:
    answer = RESPONSES[kind]
    cuts = iter(range(len(answer)))
    whole = answer.index(b"\r\n\r\n") + 4  # after this, a response without a length may end anywhere

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer[: next(cuts)])

    server = Server(cut)
    async with server.serve() as url, open_pool(url) as client:
        for length in range(len(answer)):
            if kind == "unsized" and length >= whole:
                assert await send(client) == b"200 " + answer[whole:length]
            else:
                with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
                    await send(client)


@given(kind=st.sampled_from(list(RESPONSES)), cuts=st.lists(st.integers(0, 200), max_size=20))
def test_a_response_is_the_same_in_pieces_of_any_size(kind: str, cuts: list[int]) -> None:
    answer = RESPONSES[kind]
    marks = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    response = Response(lambda: None, lambda: None, has_body=True)
    for start, end in itertools.pairwise(marks):
        response.feed(answer[start:end])
    response.feed_eof()
    assert (response.status_code, response.is_complete, response.buffered_bytes) == (200, True, len(BODY))
    assert response.is_keep_alive == (kind != "unsized")
    assert "link" not in response.headers
    assert "x-trailer" not in response.headers


@pytest.mark.parametrize("kind", RESPONSES)
async def test_a_response_may_arrive_byte_by_byte(kind: str) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for byte in RESPONSES[kind]:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async with Server(drip).serve() as url, open_pool(url) as client:
        assert await send(client) == b"200 " + BODY


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
    ids=[
        "http2",
        "mail",
        "upgrade",
        "two lengths",
        "length and chunked",
        "bad chunk",
        "endless head",
        "endless interim",
    ],
)
async def test_an_invalid_response_is_an_error(answer: bytes) -> None:
    async with Server(responding(answer)).serve() as url, open_pool(url) as client:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await send(client)


async def test_header_names_are_lower_case_and_repeated_headers_are_joined() -> None:
    answer = b"HTTP/1.1 204 Gone\r\nX-Clerk: A\r\nx-clerk: B\r\n\r\n"
    async with (
        Server(responding(answer)).serve() as url,
        open_pool(url) as client,
        client.stream("GET", "/", headers={}, content=b"") as response,
    ):
        assert (response.status_code, dict(response.headers)) == (204, {"x-clerk": "A, B"})


async def test_an_unread_response_stops_the_server() -> None:
    flooded = asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n" + bytes(50_000_000))
        flooded.set()
        await writer.drain()

    async with (
        Server(flood).serve() as url,
        open_pool(url) as client,
        client.stream("GET", "/", headers={}, content=b"") as response,
    ):
        await flooded.wait()
        for _ in range(1_000):
            await asyncio.sleep(0)
        (connection,) = transport_of(client)._connections
        assert connection._response is not None
        assert connection._response.buffered_bytes <= 3 * BUFFERED_BYTES_MAX
        assert sum([len(piece) async for piece in response.aiter_raw()]) == 50_000_000


# Requests.


async def test_a_request_has_the_given_path_headers_and_body() -> None:
    requests = []

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await read_request(reader))
        writer.write(SIZED)

    async with Server(act).serve() as url, open_pool(f"{url}/prefix/") as client:
        await send(client, "POST", "/api?a=b", b"{}", authorization="Bearer t")
    head, _, body = requests[0].partition(b"\r\n\r\n")
    first, *fields = head.decode().split("\r\n")
    assert (first, body) == ("POST /prefix/api?a=b HTTP/1.1", b"{}")
    assert {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)} == {
        "host": url.removeprefix("http://"),
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "splootd",
        "authorization": "Bearer t",
        "content-length": "2",
    }


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\nb", "\0", "ü"])
async def test_a_header_value_cannot_inject_a_header(value: str) -> None:
    async with open_pool("http://127.0.0.1:9") as client:
        with pytest.raises(httpx.LocalProtocolError):
            await send(client, authorization=value)


async def test_a_body_of_many_pieces_is_sent_in_full() -> None:
    received = []

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(len(await read_request(reader)))
        writer.write(SIZED)

    async with Server(act).serve() as url, open_pool(url) as client:
        assert await send(client, content=pieces(100), **{"content-length": str(100 * 65_536)}) == b"200 " + BODY
    assert received[0] > 100 * 65_536


@pytest.mark.parametrize("announced", [1, 3 * 65_536])
async def test_a_body_of_a_different_length_than_announced_is_an_error(announced: int) -> None:
    server = Server(silent)
    async with server.serve() as url, open_pool(url) as client:
        with pytest.raises(httpx.LocalProtocolError):
            await send(client, content=pieces(2), **{"content-length": str(announced)})
        async with asyncio.timeout(LIMIT_S):
            await server.closed.wait()


@pytest.mark.parametrize("resets", [False, True], ids=["disconnects", "resets"])
async def test_a_rejection_is_received_while_the_body_is_being_sent(resets: bool) -> None:
    """As by a proxy that finds an upload too large: it responds and reads no further."""
    rejection, closed = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno", 0

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(rejection)
        await writer.drain()
        if resets:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    async def body() -> AsyncGenerator[bytes, None]:
        nonlocal closed
        try:
            async for piece in pieces(10_000):
                yield piece
        finally:
            closed += 1

    async with Server(refuse).serve() as url, open_pool(url) as client:
        for _ in range(5):
            with contextlib.suppress(httpx.TransportError) if resets else contextlib.nullcontext():
                size = {"content-length": str(10_000 * 65_536)}
                assert await send(client, content=body(), **size) == b"413 no"
    assert closed == 5


async def test_a_response_in_the_receive_buffer_is_read_after_a_failed_write() -> None:
    """The event loop may notice a failed write before it has read the response in the receive buffer."""
    answer = b"HTTP/1.1 429 Later\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"

    async def body() -> AsyncGenerator[bytes, None]:
        yield bytes(65_536)
        peer, _ = listener.accept()
        peer.settimeout(LIMIT_S)
        peer.recv(200_000)
        peer.sendall(answer)
        peer.close()
        for _ in range(200):  # without letting the event loop read
            yield bytes(65_536)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with open_pool(f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            assert await send(client, content=body(), **{"content-length": str(201 * 65_536)}) == b"429 "


async def test_a_server_that_reads_nothing_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "WRITE_TIMEOUT_S", 0.05)

    async def deaf(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with Server(deaf).serve() as url, open_pool(url) as client:
        with pytest.raises(httpx.WriteTimeout):
            await send(client, content=pieces(1_000), **{"content-length": str(1_000 * 65_536)})


async def test_a_server_that_sends_nothing_times_out() -> None:
    async with Server(silent).serve() as url, open_pool(url, read_s=0.05) as client:
        with pytest.raises(httpx.ReadTimeout):
            await send(client)


async def test_a_response_that_stops_times_out() -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(SIZED[:-1])
        await asyncio.Event().wait()

    async with Server(stall).serve() as url, open_pool(url, read_s=0.05) as client:
        with pytest.raises(httpx.ReadTimeout):
            await send(client)


async def test_a_refused_connection_is_an_error_before_anything_is_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with open_pool(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(httpx.ConnectError) as caught:
            await send(client)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


# Reuse of connections.


@pytest.mark.parametrize(
    ("response", "connections"),
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
async def test_a_connection_is_reused_only_after_a_complete_response(response: bytes, connections: int) -> None:
    server = Server(responding(response, times=1 if response is UNSIZED else 3))
    async with server.serve() as url, open_pool(url) as client:
        for _ in range(3):
            assert await send(client) == b"200 " + BODY
        assert (server.opened, server.open_max <= 1) == (connections, True)


async def test_a_connection_with_an_unread_response_is_not_reused() -> None:
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n" + bytes(5_000_000)
    server = Server(responding(long), responding(SIZED))
    async with server.serve() as url, open_pool(url) as client:
        async with client.stream("GET", "/", headers={}, content=b""):
            pass
        assert await send(client) == b"200 " + BODY
    assert server.opened == 2


async def test_no_request_uses_a_connection_that_the_server_has_just_closed() -> None:
    """Even if the event loop has not noticed it yet: the kernel is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        async with open_pool(f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            for _ in range(20):
                request = asyncio.create_task(send(client))
                peer, _ = await loop.sock_accept(listener)
                await loop.sock_recv(peer, 65_536)
                await loop.sock_sendall(peer, SIZED)
                assert await request == b"200 " + BODY
                peer.close()


@pytest.mark.parametrize("bytes_sent", [0, 1])
async def test_a_reused_connection_closed_before_the_first_byte_is_stale(bytes_sent: int) -> None:
    """Only then is it certain enough that the server never handled the request."""

    async def close_on_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await responding(SIZED)(reader, writer)
        await read_request(reader)
        writer.write(SIZED[:bytes_sent])

    server = Server(close_on_second)
    async with server.serve() as url, open_pool(url, connections=2) as client:
        await asyncio.gather(send(client), send(client))
        assert server.open == 2
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)) as caught:
            await send(client)
        assert isinstance(caught.value, StaleConnection) == (bytes_sent == 0)
        if not bytes_sent:  # the other idle connection is closed, too
            assert await send(client) == b"200 " + BODY
            assert server.opened == 3


async def test_a_fresh_connection_closed_before_the_first_byte_is_not_stale() -> None:
    async with Server(responding(b"")).serve() as url, open_pool(url) as client:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)) as caught:
            await send(client)
    assert not isinstance(caught.value, StaleConnection)


async def test_an_expired_idle_connection_is_not_reused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "KEEPALIVE_EXPIRY_S", 0.0)
    server = Server(responding(SIZED, times=9))
    async with server.serve() as url, open_pool(url) as client:
        await send(client)
        await send(client)
        assert (server.opened, server.open_max) == (2, 1)


async def test_unexpected_data_on_an_idle_connection_closes_it() -> None:
    async def chatty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(SIZED)
        await writer.drain()
        await asyncio.sleep(0)
        writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    server = Server(chatty)
    async with server.serve() as url, open_pool(url) as client:
        for _ in range(3):
            assert await send(client) == b"200 " + BODY


async def test_a_cancelled_request_closes_its_connection() -> None:
    server = Server(silent, responding(SIZED))
    async with server.serve() as url, open_pool(url) as client:
        request = asyncio.create_task(send(client))
        await server.accepted.wait()
        request.cancel()
        await asyncio.wait([request])
        async with asyncio.timeout(LIMIT_S):
            await server.closed.wait()
        assert await send(client) == b"200 " + BODY


async def test_the_connection_limit_holds_through_all_failures() -> None:
    server = Server(
        responding(UNSIZED), responding(SIZED, times=2), silent, responding(SIZED + b"x"), responding(SIZED)
    )
    async with server.serve() as url, open_pool(url, connections=3, read_s=0.5) as client:
        results = await asyncio.gather(*(send(client) for _ in range(30)), return_exceptions=True)
        assert sum(result == b"200 " + BODY for result in results) >= 25
    assert server.open_max <= 3


async def test_a_request_waits_for_a_connection_and_times_out() -> None:
    async with Server(silent).serve() as url, open_pool(url, read_s=0.05) as client:
        first, second = await asyncio.gather(send(client), send(client), return_exceptions=True)
    assert isinstance(first, httpx.ReadTimeout)
    assert isinstance(second, httpx.PoolTimeout | httpx.ReadTimeout)


async def test_close_aborts_requests_in_progress() -> None:
    server = Server(silent)
    async with server.serve() as url, open_pool(url) as client:
        request = asyncio.create_task(send(client))
        await server.accepted.wait()
        await client._pool.close()
        with pytest.raises((httpx.ConnectError, httpx.ReadError)):
            await request


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with Server(responding(SIZED)).serve_on(path), open_pool("http://library", socket=path) as client:
        assert await send(client) == b"200 " + BODY


async def test_rotated_pools_leave_no_connection_open() -> None:
    server = Server(responding(SIZED, times=9))
    async with server.serve() as url:
        pool = RotatingPool(url, socket=None, connections_max=2)
        for _ in range(3):
            async with PoolShare(pool, read_s=LIMIT_S).stream("GET", "/", headers={}, content=b"") as response:
                assert [piece async for piece in response.aiter_raw()] == [BODY]
            await pool.rotate()
        await pool.close()
        assert server.opened == 3


@pytest.mark.skipif(
    shutil.which("openssl") is None, reason="no openssl to make a certificate with: apt install openssl"
)
async def test_over_tls_the_certificate_is_verified(signed: tuple[Path, Path]) -> None:
    key, certificate = signed
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(certificate, key)
    large = os.urandom(5 * READ_BYTES + 1)
    sized = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(large), large)
    server = Server(responding(sized, times=9))
    async with server.serve(tls=theirs) as url:
        trusting, wary = (ssl.create_default_context(cafile=each) for each in (certificate, None))
        async with open_pool(url, tls=trusting) as client:
            size = {"content-length": str(9 * 65_536)}
            assert await send(client, content=pieces(9), **size) == b"200 " + large
            assert await send(client) == b"200 " + large
        assert server.opened == 1
        async with open_pool(url, tls=wary) as client:
            with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
                await send(client)


class RecordingTransport(asyncio.Transport):
    """Records each write: it is one system call if the kernel has buffer space."""

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


async def test_a_small_request_takes_one_write_and_its_response_one_wake_up() -> None:
    transport, connection = RecordingTransport(), HTTP11Connection(is_tls=False)
    timeouts = {"read": LIMIT_S, "write": LIMIT_S}
    connection.connection_made(transport)
    for _ in range(3):
        request = asyncio.create_task(
            connection.send_request(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n", b"{}", 2, timeouts=timeouts)
        )
        await asyncio.sleep(0)
        connection.get_buffer(-1)[: len(SIZED)] = SIZED
        connection.buffer_updated(len(SIZED))
        await asyncio.sleep(0)
        assert request.done()
        assert connection.release(0.0)
    assert transport.writes == [b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"] * 3
    connection.close()
    connection.connection_lost(None)
