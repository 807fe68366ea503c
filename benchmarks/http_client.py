"""Compare HTTP clients of the daemon: `python benchmarks/http_client.py` (`--help` lists the sizes).

The same work through httpx with the daemon's own transport (`ConnectionPool`), and through plain httpx with the pool of
httpcore; both use at most four connections. Plain httpx is to carry the requests unless it takes more than 1.15 times
as long for the second or third of these jobs: small requests over a Unix socket, one after another; the main job, in
which the real daemon uploads files to its local server, which stores them without analysis; and files to a plain
Sploot that responds after a delay, through the whole upload pipeline. The servers run in processes of their own.
"""

import argparse
import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import httpx
from pipeline_fixtures import JumpClock, jpeg, open_pipeline
from sample_files import mass
from scripted_sploot import ROUTES, Reply, Request, ScriptedSploot
from side_by_side import ratio, rounds, show, timed
from temp_home import home_in
from upload import add_until_stored, daemon

from splootd.credentials import Credentials
from splootd.daemon import main as main_of_daemon
from splootd.remote import connection_pool
from splootd.remote.client import SplootClient
from splootd.system import local_server

HERE = Path(__file__).resolve().parent


def create_plain_httpx(base_url: str, *, socket: Path | None, connections_max: int, **_: Any) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=connections_max, keepalive_expiry=connection_pool.KEEPALIVE_EXPIRY_S)
    transport = httpx.AsyncHTTPTransport(limits=limits, uds=str(socket) if socket else None)
    headers = connection_pool.DEFAULT_HEADERS
    return httpx.AsyncClient(base_url=base_url, transport=transport, headers=headers)


CLIENTS: dict[str, Callable[..., Any]] = {"own": connection_pool.create_client, "httpx": create_plain_httpx}


def using(name: str) -> contextlib.AbstractContextManager[Any]:
    return mock.patch("splootd.remote.connection_pool.create_client", CLIENTS[name])


async def serve(socket: Path, delay_s: float) -> None:
    """Serve a plain Sploot on `socket` until the process ends."""
    sploot = ScriptedSploot()
    sploot.features = None

    async def act_late(request: Request) -> Reply:
        await asyncio.sleep(delay_s)
        return await sploot.act(request)

    if delay_s:
        sploot.always = dict.fromkeys(ROUTES.values(), act_late)
    async with sploot.serve(socket):
        await asyncio.Event().wait()


@contextlib.contextmanager
def server(socket: Path, delay_s: float) -> Iterator[None]:
    """Run `serve` in another process."""
    with subprocess.Popen(
        [sys.executable, str(HERE / "http_client.py"), "serve", str(socket), str(delay_s)]
    ) as process:
        try:
            while not socket.exists():
                time.sleep(0.01)
            yield
        finally:
            process.terminate()


async def send_small_requests(socket: Path, count: int) -> None:
    credentials = Credentials(socket.parent / "token", JumpClock())
    client = SplootClient("local", credentials=credentials, connections=4, socket=socket)
    for number in range(count):
        await client.check(number.to_bytes(32, "big"))
    await client.close()


def small_requests(name: str, count: int) -> float:
    with tempfile.TemporaryDirectory() as folder, server(Path(folder) / "s", 0.0), using(name):
        return timed(lambda: asyncio.run(send_small_requests(Path(folder) / "s", count)))


async def upload_files(folder: Path, count: int) -> float:
    async with open_pipeline(folder, socket=folder / "slow") as pipeline:
        for number in range(count):
            await pipeline.add(f"{number}.jpg", jpeg(number, 30_000))
        started = time.perf_counter()
        pipeline.start()
        await wait_until_uploaded(pipeline)
        return time.perf_counter() - started


async def wait_until_uploaded(pipeline: Any) -> None:
    while counts := dict((await pipeline.store.read_queries.counts()).by_state):
        if not counts.get("pending") and not counts.get("uploading"):
            return
        await asyncio.sleep(0.05)


def slow_server(name: str, count: int, delay_s: float) -> float:
    with tempfile.TemporaryDirectory() as folder, server(Path(folder) / "slow", delay_s), using(name):
        return asyncio.run(upload_files(Path(folder), count))


def main_job(name: str, source: Path) -> float:
    """Return the seconds from `add` until a fresh local server has all files of `source`."""
    count = sum(1 for _ in source.iterdir())
    program = (str(HERE / "http_client.py"), "daemon", name)
    with tempfile.TemporaryDirectory() as folder, home_in(Path(folder) / "home") as home, daemon(home, program):
        return timed(lambda: add_until_stored(home, source, count))


def run_daemon(name: str) -> None:
    local_server.PROGRAM = (str(HERE / "server_without_analysis.py"),)
    sys.argv = [sys.argv[0], *sys.argv[3:]]
    with using(name):
        main_of_daemon()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--files", type=int, default=2_000)
    parser.add_argument("--delay-ms", type=float, default=20.0)
    parser.add_argument("--main-files", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        mass(source, count=arguments.main_files, size_bytes=30_000, seed=1)
        small = partial(small_requests, count=arguments.requests)
        slow = partial(slow_server, count=arguments.files, delay_s=arguments.delay_ms / 1000)
        jobs: dict[str, tuple[Callable[[str], float], str]] = {
            f"{arguments.requests:,} small requests": (small, ""),
            f"main job, {arguments.main_files:,} files": (partial(main_job, source=source), "over 1.15 x: keep own"),
            f"{arguments.files:,} files, {arguments.delay_ms:.0f} ms per response": (slow, "over 1.15 x: keep own"),
        }
        for what, (job, target) in jobs.items():
            took = rounds(arguments.rounds, {name: partial(job, name) for name in CLIENTS})
            for name, seconds in took.items():
                show(f"{what}: {name}", f"{min(seconds):,.2f} s")
            show(
                "  time of plain httpx over that with the own transport",
                f"{ratio(took['httpx'], took['own']):.2f} x",
                target,
            )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", socket, delay_s]:
            asyncio.run(serve(Path(socket), float(delay_s)))
        case ["daemon", name, *_]:
            run_daemon(name)
        case _:
            main()
