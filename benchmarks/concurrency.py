"""Compare sixteen upload workers with one: `python benchmarks/concurrency.py [--items N] [--rounds N] [--delay-ms N]`.

The same uploader, store and server, which answers every request after a delay: once with all workers, once with a
single one that processes one item at a time. A plain Sploot takes one item per request, so at most four connections
bound the ratio by 4, and by 3 while one of them is reserved for control requests; our own server takes bundles.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from pipeline_fixtures import PipelineHarness, jpeg, open_pipeline
from scripted_sploot import FEATURES, ROUTES, Handler, Reply, Request, ScriptedSploot
from side_by_side import ratio, rounds, show

from splootd.core.item import SHARDS, shard_for

PATHS = 10_000
PLAIN: dict[str, Any] = {}


def late(sploot: ScriptedSploot, delay_s: float) -> Handler:
    async def act(request: Request) -> Reply:
        await asyncio.sleep(delay_s)
        return await sploot.act(request)

    return act


async def through(items: int, delay_s: float, offers: dict[str, Any], *, all_workers: bool) -> float:
    """Return the seconds until the server has every item."""
    with tempfile.TemporaryDirectory() as scratch:
        async with open_pipeline(Path(scratch)) as pipeline:
            pipeline.sploot.features = offers
            for route in {*ROUTES.values()} - {"limits"}:
                pipeline.sploot.always[route] = late(pipeline.sploot, delay_s)
            for number in range(items):
                await pipeline.add(f"{number}.jpg", jpeg(number, 30_000))
            started = time.perf_counter()
            if all_workers:
                pipeline.start()
                await pipeline.until_through()
            else:
                await one_by_one(pipeline)
            return time.perf_counter() - started


async def one_by_one(pipeline: PipelineHarness) -> None:
    for shard in range(SHARDS):
        while await pipeline.uploader.run_once(shard):
            pass


def spread(paths: int) -> float:
    """Return the distance of the most uneven shard from an even share, for names as cameras and chats write them."""
    full = [0] * SHARDS
    for number in range(paths):
        full[shard_for(os.fsencode(f"/home/user/Pictures/2024/{number % 12:02}/IMG_{number:05}.jpg"))] += 1
    return max(abs(each * SHARDS / paths - 1) for each in full)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--delay-ms", type=float, default=100.0)
    arguments = parser.parse_args()
    delay_s = arguments.delay_ms / 1000
    took = rounds(
        arguments.rounds,
        {
            "one worker": lambda: asyncio.run(through(arguments.items, delay_s, PLAIN, all_workers=False)),
            "all workers": lambda: asyncio.run(through(arguments.items, delay_s, PLAIN, all_workers=True)),
            "all workers, bundles": lambda: asyncio.run(through(arguments.items, delay_s, FEATURES, all_workers=True)),
        },
    )
    print(f"{arguments.items} items, {arguments.delay_ms:.0f} ms per response")
    for name, target in (("all workers", "4 x, with one item per request"), ("all workers, bundles", "16 x")):
        show(f"  {name} against one worker", f"{ratio(took['one worker'], took[name]):.1f} x", f"to reach: {target}")
    show(f"{PATHS:,} paths: a shard's distance from an even share, at most", f"{spread(PATHS):.1%}", "to reach: 10 %")


if __name__ == "__main__":
    main()
