"""Resumable uploads over real sockets: daemon and server killed at any byte, and independent clients and servers."""

import asyncio
import contextlib
import hashlib
import json
import os
import random
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import memes
import pytest
from file_reading import read
from pipeline_fixtures import HEAD, JumpClock
from store_fixtures import open_store
from temp_home import POLL_S, Home, home_in
from toy_library import ServerProcess
from tus_peers import installed, tus_server
from tus_wire import TusProxy

from splootd.core.limits import Limits
from splootd.credentials import Credentials
from splootd.file_reader import Content, MemoryBudget, stat_version
from splootd.metrics.collector import Transfer
from splootd.remote.client import SplootClient
from splootd.upload.transports.tus import CHUNK_BYTES_MAX, TusClient

SIZE = 24 << 20
PEERS_SIZE = 4 << 20
PATH = "/api/upload/resumable"
ROOM = ("--max-upload-bytes", str(100 << 20))
END = b"\xff\xd9"


def large(path: Path, size: int = SIZE, seed: int = 1) -> Path:
    """Write a real image with so many bytes behind its end that it is large."""
    (meme,) = memes.make(path.parent / "small", count=1, seed=seed, sizes="small")
    data = meme.path.read_bytes()
    path.write_bytes(data + random.Random(seed).randbytes(size - len(data) - len(END)) + END)
    os.utime(path, (1e9, 1e9))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Start servers on one data folder, one after the other."""
    with contextlib.ExitStack() as closing:

        def start(*options: str, port: int | None = None) -> ServerProcess:
            server = ServerProcess(tmp_path / "library", *ROOM, *options, port=port)
            closing.callback(server.process.wait)
            closing.callback(server.process.kill)
            return server

        yield start


class KillScenario:
    """The upload of one large file from a real daemon to a real server, both of which are killed during it."""

    def __init__(self, home: Home, proxy: TusProxy, start: Callable[..., ServerProcess]) -> None:
        self.home = home
        self.proxy = proxy
        self.start = start
        self.server = start()

    def kill_server(self) -> None:
        self.server.kill()
        self.server = self.start()

    def kill_daemon(self) -> None:
        assert self.home.kill_daemon()

    def has_arrived(self) -> bool:
        """Query the daemon, which starts it again; it may be killed before it responds."""
        listed = self.home.run("list", "--json-lines")
        return listed.returncode == 0 and json.loads(listed.stdout)["asset_id"] is not None


@pytest.mark.models
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_any_byte_on_either_side_it_resumes_at_the_acknowledged_offset(
    tmp_path: Path, start: Callable[..., ServerProcess], seed: int
) -> None:
    chance = random.Random(seed)
    file = large(tmp_path / "large.jpg", seed=seed)
    proxy = TusProxy(tmp_path / "library" / "s.sock")
    with proxy.running(), home_in(tmp_path / "home", SPLOOT_SERVER=proxy.url) as home:
        scenario = KillScenario(home, proxy, start)
        moments = sorted(chance.sample(range(SIZE), 6))
        proxy.kills = [
            (moment, scenario.kill_server if number % 2 else scenario.kill_daemon)
            for number, moment in enumerate(moments)
        ]
        home.ok("add", str(file))
        while not scenario.has_arrived():
            pass
        (row,) = home.rows()
        with scenario.server.client() as client:
            (asset,) = client.get("/api/assets").json()["assets"]
        assert (asset["id"], asset["checksum"], row["attempts"]) == (row["asset_id"], sha256(file), 0)
        assert "Traceback" not in home.log()
    assert proxy.kills == []
    assert_nothing_acknowledged_was_sent_again(proxy)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux, which reports peak memory")
def test_memory_does_not_grow_with_the_file_size(tmp_path: Path, start: Callable[..., ServerProcess]) -> None:
    server = start("--max-upload-bytes", str(1 << 30), port=0)
    with home_in(tmp_path / "home", SPLOOT_SERVER=server.address) as home:
        send(home, sparse(tmp_path / "warm.jpg", 9 << 20))
        programs = [pid for pid in (home.daemon_pid(), server.process.pid) if pid is not None]
        before = [forget_peak(pid) for pid in programs]
        send(home, sparse(tmp_path / "large.jpg", 64 << 20))
        grown = [memory_kb(pid, "VmHWM") - kb for pid, kb in zip(programs, before, strict=True)]
    assert len(grown) == 2
    assert max(grown) < 10_000


def sparse(path: Path, size: int) -> Path:
    """Write a sparse file that begins and ends like a JPEG."""
    with path.open("wb") as file:
        file.write(HEAD)
        file.seek(size - len(END))
        file.write(END)
    os.utime(path, (1e9, 1e9))
    return path


def send(home: Home, file: Path) -> None:
    home.ok("add", str(file))
    while not all(row["asset_id"] for row in home.rows()):
        time.sleep(POLL_S)


def memory_kb(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def forget_peak(pid: int) -> int:
    """Reset the peak memory of a process and return its current memory, in KB."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return memory_kb(pid, "VmRSS")


