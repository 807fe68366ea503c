"""Measure large files in chunks: `python benchmarks/resumable.py [--bytes 1000000000] [--sizes 1,2,4,8,16,64]`.

First the memory: one file of `--bytes` from a real daemon to a real `sploot-server` that does not analyse it, over TCP
on this machine, after a warm-up file of 9 MB. Prints per program the peak memory above the memory before.

Then, for sizes in MB, the time of a file in chunks against the same file as a form, from the same client to the same
server, alternating: each chunk is hashed once more, flushed and acknowledged.
"""

import argparse
import asyncio
import itertools
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from file_reading import read
from pipeline_fixtures import HEAD, JumpClock
from store_fixtures import open_store
from temp_home import Home, home_in
from toy_library import ServerProcess

from splootd.core.limits import Limits
from splootd.credentials import Credentials
from splootd.file_reader import MemoryBudget, stat_version
from splootd.metrics.collector import Transfer
from splootd.remote.client import SplootClient
from splootd.upload.transports.tus import TusClient, get_tus_path

MB = 1_000_000
WARM_BYTES = 9 * MB
PIECE_BYTES = MB
ROOM = ("--max-upload-bytes", str(10**12))
LOOK_S = 0.2
ROUNDS = 5
END = b"\xff\xd9"
numbers = itertools.count(1)


def make(path: Path, size: int) -> Path:
    """Write different bytes each time that begin and end like a JPEG."""
    chance, left = random.Random(next(numbers)), size - len(HEAD) - len(END)
    with path.open("wb") as file:
        file.write(HEAD)
        while left:
            left -= file.write(chance.randbytes(min(left, PIECE_BYTES)))
        file.write(END)
    os.utime(path, (1e9, 1e9))
    return path


def memory_kb(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def forget_peak(pid: int) -> int:
    """Reset the peak to the present memory and return it."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return memory_kb(pid, "VmRSS")


def send(home: Home, file: Path) -> float:
    """Return the seconds from the command to the server's response."""
    started = time.perf_counter()
    home.ok("add", str(file))
    while not all(row["asset_id"] for row in home.rows()):
        time.sleep(LOOK_S)
    return time.perf_counter() - started


def memory(folder: Path, size: int) -> None:
    server = ServerProcess(folder / "library", *ROOM, port=0)
    try:
        with home_in(folder / "home", SPLOOT_SERVER=server.address) as home:
            send(home, make(folder / "warm.jpg", WARM_BYTES))
            daemon = home.daemon_pid()
            assert daemon is not None
            file = make(folder / "large.jpg", size)
            before = {"splootd": forget_peak(daemon), "sploot-server": forget_peak(server.process.pid)}
            took_s = send(home, file)
            after = {"splootd": memory_kb(daemon, "VmHWM"), "sploot-server": memory_kb(server.process.pid, "VmHWM")}
        print(f"{size / MB:,.0f} MB in {took_s:.1f} s, {size / MB / took_s:.0f} MB/s")
        for program, kb in before.items():
            print(f"  {program:13} {kb / 1000:6.1f} MB before, peak {(after[program] - kb) / 1000:4.1f} MB more")
    finally:
        server.stop()


async def ratios(folder: Path, sizes: list[int]) -> None:
    server = ServerProcess(folder / "library", *ROOM)
    async with open_store(folder / "queue.db") as store:
        clock = JumpClock()
        client = SplootClient(
            "local", credentials=Credentials(folder / "token", clock), connections=4, socket=server.socket
        )
        try:
            limits = await client.limits()
            path = get_tus_path(limits)
            assert path is not None
            resumable = TusClient(client, store.ledger, clock)
            for size in sizes:
                times = [await paired(folder, size, client, resumable, path) for _ in range(ROUNDS)]
                ratio = statistics.median(chunks / form for form, chunks in times)
                form_ms = statistics.median(form for form, _ in times) * 1e3
                print(f"{size:4} MB: in chunks {ratio:.2f} x the time of a form ({form_ms:.0f} ms)")
        finally:
            await client.close()
            await asyncio.to_thread(server.stop)


async def paired(folder: Path, size: int, client: SplootClient, resumable: TusClient, path: str) -> tuple[float, float]:
    """Return the seconds as a form and in chunks, each with different content."""

    async def timed(way: Callable[..., Awaitable[object]]) -> float:
        file = await asyncio.to_thread(make, folder / "file.jpg", size * MB)
        raw = os.fsencode(file)
        everything = Limits(10**12, frozenset({"image/jpeg"}))
        async with read(raw, stat_version(raw), budget=MemoryBudget(100 * MB), limits=everything) as content:
            started = time.perf_counter()
            await way(content)
            return time.perf_counter() - started

    form = await timed(client.upload)
    chunks = await timed(
        lambda content: resumable.upload(
            content, path, tags=(), transfer=Transfer(b"", 0), check_admission=lambda: None
        )
    )
    return form, chunks


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the memory and time of large files in chunks.")
    parser.add_argument("--bytes", type=int, default=1000 * MB)
    parser.add_argument("--sizes", default="1,2,4,8,16,64", help="in MB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        memory(Path(folder), options.bytes)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(ratios(Path(folder), [int(size) for size in options.sizes.split(",")]))


if __name__ == "__main__":
    main()
