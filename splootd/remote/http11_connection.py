"""Client side of one HTTP/1.1 connection (RFC 9112), one request at a time. Raises the exceptions of httpx.

A request costs a tenth of the processor time that httpx needs. The connection reads while the request body is still
being sent (RFC 9112, 9.5): a server that rejects an upload need not receive the rest of it, and its response is read
even if it closes the connection right after it.
"""

import asyncio
import os
import select
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any

import httptools
import httpx

HEAD_BYTES_MAX = 65_536  # of headers, chunk headers and trailers between two pieces of the body
BUFFERED_BYTES_MAX = 262_144  # of an unread body; above it the connection stops reading from the socket
READ_BYTES = 65_536  # per read
INFORMATIONAL_STATUS_MAX = 199  # 1xx: another response follows (RFC 9110, 15.2)


class Response:
    """One response, filled by the parser: the head once `has_headers` is true, the body as it arrives."""

    def __init__(self, resume: Callable[[], None], wait_for_data: Callable[[], Any], *, has_body: bool) -> None:
        self.status_code = 0
        self.headers: dict[str, str] = {}  # names in lower case
        self.has_started = False  # a byte of it has arrived
        self.has_headers = self.is_complete = self.is_keep_alive = False
        self.buffered_bytes = 0
        self._head_bytes = 0
        self._pieces: deque[bytes] = deque()
        self._resume = resume
        self._wait_for_data = wait_for_data
        self._has_body = has_body
        self._parser: Any = httptools.HttpResponseParser(self)

    def feed(self, data: bytes | memoryview) -> None:
        """Parse received bytes. Raises httptools.HttpParserError if they are not exactly one response."""
        self.has_started = True
        self._head_bytes += len(data)
        self._parser.feed_data(data)
        if self._head_bytes > HEAD_BYTES_MAX:
            raise httptools.HttpParserError(f"more than {HEAD_BYTES_MAX} bytes of headers")

    def feed_eof(self) -> None:
        """Handle the end of the stream.

        It completes the body only if no header gives its length (RFC 9112, 6.3, rule 8). Otherwise the response is
        truncated and must not be used (RFC 9112, 8).
        """
        if self.has_headers and not {"content-length", "transfer-encoding"} & self.headers.keys():
            self.is_complete = True

    def detach(self) -> None:
        """Drop the parser and the unread body. Parser and response refer to each other and would wait for the GC."""
        self._parser = None
        self._pieces.clear()

    async def aiter_raw(self) -> AsyncIterator[bytes]:
        """Iterate over the body as it arrives, without decoding a content coding."""
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self.buffered_bytes -= len(piece)
                yield piece
            if self.is_complete:
                return
            self._resume()
            await self._wait_for_data()

    # Callbacks of the parser.

    def on_message_begin(self) -> None:
        # Bytes behind a complete response belong to no request. Reading them as the response to the next request
        # would shift every later response by one (RFC 9112, 9.2).
        if self.is_complete:
            raise ValueError("more than one response")

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers arrive through the same callback. They must not overwrite headers (RFC 9110, 6.5.1).
        if self.has_headers:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status <= INFORMATIONAL_STATUS_MAX:  # 100 Continue, 103 Early Hints: not the response itself
            self.headers.clear()
            return
        self.status_code, self.has_headers, self._head_bytes = status, True, 0
        self.is_keep_alive = self._parser.should_keep_alive()
        self.is_complete = not self._has_body

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.buffered_bytes += len(piece)
        self._head_bytes = 0

    def on_message_complete(self) -> None:
        self.is_complete = self.has_headers  # false after a 1xx response


class StaleConnection(httpx.RemoteProtocolError):
    """A reused connection was closed before the first byte of a response: the server had probably closed it before.

    RFC 9112, 9.3.1: the request may be sent again, once, if it is safe to repeat.
    """


