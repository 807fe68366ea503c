"""HTTP/1.1 as a client speaks it (RFC 9112), one exchange at a time on a line. Raises what httpx raises.

A request costs a tenth of what it costs through httpx. The answer is listened for while the request is still being
sent: a server that has refused an upload need not take the rest of it, and its word is heard even when it hangs up.
"""

import asyncio
import os
import select
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import httptools
import httpx

HEAD_BYTES_MAX = 65_536  # of all that an answer holds besides its body, between two pieces of it
HELD_BYTES_MAX = 262_144  # of a body that nobody has read yet; then the server has to wait
READ_BYTES = 65_536  # at once, of what was left behind
LAST_INTERIM = 199  # statuses up to here announce another answer


class Response:
    """One answer: its head, once `has_head`; its body as it comes in. The parser fills it."""

    def __init__(self, resume: Callable[[], None], more: Callable[[], Any], *, has_body: bool) -> None:
        self.status_code = 0
        self.headers: dict[str, str] = {}  # names in lower case
        self.has_head = self.is_whole = self.keeps_alive = False
        self.held_bytes = 0
        self._silent_bytes = 0
        self._pieces: deque[bytes] = deque()
        self._resume = resume
        self._more = more
        self._has_body = has_body
        self._parser: Any = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Raises httptools.HttpParserError for what is no answer, or more than one."""
        self._silent_bytes += len(data)
        self._parser.feed_data(data)
        if self._silent_bytes > HEAD_BYTES_MAX:
            raise httptools.HttpParserError("the head of the answer does not end")

    def end(self) -> None:
        """The server sends nothing more: without another measure that is the end of the body (RFC 9112, 6.3, 8)."""
        if self.has_head and not {"content-length", "transfer-encoding"} & self.headers.keys():
            self.is_whole = True

    def leave(self) -> None:
        """Nobody reads on: the parser and this, which know each other, part."""
        self._parser = None
        self._pieces.clear()

    async def aiter_raw(self) -> AsyncIterator[bytes]:
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self.held_bytes -= len(piece)
                yield piece
            if self.is_whole:
                return
            self._resume()
            await self._more()

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self.is_whole:
            raise ValueError("more than one answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.has_head:  # a trailer, of which nothing is expected
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status <= LAST_INTERIM:
            self.headers.clear()
            return
        self.status_code, self.has_head, self._silent_bytes = status, True, 0
        self.keeps_alive = self._parser.should_keep_alive()
        self.is_whole = not self._has_body

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.held_bytes += len(piece)
        self._silent_bytes = 0

    def on_message_complete(self) -> None:
        self.is_whole = self.has_head


class Line(asyncio.Protocol):
    """One connection. `ask`, read the answer, `rest`; then it may be asked again while it `is_fresh`.

    `is_secret`: the bytes of the socket are not those of the answer.
    """

    def __init__(self, *, is_secret: bool, read_s: float, write_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.gone = self._loop.create_future()
        self._is_secret = is_secret
        self._read_s = read_s
        self._write_s = write_s
        self._transport: asyncio.Transport | None = None
        self._response: Response | None = None
        self._fault: httpx.TransportError | None = None  # why no more comes in
        self._is_full = False  # what was written last has still to go out
        self._is_paused = False
        self._is_sent = True
        self._waiter: asyncio.Future[bool] | None = None
        self._resting_since = 0.0
        self._poll = select.poll()

    @property
    def is_closing(self) -> bool:
        """Closed, with its socket perhaps still open."""
        return self._transport is None or self._transport.is_closing()

    async def ask(
        self, head: bytes, body: bytes | AsyncIterator[bytes], size: int, *, has_body: bool = True
    ) -> Response:
        """Send a request with a body of `size` bytes, and wait for the head of its answer. Nothing is sent twice.

        `has_body`: whether a body follows the head of the answer, which to HEAD it does not, whatever that says.
        """
        assert self._transport is not None
        response = self._response = Response(self._resume, self._body_news, has_body=has_body)
        self._is_sent = False
        if isinstance(body, bytes):
            self._transport.write(head + body)
            self._is_sent = True
        else:
            self._transport.write(head)
            self._is_sent = await self._send(body, size, response)
        while not response.has_head:
            await self._news(self._read_s, httpx.ReadTimeout)
        return response

    def rest(self, now: float) -> bool:
        """After an answer: whether the line can be asked again. It is closed if not."""
        response, self._response = self._response, None
        reusable = (
            response is not None
            and response.is_whole
            and response.keeps_alive
            and self._is_sent
            and self._fault is None
            and self._transport is not None
            and not self._transport.get_write_buffer_size()
        )
        if response is not None:
            response.leave()
        self._resting_since = now
        if not reusable:
            self.close()
        return reusable

    def is_fresh(self, now: float, rest_s_max: float) -> bool:
        """Whether nothing speaks against a request: what the kernel knows of its end counts, too."""
        rested = now - self._resting_since < rest_s_max
        return rested and self._fault is None and not self._poll.poll(0)

    def close(self) -> None:
        """At once; `gone` is done when the socket is closed."""
        if self._transport is not None:
            self._transport.abort()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if self._response is None:  # nobody has asked
            self._end(httpx.RemoteProtocolError("the server spoke unasked"))
            return
        try:
            self._response.feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._response.keeps_alive = False
            self._end(httpx.RemoteProtocolError(f"the answer is no HTTP/1.1: {error}"))
            return
        if self._response.held_bytes > HELD_BYTES_MAX and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        if self._response is not None:
            self._response.end()
        self._end(httpx.RemoteProtocolError("the server hung up before its answer was complete"))

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self._fault is None and self._response is not None and not self._is_secret:
            self._read_what_is_left()
        fault = httpx.ReadError(str(exc) or "the line broke")
        fault.__cause__ = exc
        self._end(fault)
        if not self.gone.done():
            self.gone.set_result(None)

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._wake()

    async def _send(self, body: AsyncIterator[bytes], size: int, response: Response) -> bool:
        """Whether all of it has gone out: once the server has answered or hung up, nothing more is sent."""
        assert self._transport is not None
        try:
            async for piece in body:
                if response.has_head or self._fault is not None:
                    return False
                size -= len(piece)
                self._transport.write(piece)
                while self._is_full and not response.has_head and self._fault is None:
                    await self._room()
        finally:
            if (close := getattr(body, "aclose", None)) is not None:
                await close()
        if size:
            raise httpx.LocalProtocolError(f"the body is {-size:+} bytes off its announced length")
        return not self._is_full

    async def _room(self) -> None:
        """Until something has happened. WriteTimeout when nothing at all has gone out meanwhile."""
        assert self._transport is not None
        before = self._transport.get_write_buffer_size()
        try:
            await self._news(self._write_s, httpx.WriteTimeout)
        except httpx.WriteTimeout:
            if self._transport.get_write_buffer_size() >= before:
                raise

    async def _body_news(self) -> None:
        await self._news(self._read_s, httpx.ReadTimeout)

    async def _news(self, patience_s: float, late: type[httpx.TimeoutException]) -> None:
        """Until something has happened on the line. Raises its fault when nothing more can happen."""
        if self._fault is not None:
            raise self._fault
        self._waiter = waiter = self._loop.create_future()
        alarm = self._loop.call_later(patience_s, self._wake, False)
        try:
            is_news = await waiter
        finally:
            self._waiter = None
            alarm.cancel()
        if not is_news:
            raise late(f"nothing happened for {patience_s:.0f} s")

    def _resume(self) -> None:
        if self._is_paused and self._fault is None and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()

    def _wake(self, is_news: bool = True) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(is_news)

    def _end(self, fault: httpx.TransportError) -> None:
        """Nothing more comes in; the first fault stays."""
        if self._fault is None:
            self._fault = fault
            self.close()
        self._wake()

    def _read_what_is_left(self) -> None:
        """The sending has failed, so the transport reads no more; but the server may have said why."""
        assert self._transport is not None
        assert self._response is not None
        descriptor = self._transport.get_extra_info("socket").fileno()
        with suppress(OSError, httptools.HttpParserError, httptools.HttpParserUpgrade):
            while self._response.held_bytes < HELD_BYTES_MAX and (left := os.read(descriptor, READ_BYTES)):
                self._response.feed(left)
            self._response.end()
