"""Small files with bundles and without: `python benchmarks/bundles.py [--files 1000] [--bytes 20000] [--rounds 3]`.

The daemon's lanes, its store and a real `sploot-server` on a Unix socket, which stores and reads no picture. Without
bundles the lanes are told that the server offers none, as a plain Sploot does. Then a server that is far away, and
answers everything after a while: all lanes against a single one.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import toy_library
from lanes import late, one_by_one
from paired import ratio, rounds, show
from scripted import OFFERS
from walkkit import HEAD, Walk, jpeg, walking

from splootd.remote.answers import Limits

CALLS = ("check", "check_batch", "upload", "upload_bundle")
QUIET = [sys.executable, str(Path(__file__).parent / "quiet_library.py")]
END = b"\xff\xd9"


@dataclass
class Measured:
    """Requests for each file, round by round, and processor time of this process in seconds."""

    requests: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)


@contextmanager
def plain() -> Iterator[None]:
    """As if the server offered nothing."""
    with mock.patch.object(Limits, "checks_max", 0), mock.patch.object(Limits, "bundle_files_max", 0):
        yield


async def nearby(files: int, size: int, measured: Measured) -> float:
    """Seconds until a library on this machine has every file."""
    with tempfile.TemporaryDirectory() as scratch, mock.patch.object(toy_library, "COMMAND", QUIET):
        folder = Path(scratch)
        server = toy_library.ServerProcess(folder / "library")
        async with walking(folder, socket=server.socket) as walk:
            for number in range(files):
                await walk.add(f"{number}.jpg", HEAD + os.urandom(size) + END)
            started, cpu = time.perf_counter(), time.process_time()
            walk.start()
            await walk.until_through()
            took = time.perf_counter() - started
            measured.cpu_s.append(time.process_time() - cpu)
            calls = sum(sum(walk.server.calls[name].outcomes.values()) for name in CALLS)
            measured.requests.append(calls / files)
            await walk.stop()
        server.stop()
    return took


async def faraway(items: int, delay_s: float, *, all_lanes: bool) -> float:
    """Seconds until a server that takes its time has every file."""
    with tempfile.TemporaryDirectory() as scratch:
        async with walking(Path(scratch)) as walk:
            walk.sploot.features = OFFERS
            for route in ("checks", "bundle"):
                walk.sploot.always[route] = late(walk.sploot, delay_s)
            for number in range(items):
                await walk.add(f"{number}.jpg", jpeg(number, 30_000))
            started = time.perf_counter()
            await _through(walk, all_lanes=all_lanes)
            return time.perf_counter() - started


async def _through(walk: Walk, *, all_lanes: bool) -> None:
    if all_lanes:
        walk.start()
        await walk.until_through()
        await walk.stop()
    else:
        await one_by_one(walk)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--bytes", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--items", type=int, default=128, help="to the server far away")
    parser.add_argument("--delay-ms", type=float, default=50.0)
    arguments = parser.parse_args()
    alone, together = Measured(), Measured()

    def one_by_one() -> float:
        with plain():
            return asyncio.run(nearby(arguments.files, arguments.bytes, alone))

    took = rounds(
        arguments.rounds,
        {
            "alone": one_by_one,
            "together": lambda: asyncio.run(nearby(arguments.files, arguments.bytes, together)),
        },
    )
    size = f"{arguments.bytes:,} bytes"
    for name, measured in (("one by one", alone), ("in bundles", together)):
        seconds = took["alone" if measured is alone else "together"]
        show(f"{arguments.files:,} files of {size}, {name}: files/s", f"{arguments.files / min(seconds):,.0f}")
        show("  requests for each file", f"{sum(measured.requests) / len(measured.requests):.2f}")
        show("  processor time of the daemon for each file", f"{min(measured.cpu_s) / arguments.files * 1000:.2f} ms")
    show("in bundles against one by one: files/s", f"{ratio(took['alone'], took['together']):.2f} x")
    delay_s = arguments.delay_ms / 1000
    far = rounds(
        arguments.rounds,
        {
            "one lane": lambda: asyncio.run(faraway(arguments.items, delay_s, all_lanes=False)),
            "all lanes": lambda: asyncio.run(faraway(arguments.items, delay_s, all_lanes=True)),
        },
    )
    what = f"{arguments.items} files, answers after {arguments.delay_ms:.0f} ms: all lanes against one"
    show(what, f"{ratio(far['one lane'], far['all lanes']):.1f} x", "to reach: 16 x; one file a request: 4 x")


if __name__ == "__main__":
    main()
