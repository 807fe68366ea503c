"""Measure costs as the store grows: `python benchmarks/growth.py [--sizes N,N,...] [--rounds N] [--plot FILE]`.

Per size: enqueueing a hundred more files, a claim with its acknowledgement, the queries of a status, the memory of a
process that has the store open, and the bytes on the disk. Every figure beyond the first size also has its ratio to the
first: 1 x is flat. The sizes take turns and the best round counts, so that a busy disk affects all sizes alike.
`--plot` renders the figures as SVG.
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

from side_by_side import rounds
from store_fixtures import Store, open_store, source, version
from svg_charts import drawn

from splootd.core.item import SHARDS, FoundFile
from splootd.store.enqueue import ENQUEUE_BATCH_MAX

TRIES = 100
BATCH, BATCHES = 100, 20  # files added to the filled store
NAMES = {
    "enqueue_us_per_item": "enqueue, µs an item",
    "claim_and_accept_us": "claim and acknowledge, µs",
    "status_us": "status, µs",
    "memory_mb": "memory, MB",
    "disk_bytes_per_item": "disk, bytes an item",
}


@dataclass(frozen=True)
class Cost:
    """Times are microseconds of the fastest tenth: the cost of the work without other load."""

    enqueue_us_per_item: float
    claim_and_accept_us: float
    status_us: float
    memory_mb: float
    disk_bytes_per_item: float


async def measure(database: Path, items: int) -> Cost:
    async with open_store(database) as store:
        for first in range(0, items, ENQUEUE_BATCH_MAX):
            await offer(store, first, ENQUEUE_BATCH_MAX)
        ((pages, page_bytes),) = await store.rows("SELECT * FROM pragma_page_count, pragma_page_size")
        batches = [await spent(lambda n=n: offer(store, items + n * BATCH, BATCH)) for n in range(BATCHES)]
        claims = [await spent(lambda shard=shard: claim(store, shard % SHARDS)) for shard in range(TRIES)]
        statuses = [await spent(store.read_queries.counts) for _ in range(TRIES)]
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
    batch = [FoundFile(b"/memes/%d.jpg" % number, version(number)) for number in range(first, first + count)]
    await store.import_store.enqueue(batch, source(), is_still_there=lambda path, of: True, now=1.0)


async def claim(store: Store, shard: int) -> None:
    leased = await store.queue.claim(shard, now=2.0, chance=0.0)
    assert leased is not None
    await store.accept(leased)


def rss_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def measured(items: int) -> list[float]:
    """Measure the fields of a Cost in a separate process."""
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
    parser.add_argument("--sizes", default="1000,10000,100000,1000000", help="number of items, in thousands")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--plot", type=Path, help="where to draw it")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.one:  # in a separate process, to measure its memory
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
