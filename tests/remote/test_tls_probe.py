"""The TLS probe: whether the server can be reached, and the clock skew."""

import asyncio
import email.utils
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from splootd.clock import Clock
from splootd.errors import Unreachable
from splootd.remote.tls_probe import probe

HOUR_S = 3600.0


@asynccontextmanager
async def responding(response: bytes) -> AsyncIterator[str]:
    """Run a server that sends the same response to every request; yield its URL."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_the_clock_skew_is_measured():
    clock = Clock()
    date = email.utils.formatdate(clock.now() - HOUR_S, usegmt=True)
    async with responding(f"HTTP/1.1 200 OK\r\nDate: {date}\r\n\r\n".encode()) as url:
        result = await probe(url, clock)
    assert result.clock_skew_s == pytest.approx(HOUR_S, abs=60)
    assert (result.tls_version, result.certificate_expires_in_s) == (None, None)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nDate: yesterday\r\n\r\n"])
async def test_without_a_date_the_clock_skew_is_unknown(head: bytes):
    async with responding(head) as url:
        assert (await probe(url, Clock())).clock_skew_s is None


async def test_a_refused_connection_is_unreachable():
    with pytest.raises(Unreachable):
        await probe("http://127.0.0.1:1", Clock())


async def test_a_truncated_response_is_unreachable():
    async with responding(b"HTTP/1.1 200 OK\r\n") as url:
        with pytest.raises(Unreachable):
            await probe(url, Clock())
        with pytest.raises(Unreachable):
            await probe(url.replace("http:", "https:"), Clock())
