"""Start with a large store: `python benchmarks/restart.py [--items 1000000] [--rounds 5]`.

Measures the time from opening the store to the first claim, each time in a fresh process, after a clean stop and after
the previous process was killed while holding leases; the memory that this takes; and with a daemon on the same store,
the time of `sploot status` against `python3 -c pass`.
"""

import argparse
import asyncio
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from side_by_side import ratio, rounds, show, timed
from store_fixtures import URL, Store, open_store, source, version
from temp_home import Home, home_in

from splootd.core.item import SHARDS, FoundFile
from splootd.store.enqueue import ENQUEUE_BATCH_MAX


async def fill(database: Path, items: int) -> None:
    async with open_store(database) as store:
        for start in range(0, items, ENQUEUE_BATCH_MAX):
            numbers = range(start, min(items, start + ENQUEUE_BATCH_MAX))
            batch = [FoundFile(b"/memes/%d.jpg" % number, version(number)) for number in numbers]
            await store.import_store.enqueue(batch, source(), is_still_there=lambda path, of: True, now=1.0)


async def first_claim(database: Path, instance_id: str, *, clean: bool) -> None:
    """Print the seconds until the first claim, and the growth of this process in bytes."""
    before, started = rss_bytes(), time.perf_counter()
    async with open_store(database, instance_id=instance_id) as store:
        await store.queue.release_stale(now=2.0)
        await claim_any(store)
        print(time.perf_counter() - started, rss_bytes() - before, flush=True)
        if not clean:
            os.kill(os.getpid(), signal.SIGKILL)


async def claim_any(store: Store) -> None:
    for shard in range(SHARDS):
        if await store.queue.claim(shard, now=3.0, chance=0.0):
            return
    raise AssertionError("nothing to claim")


def rss_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def restart(database: Path, count: int) -> None:
    """Alternate starts that end cleanly with starts that are killed."""
    after: dict[str, list[tuple[float, float]]] = {"a clean stop": [], "a kill": []}
    for number in range(2 * count + 1):
        clean = number % 2 == 1  # how this process ends
        command = [
            sys.executable,
            __file__,
            "--one",
            str(database),
            f"instance_id{number}",
            "clean" if clean else "kill",
        ]
        said = subprocess.run(command, check=clean, capture_output=True, text=True).stdout.split()
        after["a kill" if clean else "a clean stop"].append((float(said[0]), float(said[1])))
    for what, starts in after.items():
        took, grown = zip(*starts, strict=True)
        show(f"from opening the store to the first claim, after {what}", f"{statistics.median(took) * 1000:,.0f} ms")
        show("  the slowest", f"{max(took) * 1000:,.0f} ms", "to reach: 300 ms")
        show("  memory that it takes", f"{max(grown) / 1e6:.1f} MB")


def commands(home: Home, items: int, count: int) -> None:
    home.ok("pause")
    assert home.json("status")["items"]["total"] == items
    bare = [sys.executable, "-c", "pass"]
    took = rounds(
        count,
        {
            "bare": lambda: timed(lambda: subprocess.run(bare, check=True)),
            "status": lambda: timed(lambda: home.ok("status")),
            "list": lambda: timed(lambda: home.ok("list", "--limit", "20")),
        },
    )
    show("`sploot status` over bare Python", f"{ratio(took['status'], took['bare']):.1f} x", "to reach: 2.5 x")
    show("`sploot list --limit 20` over bare Python", f"{ratio(took['list'], took['bare']):.1f} x", "to reach: 8 x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        path, instance_id, end = arguments.one
        asyncio.run(first_claim(Path(path), instance_id, clean=end == "clean"))
        return
    with tempfile.TemporaryDirectory() as name:
        database = Path(name, "queue.db")
        asyncio.run(fill(database, arguments.items))
        show("items in the store", f"{arguments.items:,}")
        restart(database, arguments.rounds)
        home = Path(name, "home")
        state = home / "sploot" / "state"
        state.mkdir(mode=0o700, parents=True)
        shutil.move(database, state / "queue.db")
        with home_in(home, SPLOOT_SERVER=URL) as living:
            commands(living, arguments.items, 3 * arguments.rounds)


if __name__ == "__main__":
    main()
