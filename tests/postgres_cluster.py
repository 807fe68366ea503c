"""Cluster of servers and workers with one library in PostgreSQL, all real processes, and clients for them."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from toy_library import ServerProcess, picture
from websockets.asyncio.client import ClientConnection, unix_connect

LIMIT_S = 60
SOCKET_URL = "ws://localhost/api/ws/upload-status"
TOY_WORKER = Path(__file__).parent / "toy_worker.py"


class Fleet:
    """Servers and workers. The environment variables at their start select the backends they share."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self.database = database
        self.servers: list[ServerProcess] = []
        self.workers: list[subprocess.Popen[bytes]] = []

    def serve(self, number: int) -> ServerProcess:
        """Start server `number`, replacing an earlier one."""
        server = ServerProcess(self.folder / f"server{number}")
        self.servers[number : number + 1] = [server]
        return server

    def work(self, number: int, **environment: str) -> subprocess.Popen[bytes]:
        """Start worker `number`, replacing an earlier one."""
        process = subprocess.Popen(
            [sys.executable, str(TOY_WORKER)], stderr=subprocess.DEVNULL, env={**os.environ, **environment}
        )
        self.workers[number : number + 1] = [process]
        return process

    def end(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()
        for server in self.servers:
            server.kill()

    @contextlib.asynccontextmanager
    async def client(self, number: int = 0) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.AsyncHTTPTransport(uds=str(self.servers[number].socket))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=LIMIT_S) as client:
            yield client

    @contextlib.asynccontextmanager
    async def websocket(self, number: int, *assets: str) -> AsyncIterator[ClientConnection]:
        """Open a WebSocket to a server, subscribed to these assets."""
        async with unix_connect(str(self.servers[number].socket), SOCKET_URL, close_timeout=1) as connection:
            await connection.send(json.dumps({"type": "subscribe", "assetIds": assets}))
            await connection.send(json.dumps({"type": "ping"}))
            while json.loads(await connection.recv())["type"] != "pong":
                pass
            yield connection

    @contextlib.asynccontextmanager
    async def psql(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.database)
        try:
            yield connection
        finally:
            await connection.close()


async def upload(client: httpx.AsyncClient, text: str) -> str:
    answer = await client.post("/api/upload", files={"file": ("a.jpg", picture(text), "image/jpeg")})
    assert answer.status_code in (201, 409), answer.text
    return str(answer.json()["asset"]["id"])


async def receive_update(connection: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(LIMIT_S):
        message = json.loads(await connection.recv())
    assert isinstance(message, dict)
    return message


async def measure_push_ms(fleet: Fleet, *, count: int) -> list[float]:
    """Measure the time from the SQL statement that completes an embedding to the message of another server."""
    took_ms = []
    async with fleet.client(0) as client, fleet.psql() as psql:
        assets = [await upload(client, str(number)) for number in range(count)]
        async with fleet.websocket(1, *assets) as connection:
            for asset in assets:
                began = time.perf_counter()
                await complete(psql, asset)
                assert (await receive_update(connection))["assetId"] == asset
                took_ms.append((time.perf_counter() - began) * 1000)
    return took_ms


async def complete(psql: asyncpg.Connection, asset: str) -> None:
    await psql.execute(
        "UPDATE embeddings SET state = 'ready', model = 'by hand', text = '' "
        "WHERE asset = (SELECT row FROM assets WHERE id = $1)",
        asset,
    )
