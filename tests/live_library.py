"""Library server in this process on a real socket, with a WebSocket client and an event stream client."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from sploot_server.app import create_app, create_server
from sploot_server.auth.accounts import AccountStore
from sploot_server.config import Config
from sploot_server.http.push.subscriptions import SubscriptionHub
from sploot_server.server_process import format_address, open_listening_socket
from toy_library import FakeEmbedder, picture
from websockets.asyncio.client import ClientConnection, unix_connect

LIMIT_S = 20
SOCKET_URL = "ws://localhost/api/ws/upload-status"
STREAM_URL = "/api/sse/embedding-updates"


@dataclass
class LiveLibrary:
    """Running library; its embedder waits for `embedder.hold` if that is set."""

    config: Config
    embedder: FakeEmbedder
    hub: SubscriptionHub
    accounts: AccountStore
    client: httpx.AsyncClient
    url: str

    async def upload(self, text: str) -> str:
        """Upload a picture of `text` and return its id."""
        answer = await self.client.post("/api/upload", files={"file": ("a.jpg", picture(text), "image/jpeg")})
        return str(answer.json()["asset"]["id"])

    async def status(self, asset_id: str) -> str:
        return str((await self.client.get(f"/api/assets/{asset_id}/embedding-status")).json()["status"])

    async def wait_until_ready(self, *asset_ids: str) -> None:
        async with asyncio.timeout(LIMIT_S):
            for asset_id in asset_ids:
                while await self.status(asset_id) != "ready":
                    pass

    async def wait_for_subscribers(self, count: int) -> None:
        """Wait until the hub has this number of subscribers."""
        async with asyncio.timeout(LIMIT_S):
            while len(self.hub) != count:
                await self.client.get("/api/health")


@contextlib.asynccontextmanager
async def live_library(
    folder: Path, *, hold: bool = False, socket: Path | None = None, tcp: bool = False, accounts: bool = False
) -> AsyncIterator[LiveLibrary]:
    """Run a library on `socket`, on a socket in the folder, or on a free port; close all connections at the end."""
    config = Config(data=folder, uds=None if tcp else socket or folder / "s", port=0, drain_s=2, accounts=accounts)
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240 - of no length
    embedder = FakeEmbedder(hold=asyncio.Event() if hold else None)
    async with create_app(config, embedder) as app:
        with open_listening_socket(config) as listener:
            ready = asyncio.Event()
            server = create_server(app, config, ready.set)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            await ready.wait()
            url = format_address(listener) if tcp else "http://localhost"
            transport = None if tcp else httpx.AsyncHTTPTransport(uds=str(config.uds), limits=httpx.Limits())
            async with httpx.AsyncClient(transport=transport, base_url=url) as client:
                try:
                    yield LiveLibrary(config, embedder, app.state.subscription_hub, app.state.accounts, client, url)
                finally:
                    server.stop()
                    await serving


class WebSocketClient:
    """Client of one WebSocket connection."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, message: Any) -> None:
        await self.connection.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def subscribe(self, *asset_ids: str) -> None:
        await self.send({"type": "subscribe", "assetIds": asset_ids})

    async def unsubscribe(self, *asset_ids: str) -> None:
        await self.send({"type": "unsubscribe", "assetIds": asset_ids})

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(LIMIT_S):
            message = json.loads(await self.connection.recv())
        assert isinstance(message, dict)
        return message

    async def expect_silence(self) -> None:
        """Assert that no message arrives before the reply to a ping."""
        await self.send({"type": "ping"})
        assert await self.next() == {"type": "pong"}


@contextlib.asynccontextmanager
async def websocket_client(library: LiveLibrary, **options: Any) -> AsyncIterator[WebSocketClient]:
    async with unix_connect(str(library.config.uds), SOCKET_URL, close_timeout=1, **options) as connection:
        yield WebSocketClient(connection)


class Stream:
    """Reader of the server-sent events of one response."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self) -> dict[str, str]:
        """Return the fields of the next event; a comment has the key ''."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(LIMIT_S):
            async for line in self._lines:
                if not line and fields:
                    return fields
                if line:
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
        return fields

    async def update(self) -> tuple[str, str, str | None]:
        """Return the next update: asset, status and event id."""
        event = await self.next()
        assert event["event"] == "embedding-update", event
        data = json.loads(event["data"])
        return data["assetId"], data["status"], event.get("id")


@contextlib.asynccontextmanager
async def stream(library: LiveLibrary, *asset_ids: str, last: str | None = None) -> AsyncIterator[Stream]:
    headers = {"last-event-id": last.encode()} if last is not None else {}
    parameters = {"assetIds": ",".join(asset_ids)} if asset_ids else {}
    async with library.client.stream("GET", STREAM_URL, params=parameters, headers=headers) as response:
        yield Stream(response)