class HTTP11Connection(asyncio.BufferedProtocol):
    """One connection: `send_request`, read the response, `release`; reusable while `is_reusable` returns true.

    It reads into one buffer: a plain protocol allocates 256 KB for each read, which costs ten times the system call.
    `is_tls`: the bytes on the socket are encrypted, so they cannot be parsed behind the back of the transport.
    """

    def __init__(self, *, is_tls: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self.closed = self._loop.create_future()
        self._is_tls = is_tls
        self._read_s = self._write_s = 0.0  # of the current request
        self._is_reused = False
        self.is_stale = False
        self._transport: asyncio.Transport | None = None
        self._response: Response | None = None
        self._error: httpx.TransportError | None = None  # why no more bytes arrive
        self._is_write_paused = False  # the transport's write buffer is full
        self._is_read_paused = False
        self._is_request_sent = True
        self._waiter: asyncio.Future[bool] | None = None
        self._idle_since = 0.0
        self._received = memoryview(bytearray(READ_BYTES))
        self._poll = select.poll()

    @property
    def is_closing(self) -> bool:
        """Whether the connection is closed. Its socket may still be open."""
        return self._transport is None or self._transport.is_closing()

    async def send_request(
        self,
        head: bytes,
        body: bytes | AsyncIterable[bytes],
        size: int,
        *,
        timeouts: Mapping[str, float],
        has_body: bool = True,
    ) -> Response:
        """Send a request with a body of `size` bytes and wait for the head of the response. Never sends twice.

        `has_body` is False for HEAD: its response has no body, although its headers may announce one (RFC 9112, 6.3,
        rule 1). `timeouts` has the seconds for `read` and `write`. Raises StaleConnection.
        """
        assert self._transport is not None
        self._read_s, self._write_s = timeouts["read"], timeouts["write"]
        response = self._response = Response(self._resume, self._wait_for_body, has_body=has_body)
        try:
            await self._exchange(head, body, size, response)
        except (httpx.ReadError, httpx.RemoteProtocolError) as error:
            if self._is_reused and not response.has_started:
                self.is_stale = True
                raise StaleConnection(str(error)) from error
            raise
        return response

    def release(self, now: float) -> bool:
        """End an exchange. Return whether the connection can be reused; close it if not.

        The request must have been sent in full: a server that responded early would read the rest of the body as the
        next request (RFC 9112, 9.3).
        """
        response, self._response = self._response, None
        is_reusable = (
            response is not None
            and response.is_complete
            and response.is_keep_alive
            and self._is_request_sent
            and self._error is None
            and self._transport is not None
            and not self._transport.get_write_buffer_size()
        )
        if response is not None:
            response.detach()
        self._idle_since = now
        self._is_reused = True
        if not is_reusable:
            self.close()
        return is_reusable

    def is_reusable(self, now: float, idle_max_s: float) -> bool:
        """Return whether an idle connection can be used for another request.

        The event loop may not have seen the server's FIN yet, so the kernel is asked as well: a readable idle socket
        is closed or holds unexpected data. Either way a request on it would fail or get the wrong response.
        """
        is_recent = now - self._idle_since < idle_max_s
        return is_recent and self._error is None and not self._poll.poll(0)

    def close(self) -> None:
        """Abort the connection without flushing. The future `closed` completes once the socket is closed."""
        self._is_reused = False  # a request that fails by this may not be sent again
        if self._transport is not None:
            self._transport.abort()

    # Callbacks of the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._received

    def buffer_updated(self, nbytes: int) -> None:
        if self._response is None:  # never take it for the response to the next request (RFC 9112, 9.2)
            self._fail(httpx.RemoteProtocolError("unexpected data on an idle connection"))
            return
        try:
            self._response.feed(self._received[:nbytes])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._response.is_keep_alive = False
            self._fail(httpx.RemoteProtocolError(f"the response is not valid HTTP/1.1: {error}"))
            return
        if (
            self._response.buffered_bytes > BUFFERED_BYTES_MAX
            and not self._is_read_paused
            and self._transport is not None
        ):
            self._is_read_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        if self._response is not None:
            self._response.feed_eof()
        self._fail(httpx.RemoteProtocolError("the server closed the connection before the response was complete"))

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self._error is None and self._response is not None and not self._is_tls:
            self._drain_socket()
        error = httpx.ReadError(str(exc) or "the connection was lost")
        error.__cause__ = exc
        self._fail(error)
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._is_write_paused = True

    def resume_writing(self) -> None:
        self._is_write_paused = False
        self._wake()

    async def _exchange(self, head: bytes, body: bytes | AsyncIterable[bytes], size: int, response: Response) -> None:
        assert self._transport is not None
        self._is_request_sent = False
        if isinstance(body, bytes):
            self._transport.write(head + body)
            self._is_request_sent = True
        else:
            self._transport.write(head)
            self._is_request_sent = await self._send_body(body, size, response)
        while not response.has_headers:
            await self._wait_for_event(self._read_s, httpx.ReadTimeout)

    async def _send_body(self, body: AsyncIterable[bytes], size: int, response: Response) -> bool:
        """Send the body. Return whether all of it was sent: sending stops once the server responds or disconnects.

        A server that rejects an upload may respond before it has read the body. Going on would waste the upload, and
        on a connection that the server has closed it would end in a reset that discards the response.
        """
        assert self._transport is not None
        async for piece in body:
            if response.has_headers or self._error is not None:
                return False
            size -= len(piece)
            self._transport.write(piece)
            while self._is_write_paused and not response.has_headers and self._error is None:
                await self._wait_until_writable()
        if size:
            raise httpx.LocalProtocolError(f"the body differs from its content-length by {-size:+} bytes")
        return not self._is_write_paused

    async def _wait_until_writable(self) -> None:
        """Wait for the next event. Raise WriteTimeout only if the server accepted no byte in the meantime."""
        assert self._transport is not None
        before = self._transport.get_write_buffer_size()
        try:
            await self._wait_for_event(self._write_s, httpx.WriteTimeout)
        except httpx.WriteTimeout:
            if self._transport.get_write_buffer_size() >= before:
                raise

    async def _wait_for_body(self) -> None:
        await self._wait_for_event(self._read_s, httpx.ReadTimeout)

    async def _wait_for_event(self, timeout_s: float, timeout_error: type[httpx.TimeoutException]) -> None:
        """Wait for the next event on the connection. Raise its error if there can be no further event."""
        if self._error is not None:
            raise self._error
        self._waiter = waiter = self._loop.create_future()
        alarm = self._loop.call_later(timeout_s, self._wake, False)
        try:
            has_event = await waiter
        finally:
            self._waiter = None
            alarm.cancel()
        if not has_event:
            raise timeout_error(f"no progress for {timeout_s:.0f} s")

    def _resume(self) -> None:
        if self._is_read_paused and self._error is None and self._transport is not None:
            self._is_read_paused = False
            self._transport.resume_reading()

    def _wake(self, has_event: bool = True) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(has_event)

    def _fail(self, error: httpx.TransportError) -> None:
        """Record that no more bytes arrive, and why. Only the first error is kept."""
        if self._error is None:
            self._error = error
            if self._transport is not None:
                self._transport.abort()
        self._wake()

    def _drain_socket(self) -> None:
        """Read the response that a server sent before it reset the connection.

        asyncio stops reading when a write fails (EPIPE, ECONNRESET), but the reason, a 413 for example, may already be
        in the kernel's receive buffer (RFC 9112, 9.6). Through TLS these bytes would be ciphertext.
        """
        assert self._transport is not None
        assert self._response is not None
        descriptor = self._transport.get_extra_info("socket").fileno()
        with suppress(OSError, httptools.HttpParserError, httptools.HttpParserUpgrade):
            while self._response.buffered_bytes < BUFFERED_BYTES_MAX and (left := os.read(descriptor, READ_BYTES)):
                self._response.feed(left)
            self._response.feed_eof()
