"""A library for the tests of the web UI's routes: the daemon's proxy, a real library server and a signed-in browser."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from control_fixtures import ControlApi
from file_reading import read
from http_probe import LIMIT_S, Browser, Reply
from sploot_server.app import create_app
from sploot_server.config import Config as LibraryConfig
from sploot_server.domain.embedding import Embedder
from toy_library import END, FakeEmbedder, picture

from splootd.control.http_limits import UvicornServer as HttpServer
from splootd.core.limits import Limits
from splootd.file_reader import MemoryBudget, stat_version
from splootd.remote.client import SplootClient

LIMITS = Limits(100_000_000, frozenset({"image/jpeg"}))
NAMES = ("cat on a keyboard", "dog in a bath", "cat in a box")


@contextlib.asynccontextmanager
async def library(folder: Path, socket: Path, embedder: Embedder | None = None) -> AsyncIterator[None]:
    """Run a library server whose fake embedder reads the text of toy pictures, unless another one is given."""
    folder.mkdir()  # noqa: ASYNC240 - a short call in a test
    async with create_app(LibraryConfig(data=folder, uds=socket), embedder or FakeEmbedder()) as app:
        config = uvicorn.Config(app, uds=str(socket), ws="none", lifespan="off", log_config=None, access_log=False)
        server = HttpServer(config)
        serving = asyncio.ensure_future(server.serve())
        async with asyncio.timeout(LIMIT_S):
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0)
        try:
            yield
        finally:
            server.stop()
            await serving


@dataclass
class WebLibrary:
    """A signed-in browser and a library that contains NAMES; `ids` maps names to asset ids."""

    browser: Browser
    control_api: ControlApi
    server: SplootClient
    ids: dict[str, str]
    folder: Path  # of the library server

    async def assets(self, query: str = "") -> list[dict[str, Any]]:
        reply = await self.browser.get(f"/v1/library{query}")
        assert reply.status == 200, reply.body
        assets: list[dict[str, Any]] = reply.json["assets"]
        return assets

    async def get(self, name: str, rest: str = "", **headers: str) -> Reply:
        return await self.browser.get(f"/v1/library/{self.ids[name]}{rest}", **headers)

    async def queue(self, name: str) -> Path:
        """Add the file of this asset to the queue, as uploaded, and return its path."""
        parts, path = self.control_api.context, self.control_api.folder / f"{name}.jpg"
        await self.browser.change("POST", "/v1/add", {"paths": [str(path)]})
        (item,) = await parts.read_queries.items(limit=10)
        leased = await parts.queue.claim(item.shard, now=parts.clock.now(), chance=0.0)
        assert leased is not None
        assert await parts.queue.accept(
            leased, asset_id=self.ids[name], sha256=bytes(32), duplicate=False, embedded=True, now=parts.clock.now()
        )
        return path

    def names(self, assets: list[dict[str, Any]]) -> list[str]:
        names_by_id = {asset_id: name for name, asset_id in self.ids.items()}
        return [names_by_id[asset["id"]] for asset in assets]


async def uploaded(server: SplootClient, path: Path, text: str) -> str:
    """Write a toy picture of `text`, upload it, wait until it is searchable, and return its id."""
    path.write_bytes(picture(text) + END)  # noqa: ASYNC240 - a short call in a test
    return await upload_file(server, path)


async def upload_file(server: SplootClient, path: Path) -> str:
    """Upload a file, wait until it is searchable, and return its id."""
    raw = os.fsencode(path)
    async with read(raw, stat_version(raw), budget=MemoryBudget(100_000_000), limits=LIMITS) as content:
        asset_id = (await server.upload(content)).asset_id
    async with asyncio.timeout(LIMIT_S):
        while (await server.embedding_status(asset_id)).status == "pending":  # noqa: ASYNC110 - the library has only a status to poll
            await asyncio.sleep(0)
    return asset_id