def assert_nothing_acknowledged_was_sent_again(proxy: TusProxy) -> None:
    """Check that an interruption costs at most the chunk that it interrupted."""
    acknowledged = 0
    for chunk in proxy.chunks:
        assert chunk.start >= acknowledged
        acknowledged = max(acknowledged, chunk.acknowledged or 0)
    interrupted = [chunk for chunk in proxy.chunks if chunk.acknowledged is None]
    assert acknowledged == SIZE
    assert len(interrupted) <= 7
    assert len({chunk.path for chunk in proxy.chunks}) == 1
    assert proxy.sent <= SIZE + sum(chunk.sent for chunk in interrupted)
    assert all(chunk.sent <= CHUNK_BYTES_MAX for chunk in proxy.chunks)


@pytest.mark.models
def test_a_video_is_found_by_its_local_name(tmp_path: Path, start: Callable[..., ServerProcess]) -> None:
    """A video of a type that is not decoded is found by its name and tags."""
    video = tmp_path / "cat falls_off-the sofa.mov"
    video.write_bytes(b"\0\0\0\x14ftypqt  \0\0\0\0" + bytes(100_000))
    os.utime(video, (1e9, 1e9))
    server = start("--types", "image/jpeg,video/quicktime", port=0)
    with home_in(tmp_path / "home", SPLOOT_SERVER=server.address) as home:
        home.ok("add", str(video), "--tag", "pets", "--wait", "--timeout", "60")
        (found,) = json.loads(home.ok("search", "cat sofa", "--json"))
        assert found["path"] == str(video)
        with httpx.Client(base_url=server.address) as plain:
            (asset,) = plain.get("/api/assets").json()["assets"]
    assert (asset["filename"], [tag["name"] for tag in asset["tags"]]) == (video.name, ["pets"])


