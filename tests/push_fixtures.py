"""Scripted push servers: one with a WebSocket, one with only Sploot's event stream."""

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
from splootd.embeddings.push_client import PushClient
from splootd.embeddings.push_subscriptions import PushSubscriptions

LIMIT_S = 20
HTML = b"<html>" + b"x" * 17_000
SIGNED_OUT = "x-clerk-auth-status: signed-out\r\n"


def update(asset_id: str, status: str = "ready", **more: Any) -> str:
    body = {"type": "embedding-update", "assetId": asset_id, "status": status, "hasEmbedding": status == "ready"}
    return json.dumps({**body, **more})


async def always_reachable() -> None:
    """Never wait."""


def create_push_client(
    push_subscriptions: PushSubscriptions,
    socket: Path,
    *,
    token: str = "",
    token_command: str = "",
    url: str = "",
    clock: Clock | None = None,
) -> PushClient:
    """Create a push client for a Unix socket, or for `url`."""
    clock = clock or Clock()
    credentials = Credentials(socket.parent / "token", clock, token=token, token_command=token_command)
    return PushClient(
        url or "local",
        push_subscriptions,
        credentials=credentials,
        clock=clock,
        wait_until_reachable=always_reachable,
        socket=None if url else socket,
    )


@contextlib.asynccontextmanager
async def running(push_client: PushClient) -> AsyncIterator[None]:
    task = asyncio.create_task(push_client.run())
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(push_subscriptions: PushSubscriptions, condition: Callable[[PushSubscriptions], bool]) -> None:
    """Wait for the wake signal of `push_subscriptions` until `condition` holds."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            snapshot = push_subscriptions._wake_signal.snapshot()
            if condition(push_subscriptions):
                return
            await push_subscriptions._wake_signal.wait(snapshot, None)


Script = Callable[[ServerConnection], Awaitable[None]]


@dataclass
class PushServer:
    """Runs the next of `scripts` for each connection, the last one for all further connections, then closes it."""

    scripts: list[Script]
    heads: list[dict[str, str]] = field(default_factory=list)  # the request headers of each connection
    messages: list[dict[str, Any]] = field(default_factory=list)  # all messages of clients
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.heads.append({name.lower(): value for name, value in connection.request.headers.raw_items()})
        self._arrived.set()
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        with contextlib.suppress(ConnectionClosed):
            await script(connection)

    async def listen(self, connection: ServerConnection) -> None:
        """Send nothing and keep the connection open."""
        async for message in connection:
            self.messages.append(json.loads(message))
            self._arrived.set()

    async def until(self, condition: Callable[["PushServer"], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition(self):
                self._arrived.clear()
                await self._arrived.wait()

    def subscribed(self) -> list[str]:
        return [each for message in self.messages if message["type"] == "subscribe" for each in message["assetIds"]]


def sending(*messages: str) -> Script:
    """Send these messages, then close the connection."""

    async def script(connection: ServerConnection) -> None:
        for message in messages:
            await connection.send(message)

    return script


@contextlib.asynccontextmanager
async def push_server(socket: Path, *scripts: Script) -> AsyncIterator[PushServer]:
    server = PushServer(list(scripts))
    server.scripts = server.scripts or [server.listen]
    async with unix_serve(server.serve, str(socket), compression=None, close_timeout=0.1, max_size=2**20):
        yield server


@dataclass
class StreamServer:
    """Sploot as it is: no WebSocket, and a stream that sends `events` as they are queued. None ends a stream."""

    socket_status: str = "404 Not Found"
    socket_headers: str = ""
    stream_status: str = "200 OK"
    stream_headers: str = ""
    stream_type: str = "text/event-stream"
    events: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)
    heads: list[list[str]] = field(default_factory=list)
    streams: int = 0
    _connections: set[asyncio.Task[None]] = field(default_factory=set)

    def put(self, data: str, event_id: str = "") -> None:
        self.events.put_nowait(f"{f'id: {event_id}' if event_id else ':'}\nevent: embedding-update\ndata: {data}\n\n")

    def paths(self) -> list[str]:
        return [head[0].split(" ")[1] for head in self.heads]

    def headers(self, name: str) -> list[str]:
        """Return the value of a header in each request, '' if it is missing."""
        return [
            next((line.partition(": ")[2] for line in head if line.lower().startswith(f"{name}:")), "")
            for head in self.heads
        ]

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.ensure_future(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def close(self) -> None:
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            self.heads.append(request)
            if "/api/ws/" in request[0]:
                head = f"HTTP/1.1 {self.socket_status}\r\n{self.socket_headers}content-type: text/html\r\n"
                writer.write(f"{head}content-length: {len(HTML)}\r\n\r\n".encode() + HTML)
                await writer.drain()
                return
            head = f"HTTP/1.1 {self.stream_status}\r\n{self.stream_headers}content-type: {self.stream_type}\r\n"
            writer.write(f"{head}connection: close\r\n\r\n".encode())
            if not self.stream_status.startswith("200"):
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
