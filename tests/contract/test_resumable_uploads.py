"""Large files over the real wire: the daemon and the library killed at any byte, and clients and servers of others."""

import asyncio
import contextlib
import hashlib
import json
import os
import random
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import memes
import pytest
from homes import Home, home_in
from storekit import opened
from toy_library import ServerProcess
from tuspeers import installed, tus_server
from tuswire import Wire
from walkkit import HEAD, JumpClock

from splootd.credentials import Credentials
from splootd.metrics.traffic import Transfer
from splootd.remote.answers import Limits
from splootd.remote.api import Server
from splootd.remote.resumable import CHUNK_BYTES_MAX, Resumable
from splootd.work.files import Content, MemoryBudget, look, read

SIZE = 24 << 20
PEERS_SIZE = 4 << 20
PATH = "/api/upload/resumable"
ROOM = ("--max-upload-bytes", str(100 << 20))
END = b"\xff\xd9"


def large(path: Path, size: int = SIZE, seed: int = 1) -> Path:
    """A real picture, with so much behind its end that it is large."""
    (meme,) = memes.make(path.parent / "small", count=1, seed=seed, sizes="small")
    data = meme.path.read_bytes()
    path.write_bytes(data + random.Random(seed).randbytes(size - len(data) - len(END)) + END)
    os.utime(path, (1e9, 1e9))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts libraries on one folder, one after the other."""
    with contextlib.ExitStack() as closing:

        def start(*options: str, port: int | None = None) -> ServerProcess:
            server = ServerProcess(tmp_path / "library", *ROOM, *options, port=port)
            closing.callback(server.process.wait)
            closing.callback(server.process.kill)
            return server

        yield start


class Killing:
    """One large file from a real daemon to a real library, both of which die on the way."""

    def __init__(self, home: Home, wire: Wire, start: Callable[..., ServerProcess]) -> None:
        self.home = home
        self.wire = wire
        self.start = start
        self.server = start()

    def kill_server(self) -> None:
        self.server.kill()
        self.server = self.start()

    def kill_daemon(self) -> None:
        assert self.home.kill_daemon()

    def has_arrived(self) -> bool:
        """Asking starts the daemon again; it may die before it has answered."""
        asked = self.home.run("list", "--json")
        return asked.returncode == 0 and json.loads(asked.stdout)["asset_id"] is not None


@pytest.mark.models
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_any_byte_on_either_side_it_goes_on_from_what_was_acknowledged(
    tmp_path: Path, start: Callable[..., ServerProcess], seed: int
) -> None:
    chance = random.Random(seed)
    file = large(tmp_path / "large.jpg", seed=seed)
    wire = Wire(tmp_path / "library" / "s.sock")
    with wire.running(), home_in(tmp_path / "home", SPLOOT_SERVER=wire.url) as home:
        story = Killing(home, wire, start)
        moments = sorted(chance.sample(range(SIZE), 6))
        wire.kills = [
            (moment, story.kill_server if number % 2 else story.kill_daemon) for number, moment in enumerate(moments)
        ]
        home.ok("add", str(file))
        while not story.has_arrived():
            pass
        (row,) = home.rows()
        with story.server.client() as client:
            (asset,) = client.get("/api/assets").json()["assets"]
        assert (asset["id"], asset["checksum"], row["attempts"]) == (row["asset_id"], sha256(file), 0)
        assert "Traceback" not in home.log()
    assert wire.kills == []
    assert_nothing_acknowledged_was_sent_again(wire)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux, which tells peaks of memory")
def test_memory_is_flat_however_large_the_file(tmp_path: Path, start: Callable[..., ServerProcess]) -> None:
    server = start("--max-upload-bytes", str(1 << 30), port=0)
    with home_in(tmp_path / "home", SPLOOT_SERVER=server.address) as home:
        send(home, hollow(tmp_path / "warm.jpg", 9 << 20))
        programs = [pid for pid in (home.daemon_pid(), server.process.pid) if pid is not None]
        before = [forget_peak(pid) for pid in programs]
        send(home, hollow(tmp_path / "large.jpg", 256 << 20))
        grown = [memory_kb(pid, "VmHWM") - kb for pid, kb in zip(programs, before, strict=True)]
    assert len(grown) == 2
    assert max(grown) < 10_000


def hollow(path: Path, size: int) -> Path:
    """Something that begins and ends as a JPEG does, and takes no room on the disk."""
    with path.open("wb") as file:
        file.write(HEAD)
        file.seek(size - len(END))
        file.write(END)
    os.utime(path, (1e9, 1e9))
    return path


def send(home: Home, file: Path) -> None:
    home.ok("add", str(file))
    while not all(row["asset_id"] for row in home.rows()):
        pass


def memory_kb(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def forget_peak(pid: int) -> int:
    """What it has now, in KB, and from now on its peak."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return memory_kb(pid, "VmRSS")


def assert_nothing_acknowledged_was_sent_again(wire: Wire) -> None:
    """What is lost with a broken part is that part, and it was no larger than a chunk."""
    acknowledged = 0
    for part in wire.parts:
        assert part.start >= acknowledged
        acknowledged = max(acknowledged, part.reached or 0)
    broken = [part for part in wire.parts if part.reached is None]
    assert acknowledged == SIZE
    assert len(broken) <= 7
    assert len({part.path for part in wire.parts}) == 1
    assert wire.sent <= SIZE + sum(part.sent for part in broken)
    assert all(part.sent <= CHUNK_BYTES_MAX for part in wire.parts)


