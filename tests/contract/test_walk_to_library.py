"""The daemon's client and lanes against the real library server, a child process on a Unix socket."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import memes
import pytest
import specimens
from walkkit import JumpClock, Walk, walking

from splootd.core.item import State
from splootd.credentials import Credentials
from splootd.errors import Refused
from splootd.remote.answers import EmbeddingStatus, Limits
from splootd.remote.api import Server
from splootd.work.files import MemoryBudget, look, read

pytestmark = pytest.mark.models
ANYTHING = Limits(100_000_000, frozenset({"image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp"}))


@contextmanager
def library(data: Path, socket: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A running library; on leaving it is told to stop, unless it is dead already."""
    ready, announce = os.pipe()
    command = [sys.executable, "-m", "sploot_server", "--data", str(data), "--uds", str(socket), *options]
    child = subprocess.Popen(
        [*command, "--exit-with-stdin", "--ready-fd", str(announce), "--log", str(data.with_suffix(".log"))],
        stdin=subprocess.PIPE,
        pass_fds=[announce],
    )
    os.close(announce)
    with os.fdopen(ready) as announced:
        assert announced.readline(), "the library did not start"
    try:
        yield child
    finally:
        assert child.stdin is not None
        child.stdin.close()
        child.wait(timeout=60)


def client(folder: Path, socket: Path) -> Server:
    credentials = Credentials(folder / "token", JumpClock())
    return Server("local", credentials=credentials, connections=4, socket=socket)


async def upload(server: Server, path: Path, tags: tuple[str, ...] = ()) -> str:
    raw = os.fsencode(path)
    async with read(raw, look(raw), budget=MemoryBudget(100_000_000), limits=ANYTHING) as content:
        return (await server.upload(content, tags=tags)).asset_id


async def test_every_question_of_the_client_has_its_answer(tmp_path: Path) -> None:
    socket = tmp_path / "l"
    (meme, other) = memes.make(tmp_path / "memes", count=2, seed=3, sizes="small")
    with library(tmp_path / "library", socket):
        server = client(tmp_path, socket)
        await server.health()
        limits = await server.limits()
        assert limits.bytes_max == 10 * 1024 * 1024
        assert limits.types == {"image/jpeg", "image/png", "image/webp", "image/gif"}
        assert limits.tells_embedding_states
        asset = await upload(server, meme.path, tags=("cat", "größe"))
        assert await upload(server, meme.path) == asset
        second = await upload(server, other.path)
        raw = os.fsencode(meme.path)
        async with read(raw, look(raw), budget=MemoryBudget(100_000_000), limits=limits) as content:
            found = await server.check(content.sha256)
        assert found is not None
        assert found.asset_id == asset
        assert await server.check(bytes(32)) is None
        reports = await server.statuses([asset, second, "nobody"])
        assert set(reports) == {asset, second, "nobody"}
        assert reports["nobody"].status is EmbeddingStatus.UNKNOWN
        assert set(await server.newest(10)) == {asset, second}
        assert (await server.embedding("nobody")).status is EmbeddingStatus.UNKNOWN
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(socket))) as plain:
            await plain.delete(f"http://library/api/assets/{second}")
        assert (await server.statuses([second]))[second].status is EmbeddingStatus.UNKNOWN
        await server.close()


async def test_what_the_library_refuses_it_refuses_in_words(tmp_path: Path) -> None:
    (path,) = specimens.mass(tmp_path / "memes", 1, 50_000)
    with library(tmp_path / "library", tmp_path / "l", "--max-upload-bytes", "40000"):
        server = client(tmp_path, tmp_path / "l")
        with pytest.raises(Refused, match="too large"):
            await upload(server, path)
        await server.close()


async def test_a_killed_library_costs_nothing_and_stores_nothing_twice(tmp_path: Path) -> None:
    """It dies in the middle of the work, and is back a moment later, three times."""
    socket = tmp_path / "l"
    paths = specimens.mass(tmp_path / "many", 60, 60_000)
    async with walking(tmp_path, socket=socket) as walk:
        for path in paths:
            await walk.queue(path)
        walk.start()
        for done in (10, 25, 40):
            with library(tmp_path / "library", socket) as child:
                walk.gate.server_up()
                await walk.until(partial(has_arrived, done))
                child.kill()
                child.wait()
            walk.gate.server_down("killed")
            await walk.until(lambda counts: counts[State.UPLOADING] == 0)
        with library(tmp_path / "library", socket):
            walk.gate.server_up()
            await all_through(walk, 60)
            assert len(await walk.server.newest(1000)) == 60
            assert {item.attempts for item in await walk.store.listing.items(limit=100)} <= {0, 1}
            await walk.stop()


def has_arrived(count: int, counts: dict[State, int]) -> bool:
    return counts[State.EMBEDDING] + counts[State.READY] >= count


async def all_through(walk: Walk, count: int) -> None:
    """Let time pass until everything has arrived, whatever must wait for another try."""
    while not has_arrived(count, await walk.until(lambda counts: counts[State.UPLOADING] == 0)):
        await walk.later(100)
        await asyncio.sleep(0)