def test_an_independent_client_resumes_after_the_server_was_killed(
    tmp_path: Path, start: Callable[..., ServerProcess]
) -> None:
    """With tus-py-client and the checksum algorithm that the protocol requires."""
    client = pytest.importorskip("tusclient.client", reason="needs the Python package tuspy")
    file = large(tmp_path / "a.jpg", PEERS_SIZE)
    server = start(port=0)
    port = int(server.address.rpartition(":")[2])
    options = {"chunk_size": 300_000, "upload_checksum": True, "metadata": {"filename": "a.jpg", "tags": '["by py"]'}}
    first = client.TusClient(f"{server.address}{PATH}").uploader(str(file), **options)
    first.upload(stop_at=PEERS_SIZE // 2)
    server.kill()
    server = start(port=port)
    second = client.TusClient(f"{server.address}{PATH}").uploader(str(file), url=first.url, **options)
    assert second.offset == first.offset >= PEERS_SIZE // 2
    second.upload()
    with httpx.Client(base_url=server.address) as plain:
        (asset,) = plain.get("/api/assets").json()["assets"]
    assert (asset["checksum"], [tag["name"] for tag in asset["tags"]]) == (sha256(file), ["by py"])
    assert second.request.response_headers["sploot-asset-id"] == asset["id"]


@pytest.fixture(scope="session")
def packages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = request.config.cache
    return installed(cache.mkdir("npm") if cache else tmp_path_factory.mktemp("npm"))


def test_a_client_from_npm_resumes_after_both_were_killed(
    tmp_path: Path, start: Callable[..., ServerProcess], packages: Path
) -> None:
    """With tus-js-client, in its own process."""
    file = large(tmp_path / "a.jpg", PEERS_SIZE)
    server = start(port=0)
    port = int(server.address.rpartition(":")[2])
    command = ["node", "client.mjs", f"{server.address}{PATH}", str(file), str(tmp_path / "urls")]
    with subprocess.Popen(command, cwd=packages, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        reached = [int(first.stdout.readline().split()[2]) for _ in range(3)][-1]
        first.kill()
    server.kill()
    server = start(port=port)
    output = subprocess.run(command, cwd=packages, capture_output=True, text=True, check=False, timeout=60).stdout
    lines = [line.split() for line in output.splitlines()]
    assert int(lines[0][1]) >= reached
    with httpx.Client(base_url=server.address) as plain:
        (asset,) = plain.get("/api/assets").json()["assets"]
    assert (asset["checksum"], asset["filename"]) == (sha256(file), "größe.jpg")
    assert lines[-1] == ["asset", asset["id"]]


@contextlib.asynccontextmanager
async def reading(file: Path) -> AsyncIterator[Content]:
    anything = Limits(1 << 40, frozenset({"image/jpeg"}))
    path = os.fsencode(file)
    async with read(path, stat_version(path), budget=MemoryBudget(100_000_000), limits=anything) as content:
        yield content


async def test_the_client_resumes_an_upload_to_a_server_from_npm_that_was_killed(
    tmp_path: Path, packages: Path
) -> None:
    """@tus/server has no assets: the file that it stores is checked."""
    file, kept = large(tmp_path / "a.jpg", 6 << 20), tmp_path / "kept"
    kept.mkdir()
    async with contextlib.AsyncExitStack() as closing:
        store = await closing.enter_async_context(open_store(tmp_path / "queue.db"))
        content = await closing.enter_async_context(reading(file))
        process, port = closing.enter_context(tus_server(packages, kept))
        clock = JumpClock()
        credentials = Credentials(tmp_path / "token", clock)
        client = SplootClient(f"http://127.0.0.1:{port}", credentials=credentials, connections=4)
        closing.push_async_callback(client.close)
        resumable = TusClient(client, store.ledger, clock)

        class KillingTransfer(Transfer):
            def record_progress(self, sent: int) -> None:
                if sent > content.size // 2:
                    process.kill()

        with pytest.raises(Exception, match=r"cannot be reached|was lost"):
            await resumable.send(
                content, "/files", tags=(), transfer=KillingTransfer(b"", 0), check_admission=lambda: None
            )
        process.wait()
        closing.enter_context(tus_server(packages, kept, port))
        resumed = TusClient(client, store.ledger, clock)
        transfer = Transfer(b"", content.size)
        response = await resumed.send(content, "/files", tags=("t",), transfer=transfer, check_admission=lambda: None)
        assert response.headers["upload-offset"] == str(content.size)
        assert transfer.resumed_offset > 1 << 20
        assert transfer.sent_bytes == content.size - transfer.resumed_offset
        assert await store.ledger.get_upload_path(content.sha256) is None
        files = {each.name: each for each in await asyncio.to_thread(lambda: list(kept.iterdir()))}
        (name,) = [name for name in files if not name.endswith(".json")]
        assert files[name].read_bytes() == file.read_bytes()
        assert json.loads(files[f"{name}.json"].read_text())["metadata"]["filename"] == content.name


async def test_an_upload_that_the_server_discarded_starts_again(
    tmp_path: Path, start: Callable[..., ServerProcess]
) -> None:
    file, server = large(tmp_path / "a.jpg", PEERS_SIZE), start()
    async with open_store(tmp_path / "queue.db") as store, reading(file) as content:
        credentials = Credentials(tmp_path / "token", JumpClock())
        client = SplootClient("local", credentials=credentials, connections=4, socket=server.socket)
        await store.ledger.start_upload(content.sha256, f"{PATH}/{'0' * 32}", now=0.0)
        resumable, transfer = TusClient(client, store.ledger, JumpClock()), Transfer(b"", PEERS_SIZE)
        stored = await resumable.upload(content, PATH, tags=("t",), transfer=transfer, check_admission=lambda: None)
        found = await client.check(content.sha256)
        assert found is not None
        assert (found.asset_id, stored.is_duplicate, transfer.sent_bytes) == (stored.asset_id, False, PEERS_SIZE)
        await client.close()