@pytest.mark.models
def test_a_film_is_found_by_the_name_it_has_here(tmp_path: Path, start: Callable[..., ServerProcess]) -> None:
    """Nobody has looked into it, so its name and its tags are all there is."""
    film = tmp_path / "cat falls_off-the sofa.mp4"
    film.write_bytes(b"\0\0\0\x20ftypisom\0\0\2\0" + bytes(100_000))
    os.utime(film, (1e9, 1e9))
    server = start("--types", "image/jpeg,video/mp4", port=0)
    with home_in(tmp_path / "home", SPLOOT_SERVER=server.address) as home:
        home.ok("add", str(film), "--tag", "pets", "--wait", "--timeout", "60")
        (found,) = json.loads(home.ok("search", "cat sofa", "--json"))
        assert found["path"] == str(film)
        with httpx.Client(base_url=server.address) as plain:
            (asset,) = plain.get("/api/assets").json()["assets"]
    assert (asset["filename"], [tag["name"] for tag in asset["tags"]]) == (film.name, ["pets"])


def test_another_client_uploads_to_the_library_through_its_death(
    tmp_path: Path, start: Callable[..., ServerProcess]
) -> None:
    """tus-py-client, with the checksums that the protocol asks for at least."""
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


def test_a_client_from_npm_goes_on_after_both_have_died(
    tmp_path: Path, start: Callable[..., ServerProcess], packages: Path
) -> None:
    """tus-js-client, in a process of its own."""
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
    said = subprocess.run(command, cwd=packages, capture_output=True, text=True, check=False, timeout=60).stdout
    lines = [line.split() for line in said.splitlines()]
    assert int(lines[0][1]) >= reached
    with httpx.Client(base_url=server.address) as plain:
        (asset,) = plain.get("/api/assets").json()["assets"]
    assert (asset["checksum"], asset["filename"]) == (sha256(file), "größe.jpg")
    assert lines[-1] == ["asset", asset["id"]]


@contextlib.asynccontextmanager
async def reading(file: Path) -> AsyncIterator[Content]:
    anything = Limits(1 << 40, frozenset({"image/jpeg"}))
    path = os.fsencode(file)
    async with read(path, look(path), budget=MemoryBudget(100_000_000), limits=anything) as content:
        yield content


async def test_the_client_uploads_to_a_server_from_npm_and_goes_on_when_that_has_died(
    tmp_path: Path, packages: Path
) -> None:
    """@tus/server, which knows nothing of assets: what counts is the file that it keeps."""
    file, kept = large(tmp_path / "a.jpg", 6 << 20), tmp_path / "kept"
    kept.mkdir()
    async with contextlib.AsyncExitStack() as closing:
        store = await closing.enter_async_context(opened(tmp_path / "queue.db"))
        content = await closing.enter_async_context(reading(file))
        process, port = closing.enter_context(tus_server(packages, kept))
        clock = JumpClock()
        credentials = Credentials(tmp_path / "token", clock)
        server = Server(f"http://127.0.0.1:{port}", credentials=credentials, connections=4)
        closing.push_async_callback(server.close)
        resumable = Resumable(server, store.ledger, clock)

        class Deadly(Transfer):
            def progress(self, sent: int) -> None:
                if sent > content.size // 2:
                    process.kill()

        with pytest.raises(Exception, match=r"cannot be reached|broke"):
            await resumable.send(content, "/files", tags=(), transfer=Deadly(b"", 0), may_go=lambda: None)
        process.wait()
        closing.enter_context(tus_server(packages, kept, port))
        anew = Resumable(server, store.ledger, clock)
        transfer = Transfer(b"", content.size)
        answer = await anew.send(content, "/files", tags=("t",), transfer=transfer, may_go=lambda: None)
        assert answer.headers["upload-offset"] == str(content.size)
        assert transfer.resumed_at > 1 << 20
        assert transfer.carried == content.size - transfer.resumed_at
        assert await store.ledger.upload(content.sha256) is None
        files = {each.name: each for each in await asyncio.to_thread(lambda: list(kept.iterdir()))}
        (name,) = [name for name in files if not name.endswith(".json")]
        assert files[name].read_bytes() == file.read_bytes()
        assert json.loads(files[f"{name}.json"].read_text())["metadata"]["filename"] == "a.jpg"


async def test_an_upload_that_the_library_has_thrown_away_is_begun_anew(
    tmp_path: Path, start: Callable[..., ServerProcess]
) -> None:
    file, server = large(tmp_path / "a.jpg", PEERS_SIZE), start()
    async with opened(tmp_path / "queue.db") as store, reading(file) as content:
        credentials = Credentials(tmp_path / "token", JumpClock())
        client = Server("local", credentials=credentials, connections=4, socket=server.socket)
        await store.ledger.upload_begun(content.sha256, f"{PATH}/{'0' * 32}", now=0.0)
        resumable, transfer = Resumable(client, store.ledger, JumpClock()), Transfer(b"", PEERS_SIZE)
        stored = await resumable.upload(content, PATH, tags=("t",), transfer=transfer, may_go=lambda: None)
        found = await client.check(content.sha256)
        assert found is not None
        assert (found.asset_id, stored.duplicate, transfer.carried) == (stored.asset_id, False, PEERS_SIZE)
        await client.close()
