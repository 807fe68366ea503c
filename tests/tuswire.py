"""A proxy that reads what a client of tus and its server say, counts the bytes, and kills at any of them."""

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

START_S = 30.0
READ_BYTES = 64 * 1024
ASKS = -1  # a HEAD sends nothing from anywhere on
FIELD = re.compile(rb"^([\w-]+): *(.*?)\r?$", re.MULTILINE)


@dataclass
class Message:
    """The head of a request or an answer."""

    line: str
    headers: dict[str, str]

    def number(self, name: str) -> int | None:
        return int(self.headers[name]) if name in self.headers else None


@dataclass
class Part:
    """One PATCH: what was sent from `start` on, and up to where the server said it has the file then, if it did."""

    path: str
    start: int
    sent: int = 0
    reached: int | None = None


@dataclass
class Wire:
    """Between a client and the server on `socket`. `kills` are what to do once so many bytes of parts have come by."""

    socket: Path
    parts: list[Part] = field(default_factory=list)
    told: list[int] = field(default_factory=list)  # the offsets that a HEAD was answered with
    kills: list[tuple[int, Callable[[], None]]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def sent(self) -> int:
        return sum(part.sent for part in self.parts)

    @contextlib.contextmanager
    def running(self) -> Iterator["Wire"]:
        """In a thread of its own, which stands still while somebody is killed."""
        started, loop = threading.Event(), asyncio.new_event_loop()
        ended = asyncio.Event()

        async def serve() -> None:
            server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            started.set()
            await ended.wait()
            server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        thread = threading.Thread(target=lambda: asyncio.Runner(loop_factory=lambda: loop).run(serve()))
        thread.start()
        assert started.wait(START_S)
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(ended.set)
            thread.join()
            loop.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            there = await asyncio.open_unix_connection(str(self.socket))
            asked: list[Part | None] = []
            requests = Messages(lambda head: self._request(head, asked), lambda size: self._count(asked[-1], size))
            answers = Messages(lambda head: self._answer(head, asked.pop(0)), lambda _: None)
            await asyncio.gather(_copy(reader, there[1], requests.feed), _copy(there[0], writer, answers.feed))
        writer.close()

    def _request(self, head: Message, asked: list[Part | None]) -> int:
        method, path, _ = head.line.split()
        part = None
        if method == "HEAD":
            part = Part(path, ASKS)
        elif method == "PATCH":
            part = Part(path, head.number("upload-offset") or 0)
            self.parts.append(part)
        asked.append(part)
        return head.number("content-length") or 0

    def _count(self, part: Part | None, size: int) -> None:
        if part is None:
            return
        part.sent += size
        if self.kills and self.sent >= self.kills[0][0]:
            self.kills.pop(0)[1]()

    def _answer(self, head: Message, part: Part | None) -> int:
        offset, went_well = head.number("upload-offset"), head.line.split()[1].startswith("2")
        if part is not None and part.start == ASKS:
            if offset is not None and went_well:
                self.told.append(offset)
            return 0
        if part is not None and went_well:
            part.reached = offset
        return head.number("content-length") or 0


class Messages:
    """HTTP/1.1: calls `begun` for each head, which says how long its body is, and `body` for each piece of that."""

    def __init__(self, begun: Callable[[Message], int], body: Callable[[int], None]) -> None:
        self._begun = begun
        self._body = body
        self._head = b""
        self._left = 0

    def feed(self, data: bytes) -> None:
        while data:
            if self._left:
                piece, data = data[: self._left], data[self._left :]
                self._left -= len(piece)
                self._body(len(piece))
                continue
            head, end, data = (self._head + data).partition(b"\r\n\r\n")
            if not end:
                self._head = head
                return
            self._head = b""
            fields = {name.decode().lower(): value.decode() for name, value in FIELD.findall(head)}
            self._left = self._begun(Message(head.partition(b"\r\n")[0].decode(), fields))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, look: Callable[[bytes], None]) -> None:
    try:
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            look(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
