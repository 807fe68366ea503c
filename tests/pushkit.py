"""Servers that push badly: one speaks WebSocket and says what it is told to, one has only Sploot's faulty stream."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection, unix_serve
from websockets.exceptions import ConnectionClosed

from splootd.clock import Clock
from splootd.credentials import Credentials
from splootd.remote.feed import Feed
from splootd.remote.inbox import Inbox

LIMIT_S = 20
HTML = b"<html>" + b"x" * 17_000
SIGNED_OUT = "x-clerk-auth-status: signed-out\r\n"


def update(asset_id: str, status: str = "ready", **more: Any) -> str:
    body = {"type": "embedding-update", "assetId": asset_id, "status": status, "hasEmbedding": status == "ready"}
    return json.dumps({**body, **more})


async def anything() -> None:
    """Nothing holds back the feed."""


def feed_to(
    inbox: Inbox, socket: Path, *, token: str = "", token_command: str = "", url: str = "", clock: Clock | None = None
) -> Feed:
    """A feed to a Unix socket, or to `url`."""
    clock = clock or Clock()
    credentials = Credentials(socket.parent / "token", clock, token=token, token_command=token_command)
    return Feed(
        url or "local", inbox, credentials=credentials, clock=clock, allowed=anything, socket=None if url else socket
    )


@contextlib.asynccontextmanager
async def running(feed: Feed) -> AsyncIterator[None]:
    task = asyncio.create_task(feed.run())
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(inbox: Inbox, condition: Callable[[Inbox], bool]) -> None:
    """Wait for the bell of `inbox` until `condition` holds."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            ticket = inbox._bell.ticket()
            if condition(inbox):
                return
            await inbox._bell.wait(ticket, None)


Talk = Callable[[ServerConnection], Awaitable[None]]


@dataclass
class PushServer:
    """Each connection is given to the next of `talks`, the last of which serves all later ones; then it is closed."""

    talks: list[Talk]
    heads: list[dict[str, str]] = field(default_factory=list)  # the request headers of each connection
    said: list[dict[str, Any]] = field(default_factory=list)  # all messages of clients
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, line: ServerConnection) -> None:
        assert line.request is not None
        self.heads.append({name.lower(): value for name, value in line.request.headers.raw_items()})
        self._arrived.set()
        talk = self.talks.pop(0) if len(self.talks) > 1 else self.talks[0]
        with contextlib.suppress(ConnectionClosed):
            await talk(line)

    async def listen(self, line: ServerConnection) -> None:
        """A talk that says nothing and stays."""
        async for message in line:
            self.said.append(json.loads(message))
            self._arrived.set()

    async def until(self, condition: Callable[["PushServer"], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition(self):
                self._arrived.clear()
                await self._arrived.wait()

    def subscribed(self) -> list[str]:
        return [each for message in self.said if message["type"] == "subscribe" for each in message["assetIds"]]


def saying(*messages: str) -> Talk:
    """A talk that says so much at once, and ends."""

    async def talk(line: ServerConnection) -> None:
        for message in messages:
            await line.send(message)

    return talk


@contextlib.asynccontextmanager
async def push_server(socket: Path, *talks: Talk) -> AsyncIterator[PushServer]:
    server = PushServer(list(talks))
    server.talks = server.talks or [server.listen]
    async with unix_serve(server.serve, str(socket), compression=None, close_timeout=0.1, max_size=2**20):
        yield server


@dataclass
class StreamServer:
    """Sploot as it is: no WebSocket, and a stream that sends `events` as they are put in. None ends a stream."""

    socket_answer: str = "404 Not Found"
    socket_headers: str = ""
    stream_answer: str = "200 OK"
    stream_headers: str = ""
    stream_kind: str = "text/event-stream"
    events: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)
    heads: list[list[str]] = field(default_factory=list)
    streams: int = 0
    _lines: set[asyncio.Task[None]] = field(default_factory=set)

    def put(self, data: str, mark: str = "") -> None:
        self.events.put_nowait(f"{f'id: {mark}' if mark else ':'}\nevent: embedding-update\ndata: {data}\n\n")

    def paths(self) -> list[str]:
        return [head[0].split(" ")[1] for head in self.heads]

    def headers(self, name: str) -> list[str]:
        """What each request said, '' if nothing."""
        return [
            next((line.partition(": ")[2] for line in head if line.lower().startswith(f"{name}:")), "")
            for head in self.heads
        ]

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.ensure_future(self._serve(reader, writer))
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)

    async def close(self) -> None:
        for line in list(self._lines):
            line.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            self.heads.append(head)
            if "/api/ws/" in head[0]:
                answer = f"HTTP/1.1 {self.socket_answer}\r\n{self.socket_headers}content-type: text/html\r\n"
                writer.write(f"{answer}content-length: {len(HTML)}\r\n\r\n".encode() + HTML)
                await writer.drain()
                return
            answer = f"HTTP/1.1 {self.stream_answer}\r\n{self.stream_headers}content-type: {self.stream_kind}\r\n"
            writer.write(f"{answer}connection: close\r\n\r\n".encode())
            if not self.stream_answer.startswith("200"):
                return
            self.streams += 1
            writer.write(b'event: connected\ndata: {"type":"connected","timestamp":1}\nretry: 5000\n\n')
            while (event := await self.events.get()) is not None:
                writer.write(event.encode())
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def stream_server(socket: Path, **options: Any) -> AsyncIterator[StreamServer]:
    server = StreamServer(**options)
    listener = await asyncio.start_unix_server(server.accept, str(socket))
    try:
        yield server
    finally:
        listener.close()
        await server.close()
