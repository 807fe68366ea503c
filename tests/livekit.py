"""The library server in this process on a real socket, and a WebSocket client that waits for what it is told."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from sploot_server.accounts import AccountStore
from sploot_server.config import Config
from sploot_server.process import address_of, listening
from sploot_server.serve import library_app, server_of
from sploot_server.updates import Updates
from toy_library import FakeEmbedder, picture
from websockets.asyncio.client import ClientConnection, unix_connect

LIMIT_S = 20
SOCKET_URL = "ws://localhost/api/ws/upload-status"
STREAM_URL = "/api/sse/embedding-updates"


@dataclass
class LiveLibrary:
    """A library whose embedder waits for `embedder.hold`, if there is one."""

    config: Config
    embedder: FakeEmbedder
    updates: Updates
    accounts: AccountStore
    client: httpx.AsyncClient
    url: str

    async def upload(self, text: str) -> str:
        """The id of a picture of `text`."""
        answer = await self.client.post("/api/upload", files={"file": ("a.jpg", picture(text), "image/jpeg")})
        return str(answer.json()["asset"]["id"])

    async def status(self, asset_id: str) -> str:
        return str((await self.client.get(f"/api/assets/{asset_id}/embedding-status")).json()["status"])

    async def until_ready(self, *asset_ids: str) -> None:
        async with asyncio.timeout(LIMIT_S):
            for asset_id in asset_ids:
                while await self.status(asset_id) != "ready":
                    pass

    async def until_listening(self, count: int) -> None:
        """Wait until so many clients are being told."""
        async with asyncio.timeout(LIMIT_S):
            while len(self.updates) != count:
                await self.client.get("/api/health")


@contextlib.asynccontextmanager
async def live_library(
    folder: Path, *, hold: bool = False, socket: Path | None = None, tcp: bool = False, accounts: bool = False
) -> AsyncIterator[LiveLibrary]:
    """On `socket`, or on one in the folder, or on a free port; all lines end with it."""
    config = Config(data=folder, uds=None if tcp else socket or folder / "s", port=0, drain_s=2, accounts=accounts)
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240 - of no length
    embedder = FakeEmbedder(hold=asyncio.Event() if hold else None)
    async with library_app(config, embedder) as app:
        with listening(config) as listener:
            ready = asyncio.Event()
            server = server_of(app, config, ready.set)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            await ready.wait()
            url = address_of(listener) if tcp else "http://localhost"
            transport = None if tcp else httpx.AsyncHTTPTransport(uds=str(config.uds))
            async with httpx.AsyncClient(transport=transport, base_url=url) as client:
                try:
                    yield LiveLibrary(config, embedder, app.state.updates, app.state.accounts, client, url)
                finally:
                    server.stop()
                    await serving


class Ear:
    """One WebSocket client."""

    def __init__(self, line: ClientConnection) -> None:
        self.line = line

    async def say(self, message: Any) -> None:
        await self.line.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def subscribe(self, *asset_ids: str) -> None:
        await self.say({"type": "subscribe", "assetIds": asset_ids})

    async def unsubscribe(self, *asset_ids: str) -> None:
        await self.say({"type": "unsubscribe", "assetIds": asset_ids})

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(LIMIT_S):
            heard = json.loads(await self.line.recv())
        assert isinstance(heard, dict)
        return heard

    async def silent(self) -> None:
        """Asserts that nothing was said before the answer to a ping."""
        await self.say({"type": "ping"})
        assert await self.next() == {"type": "pong"}


@contextlib.asynccontextmanager
async def ear(library: LiveLibrary, **options: Any) -> AsyncIterator[Ear]:
    async with unix_connect(str(library.config.uds), SOCKET_URL, close_timeout=1, **options) as line:
        yield Ear(line)


class Stream:
    """Server-sent events of one response, a field at a time."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self) -> dict[str, str]:
        """The fields of the next event; a comment is under ''."""
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
        """The next update: asset, status and the event's id."""
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
