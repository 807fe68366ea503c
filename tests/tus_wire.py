"""A proxy between a tus client and its server that records offsets and bytes, and can kill either at any byte."""

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

START_S = 30.0
READ_BYTES = 64 * 1024
HEAD_REQUEST = -1  # the `start` of a HEAD, which sends no bytes
FIELD = re.compile(rb"^([\w-]+): *(.*?)\r?$", re.MULTILINE)


@dataclass
class Message:
    """The head of a request or a response."""

    line: str
    headers: dict[str, str]

    def number(self, name: str) -> int | None:
        return int(self.headers[name]) if name in self.headers else None


@dataclass
class Chunk:
    """One PATCH: its offset, the bytes sent, and the offset that the server acknowledged, if it did."""

    path: str
    start: int
    sent: int = 0
    acknowledged: int | None = None


@dataclass
class TusProxy:
    """A proxy to the server on `socket`. `kills` are functions to call once that many bytes of chunks have passed."""

    socket: Path
    chunks: list[Chunk] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)  # the offsets of the responses to HEAD
    kills: list[tuple[int, Callable[[], None]]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def sent(self) -> int:
        return sum(chunk.sent for chunk in self.chunks)

    @contextlib.contextmanager
    def running(self) -> Iterator["TusProxy"]:
        """Run the proxy in its own thread, which blocks while a process is killed."""
        started, loop = threading.Event(), asyncio.new_event_loop()
        ended = asyncio.Event()

        async def serve() -> None:
            server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
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

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            upstream = await asyncio.open_unix_connection(str(self.socket))
            pending: list[Chunk | None] = []
            requests = Messages(
                lambda head: self._on_request(head, pending), lambda size: self._count(pending[-1], size)
            )
            responses = Messages(lambda head: self._on_response(head, pending.pop(0)), lambda _: None)
            await asyncio.gather(_copy(reader, upstream[1], requests.feed), _copy(upstream[0], writer, responses.feed))
        writer.close()

    def _on_request(self, head: Message, pending: list[Chunk | None]) -> int:
        method, path, _ = head.line.split()
        chunk = None
        if method == "HEAD":
            chunk = Chunk(path, HEAD_REQUEST)
        elif method == "PATCH":
            chunk = Chunk(path, head.number("upload-offset") or 0)
            self.chunks.append(chunk)
        pending.append(chunk)
        return head.number("content-length") or 0

    def _count(self, chunk: Chunk | None, size: int) -> None:
        if chunk is None:
            return
        chunk.sent += size
        if self.kills and self.sent >= self.kills[0][0]:
            self.kills.pop(0)[1]()

    def _on_response(self, head: Message, chunk: Chunk | None) -> int:
        offset, is_success = head.number("upload-offset"), head.line.split()[1].startswith("2")
        if chunk is not None and chunk.start == HEAD_REQUEST:
            if offset is not None and is_success:
                self.offsets.append(offset)
            return 0
        if chunk is not None and is_success:
            chunk.acknowledged = offset
        return head.number("content-length") or 0


class Messages:
    """Parses HTTP/1.1. `on_head` is called for each head and returns the size of its body, `on_body` for each piece."""

    def __init__(self, on_head: Callable[[Message], int], on_body: Callable[[int], None]) -> None:
        self._on_head = on_head
        self._on_body = on_body
        self._head = b""
        self._left = 0

    def feed(self, data: bytes) -> None:
        while data:
            if self._left:
                piece, data = data[: self._left], data[self._left :]
                self._left -= len(piece)
                self._on_body(len(piece))
                continue
            head, end, data = (self._head + data).partition(b"\r\n\r\n")
            if not end:
                self._head = head
                return
            self._head = b""
            fields = {name.decode().lower(): value.decode() for name, value in FIELD.findall(head)}
            self._left = self._on_head(Message(head.partition(b"\r\n")[0].decode(), fields))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, observe: Callable[[bytes], None]) -> None:
    try:
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            observe(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
