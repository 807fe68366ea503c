"""Fixtures: a library in this process, and real servers as processes."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from sploot_server.app import create_app
from sploot_server.config import Config
from toy_library import FakeEmbedder, ServerProcess


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(data=tmp_path / "library")


@pytest.fixture
async def client(config: Config, embedder: FakeEmbedder) -> AsyncIterator[httpx.AsyncClient]:
    config.data.mkdir()
    async with (
        create_app(config, embedder) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        yield client


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Return a function that starts servers and kills them at the end of the test."""
    with contextlib.ExitStack() as stack:

        def start(*options: str, data: Path | None = None, port: int | None = None) -> ServerProcess:
            server = ServerProcess(data or tmp_path / "library", *options, port=port)
            stack.callback(server.process.wait)
            stack.callback(server.process.kill)
            return server

        yield start
