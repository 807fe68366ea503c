"""Read server-sent events (HTML Living Standard, 9.2) from a streamed HTTP response, with bounded buffers."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from splootd.errors import InvalidResponse
from splootd.remote.pool_share import PoolShare
from splootd.remote.status_mapping import HttpResponse

EVENT_BYTES_MAX = 65_536
CONTENT_TYPE = "text/event-stream"


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event. `last_event_id` resumes the stream after it; '' if the server has not sent an id."""

    event_type: str
    data: str
    last_event_id: str


class SSEParser:
    """Incremental parser: feed it bytes in pieces of any size. Raises InvalidResponse if an event is too large."""

    def __init__(self, last_event_id: str = "") -> None:
        self._buffer = b""
        self._ends_with_cr = False
        self._event_type = ""
        self._data: list[str] = []
        self._size = 0
        self._last_event_id = last_event_id

    def feed(self, piece: bytes) -> list[ServerSentEvent]:
        """Return the events that `piece` completes."""
        # Lines end in CRLF, LF or CR. A CR at the end of a piece ends the line now: waiting for a possible LF would
        # delay the event until the next one. If that LF follows, it must not count as an empty line, which would
        # dispatch the event too early.
        if self._ends_with_cr and piece:
            piece = piece.removeprefix(b"\n")
            self._ends_with_cr = False
        self._ends_with_cr = self._ends_with_cr or piece.endswith(b"\r")
        *lines, self._buffer = (self._buffer + piece).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        if len(self._buffer) > EVENT_BYTES_MAX:
            raise InvalidResponse("the server sent an event that is too large")
        return [event for line in lines if (event := self._process_line(line)) is not None]

    def _process_line(self, raw: bytes) -> ServerSentEvent | None:
        if not raw:
            return self._dispatch_event()
        self._size += len(raw)
        if self._size > EVENT_BYTES_MAX:
            raise InvalidResponse("the server sent an event that is too large")
        name, _, value = raw.decode("utf-8", "replace").removeprefix("\ufeff").partition(":")
        value = value.removeprefix(" ")  # one space only; further ones belong to the value
        match name:  # a comment (": heartbeat") has an empty name; unknown fields are ignored
            case "event":
                self._event_type = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:  # the standard ignores an id that contains NUL
                self._last_event_id = value
        return None

    def _dispatch_event(self) -> ServerSentEvent | None:
        # Without data there is no event, but the id remains: a server can move the position without an event.
        event = (
            ServerSentEvent(self._event_type or "message", "\n".join(self._data), self._last_event_id)
            if self._data
            else None
        )
        self._event_type, self._data, self._size = "", [], 0
        return event


class SSEStream:
    """The events of one response."""

    def __init__(self, pieces: AsyncIterator[bytes], last_event_id: str) -> None:
        self._pieces = pieces
        self._parser = SSEParser(last_event_id)

    async def events(self) -> AsyncIterator[ServerSentEvent]:
        """Iterate until the server ends the stream. Raises InvalidResponse, and the exceptions of the pool."""
        async for piece in self._pieces:
            for event in self._parser.feed(piece):
                yield event


@contextlib.asynccontextmanager
async def open_stream(
    pool: PoolShare, path: str, *, headers: Mapping[str, str], last_event_id: str
) -> AsyncIterator[SSEStream | HttpResponse]:
    """Open the stream at `path`. Yields the head of the response if it is not an event stream.

    Raises the exceptions of the pool.
    """
    request_headers = {**headers, "accept": CONTENT_TYPE}
    if last_event_id:
        request_headers["last-event-id"] = last_event_id
    async with pool.stream("GET", path, headers=request_headers, content=b"") as response:
        content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status_code == HTTPStatus.OK and content_type == CONTENT_TYPE:
            yield SSEStream(response.aiter_raw(), last_event_id)
        else:
            yield HttpResponse(response.status_code, response.headers, b"")
