"""What a look at the line to a server tells: whether there is one, and how far the clocks are apart."""

import asyncio
import email.utils
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from splootd.clock import Clock
from splootd.errors import Unreachable
from splootd.remote.inspection import inspect

HOUR_S = 3600.0


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """A server that says the same to everybody; its address."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_the_distance_between_the_clocks_is_seen():
    clock = Clock()
    date = email.utils.formatdate(clock.now() - HOUR_S, usegmt=True)
    async with answering(f"HTTP/1.1 200 OK\r\nDate: {date}\r\n\r\n".encode()) as url:
        line = await inspect(url, clock)
    assert line.skew_s == pytest.approx(HOUR_S, abs=60)
    assert (line.tls, line.certificate_left_s) == (None, None)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nDate: yesterday\r\n\r\n"])
async def test_a_server_that_tells_no_time_is_not_guessed_at(head: bytes):
    async with answering(head) as url:
        assert (await inspect(url, Clock())).skew_s is None


async def test_no_line_is_an_error_of_our_own():
    with pytest.raises(Unreachable):
        await inspect("http://127.0.0.1:1", Clock())


async def test_an_answer_without_an_end_is_an_error_of_our_own():
    async with answering(b"HTTP/1.1 200 OK\r\n") as url:
        with pytest.raises(Unreachable):
            await inspect(url, Clock())
        with pytest.raises(Unreachable):
            await inspect(url.replace("http:", "https:"), Clock())
