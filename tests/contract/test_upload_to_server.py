"""The daemon's API client and upload workers against the real server, a child process on a Unix socket."""

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
import sample_files
from file_reading import read
from pipeline_fixtures import JumpClock, PipelineHarness, open_pipeline

from splootd.core.item import State
from splootd.core.limits import Limits
from splootd.credentials import Credentials
from splootd.errors import Rejected
from splootd.file_reader import MemoryBudget, stat_version
from splootd.remote.client import SplootClient
from splootd.remote.responses import EmbeddingStatus

pytestmark = pytest.mark.models
LIMITS = Limits(100_000_000, frozenset({"image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp"}))


@contextmanager
def run_server(data: Path, socket: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server; stop it at the end, unless it was killed."""
    ready, announce = os.pipe()
    command = [sys.executable, "-m", "sploot_server", "--data", str(data), "--uds", str(socket), *options]
    child = subprocess.Popen(
        [*command, "--exit-with-stdin", "--ready-fd", str(announce), "--log", str(data.with_suffix(".log"))],
        stdin=subprocess.PIPE,
        pass_fds=[announce],
    )
    os.close(announce)
    with os.fdopen(ready) as announced:
        assert announced.readline(), "the server did not start"
    try:
        yield child
    finally:
        assert child.stdin is not None
        child.stdin.close()
        child.wait(timeout=60)


def create_client(folder: Path, socket: Path) -> SplootClient:
    credentials = Credentials(folder / "token", JumpClock())
    return SplootClient("local", credentials=credentials, connections=4, socket=socket)


async def upload(api: SplootClient, path: Path, tags: tuple[str, ...] = ()) -> str:
    raw = os.fsencode(path)
    async with read(raw, stat_version(raw), budget=MemoryBudget(100_000_000), limits=LIMITS) as content:
        return (await api.upload(content, tags=tags)).asset_id


async def test_every_method_of_the_client(tmp_path: Path) -> None:
    socket = tmp_path / "l"
    (meme, other) = memes.make(tmp_path / "memes", count=2, seed=3, sizes="small")
    with run_server(tmp_path / "library", socket):
        api = create_client(tmp_path, socket)
        await api.health()
        limits = await api.limits()
        assert limits.bytes_max == 10 * 1024 * 1024
        assert limits.types >= {"image/jpeg", "image/png", "image/webp", "image/gif"}, "and what it can decode besides"
        assert limits.has_reliable_embedding_states
        asset = await upload(api, meme.path, tags=("cat", "größe"))
        assert await upload(api, meme.path) == asset
        second = await upload(api, other.path)
        raw = os.fsencode(meme.path)
        async with read(raw, stat_version(raw), budget=MemoryBudget(100_000_000), limits=limits) as content:
            found = await api.check(content.sha256)
        assert found is not None
        assert found.asset_id == asset
        assert await api.check(bytes(32)) is None
        reports = await api.embedding_statuses([asset, second, "unknown"])
        assert set(reports) == {asset, second, "unknown"}
        assert reports["unknown"].status is EmbeddingStatus.UNKNOWN
        assert set(await api.newest_embedding_statuses(10)) == {asset, second}
        assert (await api.embedding_status("unknown")).status is EmbeddingStatus.UNKNOWN
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(socket))) as plain:
            await plain.delete(f"http://library/api/assets/{second}")
        assert (await api.embedding_statuses([second]))[second].status is EmbeddingStatus.UNKNOWN
        await api.close()


async def test_a_rejection_carries_a_message(tmp_path: Path) -> None:
    (path,) = sample_files.mass(tmp_path / "memes", 1, 50_000)
    with run_server(tmp_path / "library", tmp_path / "l", "--max-upload-bytes", "40000"):
        api = create_client(tmp_path, tmp_path / "l")
        with pytest.raises(Rejected, match="too large"):
            await upload(api, path)
        await api.close()


async def test_a_killed_server_costs_no_attempt_and_stores_nothing_twice(tmp_path: Path) -> None:
    """It is killed during uploads and restarted, three times."""
    socket = tmp_path / "l"
    paths = sample_files.mass(tmp_path / "many", 60, 60_000)
    async with open_pipeline(tmp_path, socket=socket) as pipeline:
        for path in paths:
            await pipeline.queue(path)
        pipeline.start()
        for done in (10, 25, 40):
            with run_server(tmp_path / "library", socket) as child:
                pipeline.admission.server_up()
                await pipeline.until(partial(are_stored, done))
                child.kill()
                child.wait()
            pipeline.admission.server_down("killed")
            await pipeline.until(lambda counts: counts[State.UPLOADING] == 0)
        with run_server(tmp_path / "library", socket):
            pipeline.admission.server_up()
            await wait_until_stored(pipeline, 60)
            assert len(await pipeline.client.newest_embedding_statuses(1000)) == 60
            assert {item.attempts for item in await pipeline.store.read_queries.items(limit=100)} <= {0, 1}
            await pipeline.stop()


def are_stored(count: int, counts: dict[State, int]) -> bool:
    return counts[State.EMBEDDING] + counts[State.READY] >= count


async def wait_until_stored(pipeline: PipelineHarness, count: int) -> None:
    """Move the clock forward until everything is stored, after retries if necessary."""
    while not are_stored(count, await pipeline.until(lambda counts: counts[State.UPLOADING] == 0)):
        await pipeline.later(100)
        await asyncio.sleep(0)
