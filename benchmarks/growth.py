"""How cost grows with what is in the store: `python benchmarks/growth.py [--sizes N,N,...] [--rounds N] [--plot FILE]`.

Per size: what a hundred more files take to be queued, a claim with its acknowledgement, what a status reads,
the memory of a process that has the store open, and the bytes on the disk. Every figure beyond the first size is also
given as a ratio to the first: flat is 1 x, and disk grows by item or not at all. The sizes take turns, and what counts
is the best of the rounds, so that a disk that is busy for a while burdens no size alone. `--plot` draws them as SVG.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from paired import rounds
from panels import drawn
from storekit import Store, opened, origin, version

from splootd.core.item import SHARDS
from splootd.store.arrivals import OFFER_MAX, Candidate

TRIES = 100
BATCH, BATCHES = 100, 20  # what is added to a store that is full
NAMES = {
    "enqueue_us_per_item": "enqueue, µs an item",
    "claim_and_accept_us": "claim and acknowledge, µs",
    "status_us": "status, µs",
    "memory_mb": "memory, MB",
    "disk_bytes_per_item": "disk, bytes an item",
}


@dataclass(frozen=True)
class Cost:
    """Times are microseconds that the quickest tenth took: what the work costs, whatever else the machine does."""

    enqueue_us_per_item: float
    claim_and_accept_us: float
    status_us: float
    memory_mb: float
    disk_bytes_per_item: float


async def measure(database: Path, items: int) -> Cost:
    async with opened(database) as store:
        for first in range(0, items, OFFER_MAX):
            await offer(store, first, OFFER_MAX)
        ((pages, page_bytes),) = await store.rows("SELECT * FROM pragma_page_count, pragma_page_size")
        batches = [await spent(lambda n=n: offer(store, items + n * BATCH, BATCH)) for n in range(BATCHES)]
        claims = [await spent(lambda shard=shard: claim(store, shard % SHARDS)) for shard in range(TRIES)]
        statuses = [await spent(store.listing.counts) for _ in range(TRIES)]
        memory_mb = rss_mb()
    return Cost(
        quickest(batches) / BATCH * 1e6,
        quickest(claims) * 1e6,
        quickest(statuses) * 1e6,
        memory_mb,
        pages * page_bytes / items,
    )


def quickest(seconds: Sequence[float]) -> float:
    return statistics.quantiles(seconds, n=10)[0]


async def spent(act: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await act()
    return time.perf_counter() - started


async def offer(store: Store, first: int, count: int) -> None:
    batch = [Candidate(b"/memes/%d.jpg" % number, version(number), None) for number in range(first, first + count)]
    await store.arrivals.offer(batch, origin(), still_there=lambda path, of: True, now=1.0)


async def claim(store: Store, shard: int) -> None:
    leased = await store.queue.claim(shard, now=2.0, chance=0.0)
    assert leased is not None
    await store.accept(leased)


def rss_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def measured(items: int) -> list[float]:
    """The figures of a Cost, measured in a process of its own."""
    command = [sys.executable, __file__, "--one", str(items)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(figure) for figure in done.stdout.split()]


def table(costs: dict[int, Cost]) -> None:
    names = list(asdict(next(iter(costs.values()))))
    print(f"{'items':>10}  " + "  ".join(f"{name:>24}" for name in names))
    first = asdict(next(iter(costs.values())))
    for items, cost in costs.items():
        cells = (f"{value:,.1f} ({value / first[name]:.2f} x)" for name, value in asdict(cost).items())
        print(f"{items:>10,}  " + "  ".join(f"{cell:>24}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="1000,10000,100000,1000000", help="how many items, thousands of them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plot", type=Path, help="where to draw it")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.one:  # in a process of its own, for its memory
            print(*asdict(asyncio.run(measure(Path(scratch, "queue.db"), arguments.one))).values())
            return
    sizes = list(map(int, arguments.sizes.split(",")))
    found = rounds(arguments.rounds, {str(items): partial(measured, items) for items in sizes})
    costs = {items: Cost(*map(min, zip(*found[str(items)], strict=True))) for items in sizes}
    table(costs)
    if arguments.plot:
        measures = {title: [getattr(cost, name) for cost in costs.values()] for name, title in NAMES.items()}
        arguments.plot.write_text(drawn(list(costs), measures), encoding="utf-8")


if __name__ == "__main__":
    main()
