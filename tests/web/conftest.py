"""Fixtures of the web UI's routes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from control_fixtures import serve_control_api
from http_probe import Browser
from pipeline_fixtures import JumpClock
from web_library import NAMES, WebLibrary, library, uploaded

from splootd.credentials import Credentials
from splootd.remote.client import SplootClient


@pytest_asyncio.fixture
async def web_library(tmp_path: Path) -> AsyncIterator[WebLibrary]:
    socket = tmp_path / "s"
    async with library(tmp_path / "library", socket):
        server = SplootClient(
            "local", credentials=Credentials(tmp_path / "t", JumpClock()), connections=4, socket=socket
        )
        try:
            await server.limits()  # from now on uploads carry names and folders
            async with serve_control_api(tmp_path, server=server) as control_api:
                ids = {name: await uploaded(server, control_api.folder / f"{name}.jpg", name) for name in NAMES}
                yield WebLibrary(
                    await Browser.sign_in(control_api.web_ui), control_api, server, ids, tmp_path / "library"
                )
        finally:
            await server.close()
