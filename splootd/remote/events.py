"""Server-sent events (HTML standard, part 9.2), read from an HTTP answer that does not end, within bounds."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from splootd.errors import BadAnswer
from splootd.remote.lines import Lines
from splootd.remote.verdict import Answer

EVENT_BYTES_MAX = 65_536
KIND = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Event:
    """`last_id` is what to give back to hear what follows, '' if the server has never said."""

    kind: str
    data: str
    last_id: str


class Parser:
    """Bytes in, however they are cut; events out. Raises BadAnswer for one that does not end."""

    def __init__(self, last_id: str = "") -> None:
        self._rest = b""
        self._after_return = False
        self._kind = ""
        self._data: list[str] = []
        self._size = 0
        self._last_id = last_id

    def feed(self, piece: bytes) -> list[Event]:
        """The events that `piece` completes."""
        if self._after_return and piece:  # of a line break cut in two
            piece = piece.removeprefix(b"\n")
            self._after_return = False
        self._after_return = self._after_return or piece.endswith(b"\r")
        *lines, self._rest = (self._rest + piece).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        if len(self._rest) > EVENT_BYTES_MAX:
            raise BadAnswer("an event of the server does not end")
        return [event for line in lines if (event := self._line(line)) is not None]

    def _line(self, raw: bytes) -> Event | None:
        if not raw:
            return self._end()
        self._size += len(raw)
        if self._size > EVENT_BYTES_MAX:
            raise BadAnswer("an event of the server does not end")
        name, _, value = raw.decode("utf-8", "replace").removeprefix("\ufeff").partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._kind = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._last_id = value
        return None

    def _end(self) -> Event | None:
        event = Event(self._kind or "message", "\n".join(self._data), self._last_id) if self._data else None
        self._kind, self._data, self._size = "", [], 0
        return event


class Stream:
    """An answer that is being read."""

    def __init__(self, pieces: AsyncIterator[bytes], last_id: str) -> None:
        self._pieces = pieces
        self._parser = Parser(last_id)

    async def events(self) -> AsyncIterator[Event]:
        """Until the server ends it. Raises BadAnswer, and what `Lines` raises."""
        async for piece in self._pieces:
            for event in self._parser.feed(piece):
                yield event


@contextlib.asynccontextmanager
async def opened(
    lines: Lines, path: str, *, headers: Mapping[str, str], last_id: str
) -> AsyncIterator[Stream | Answer]:
    """The stream at `path`, or the head of the answer that was given instead. Raises what `lines` raises."""
    asked = {**headers, "accept": KIND}
    if last_id:
        asked["last-event-id"] = last_id
    async with lines.stream("GET", path, headers=asked, content=b"") as response:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status_code == HTTPStatus.OK and kind == KIND:
            yield Stream(response.aiter_raw(), last_id)
        else:
            yield Answer(response.status_code, response.headers, b"")
