"""Starting with much in the store: `python benchmarks/restart.py [--items 1000000] [--rounds 5]`.

From opening the store until the first item is claimed, after a clean stop and after none; how much memory that takes;
and with a daemon on the same store, what `sploot status` costs against `python3 -c pass`.
"""

import argparse
import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from homes import Home, home_in
from paired import ratio, rounds, show, timed
from storekit import URL, Store, opened, origin, version

from splootd.core.item import SHARDS
from splootd.store.arrivals import OFFER_MAX, Candidate


async def fill(database: Path, items: int) -> None:
    async with opened(database) as store:
        for start in range(0, items, OFFER_MAX):
            numbers = range(start, min(items, start + OFFER_MAX))
            batch = [Candidate(b"/memes/%d.jpg" % number, version(number), None) for number in numbers]
            await store.arrivals.offer(batch, origin(), still_there=lambda path, of: True, now=1.0)


async def first_claim(database: Path, boot: str) -> tuple[float, float]:
    """Seconds until the first claim, and by how many bytes this process has grown for it."""
    before, started = rss_bytes(), time.perf_counter()
    async with opened(database, boot=boot) as store:
        await store.queue.recover(now=2.0)
        await claim_any(store)
        return time.perf_counter() - started, rss_bytes() - before


async def claim_any(store: Store) -> None:
    for shard in range(SHARDS):
        if await store.queue.claim(shard, now=3.0, chance=0.0):
            return
    raise AssertionError("nothing to claim")


def rss_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def restart(database: Path, count: int) -> None:
    took, grown = zip(*(asyncio.run(first_claim(database, f"boot{number}")) for number in range(count)), strict=True)
    show("from opening the store to the first claim", f"{statistics.median(took) * 1000:,.0f} ms", "to reach: 300 ms")
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
    arguments = parser.parse_args()
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
