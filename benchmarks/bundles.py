"""Upload small files with and without bundles: `python benchmarks/bundles.py [--files N] [--bytes N] [--rounds N]`.

Measures the upload workers and the store against a real `sploot-server` on a Unix socket that stores images without
analysing them. For the run without bundles the server announces no such feature, as a plain Sploot does. A second
measurement compares all workers with a single one on a server that answers every request after a delay.
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
from concurrency import late, one_by_one
from pipeline_fixtures import HEAD, PipelineHarness, jpeg, open_pipeline
from scripted_sploot import FEATURES
from side_by_side import ratio, rounds, show

from splootd.core.limits import Limits

CALLS = ("check", "check_batch", "upload", "upload_bundle")
QUIET = [sys.executable, str(Path(__file__).parent / "server_without_analysis.py")]
END = b"\xff\xd9"


@dataclass
class Measured:
    """Requests per file in each round, and processor time of this process in seconds."""

    requests: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)


@contextmanager
def plain() -> Iterator[None]:
    """Make the server announce no features."""
    with mock.patch.object(Limits, "checks_max", 0), mock.patch.object(Limits, "bundle_files_max", 0):
        yield


async def nearby(files: int, size: int, measured: Measured) -> float:
    """Return the seconds until a server on this machine has every file."""
    with tempfile.TemporaryDirectory() as scratch, mock.patch.object(toy_library, "COMMAND", QUIET):
        folder = Path(scratch)
        server = toy_library.ServerProcess(folder / "library")
        async with open_pipeline(folder, socket=server.socket) as pipeline:
            for number in range(files):
                await pipeline.add(f"{number}.jpg", HEAD + os.urandom(size) + END)
            started, cpu = time.perf_counter(), time.process_time()
            pipeline.start()
            await pipeline.until_through()
            took = time.perf_counter() - started
            measured.cpu_s.append(time.process_time() - cpu)
            calls = sum(sum(pipeline.client.calls[name].outcomes.values()) for name in CALLS)
            measured.requests.append(calls / files)
            await pipeline.stop()
        server.stop()
    return took


async def faraway(items: int, delay_s: float, *, all_lanes: bool) -> float:
    """Return the seconds until a slow server has every file."""
    with tempfile.TemporaryDirectory() as scratch:
        async with open_pipeline(Path(scratch)) as pipeline:
            pipeline.sploot.features = FEATURES
            for route in ("checks", "bundle"):
                pipeline.sploot.always[route] = late(pipeline.sploot, delay_s)
            for number in range(items):
                await pipeline.add(f"{number}.jpg", jpeg(number, 30_000))
            started = time.perf_counter()
            await _through(pipeline, all_lanes=all_lanes)
            return time.perf_counter() - started


async def _through(pipeline: PipelineHarness, *, all_lanes: bool) -> None:
    if all_lanes:
        pipeline.start()
        await pipeline.until_through()
        await pipeline.stop()
    else:
        await one_by_one(pipeline)


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
        show("  requests per file", f"{sum(measured.requests) / len(measured.requests):.2f}")
        show("  processor time of the daemon per file", f"{min(measured.cpu_s) / arguments.files * 1000:.2f} ms")
    show("in bundles against one by one: files/s", f"{ratio(took['alone'], took['together']):.2f} x")
    delay_s = arguments.delay_ms / 1000
    far = rounds(
        arguments.rounds,
        {
            "one worker": lambda: asyncio.run(faraway(arguments.items, delay_s, all_lanes=False)),
            "all workers": lambda: asyncio.run(faraway(arguments.items, delay_s, all_lanes=True)),
        },
    )
    what = f"{arguments.items} files, {arguments.delay_ms:.0f} ms per response: all workers against one"
    show(what, f"{ratio(far['one worker'], far['all workers']):.1f} x", "target: 16 x; one file per request: 4 x")


if __name__ == "__main__":
    main()
