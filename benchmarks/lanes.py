"""Sixteen lanes against one: `python benchmarks/lanes.py [--items 128] [--rounds 3] [--delay-ms 100]`.

The same uploader, store and server, which answers everything after a while: once with all lanes, once with a single
one that takes one item at a time. Sploot's plain contract has one item a request, so that at most 4 connections bound
the ratio by 4, and by 3 as long as one of them is kept for signs of life; our own server takes many in one.
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

from paired import ratio, rounds, show
from scripted import OFFERS, ROUTES, Act, Reply, Request, Scripted
from walkkit import Walk, jpeg, walking

from splootd.core.item import SHARDS, shard_of

PATHS = 10_000
PLAIN: dict[str, Any] = {}


def late(sploot: Scripted, delay_s: float) -> Act:
    async def act(request: Request) -> Reply:
        await asyncio.sleep(delay_s)
        return await sploot.act(request)

    return act


async def through(items: int, delay_s: float, offers: dict[str, Any], *, all_lanes: bool) -> float:
    """Seconds until the server has every item."""
    with tempfile.TemporaryDirectory() as scratch:
        async with walking(Path(scratch)) as walk:
            walk.sploot.features = offers
            for route in {*ROUTES.values()} - {"limits"}:
                walk.sploot.always[route] = late(walk.sploot, delay_s)
            for number in range(items):
                await walk.add(f"{number}.jpg", jpeg(number, 30_000))
            started = time.perf_counter()
            if all_lanes:
                walk.start()
                await walk.until_through()
            else:
                await one_by_one(walk)
            return time.perf_counter() - started


async def one_by_one(walk: Walk) -> None:
    for shard in range(SHARDS):
        while await walk.uploader.run_once(shard):
            pass


def spread(paths: int) -> float:
    """By how much the fullest or emptiest shard is off an even share, of file names as cameras and chats make them."""
    full = [0] * SHARDS
    for number in range(paths):
        full[shard_of(os.fsencode(f"/home/user/Pictures/2024/{number % 12:02}/IMG_{number:05}.jpg"))] += 1
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
            "one lane": lambda: asyncio.run(through(arguments.items, delay_s, PLAIN, all_lanes=False)),
            "all lanes": lambda: asyncio.run(through(arguments.items, delay_s, PLAIN, all_lanes=True)),
            "all lanes, bundles": lambda: asyncio.run(through(arguments.items, delay_s, OFFERS, all_lanes=True)),
        },
    )
    print(f"{arguments.items} items, answers after {arguments.delay_ms:.0f} ms")
    for name, target in (("all lanes", "4 x, with one item a request"), ("all lanes, bundles", "16 x")):
        show(f"  {name} against one lane", f"{ratio(took['one lane'], took[name]):.1f} x", f"to reach: {target}")
    show(f"{PATHS:,} paths: a shard's distance from an even share, at most", f"{spread(PATHS):.1%}", "to reach: 10 %")


if __name__ == "__main__":
    main()
