"""Compare the queue with other SQLite queues: `python benchmarks/store.py [--items 2000] [--rounds 5]`.

Durable enqueue, claim and acknowledge, with `synchronous=FULL` everywhere, against litequeue, persist-queue's SQLite
ack queue and huey on SQLite; these have no batches. Ours runs one item per call, with one caller and with the 16 that
the daemon has, and in batches of 1,000. The peers are installed into a scratch environment.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from side_by_side import ratio, show
from store_fixtures import Store, open_store, source, version

from splootd.core.item import SHARDS, FoundFile, Leased
from splootd.store.completion import Accepted
from splootd.store.enqueue import ENQUEUE_BATCH_MAX

HERE = Path(__file__).resolve().parent
PEERS = ("litequeue", "persist-queue", "huey")
CALLERS = {"one by one": 1, "one by one, 16 callers": 16}
BATCHED = "batched"
BATCH = ENQUEUE_BATCH_MAX
TO_REACH = {BATCHED: "to reach: 10 x", **dict.fromkeys(CALLERS, "to reach: 1 x")}
STAGES = ("enqueue", "claim", "acknowledge")
T = TypeVar("T")
Took = dict[str, float]


def installed(folder: Path) -> Path:
    """Return an interpreter with the peers installed."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", HERE / "peers.txt"], check=True)
    return python


def peer(python: Path, name: str, folder: Path, items: int) -> Took:
    command = [python, HERE / "store_peer.py", name, folder, str(items)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


async def ours(folder: Path, items: int, callers: int) -> Took:
    """Return the seconds of each stage with that many callers, each waiting for its result before the next call."""
    async with open_store(folder / f"{callers}.db") as store:
        candidates = candidates_of(items)
        took, claimed = {}, list[Leased]()
        took["enqueue"] = await spent(callers, candidates, lambda each: offer(store, [each]))
        took["claim"] = await spent(callers, range(items), lambda number: claim(store, number % SHARDS, claimed))
        assert len(claimed) == items
        took["acknowledge"] = await spent(callers, claimed, store.accept)
    return took


async def ours_batched(folder: Path, items: int) -> Took:
    """Return the same in batches of a thousand, which are enqueued, claimed per shard and acknowledged together."""
    async with open_store(folder / "batched.db") as store:
        candidates = candidates_of(items)
        starts = range(0, items, BATCH)
        took, claimed = {}, list[Leased]()
        took["enqueue"] = await spent(1, starts, lambda start: offer(store, candidates[start : start + BATCH]))
        took["claim"] = await spent(1, starts, lambda _: claim_batch(store, claimed))
        assert len(claimed) == items
        taken = [store.accepted(each) for each in claimed]
        took["acknowledge"] = await spent(1, starts, lambda start: accept(store, taken[start : start + BATCH]))
    return took


def candidates_of(items: int) -> list[FoundFile]:
    return [FoundFile(b"/memes/%d.jpg" % number, version(number)) for number in range(items)]


async def offer(store: Store, batch: Sequence[FoundFile]) -> None:
    await store.import_store.enqueue(batch, source(), is_still_there=lambda path, of: True, now=1.0)


async def claim(store: Store, shard: int, claimed: list[Leased]) -> None:
    """Claim the next item of this shard, or of another one when it is empty."""
    for each in itertools.chain(range(shard, SHARDS), range(shard)):
        if leased := await store.queue.claim(each, now=2.0, chance=0.0):
            claimed.append(leased)
            return


async def claim_batch(store: Store, claimed: list[Leased]) -> None:
    """Claim a batch from all shards together; shards with more items fill up for those with fewer."""
    wanted, shards = BATCH, list(range(SHARDS))
    while wanted and shards:
        shares = [len(range(place, wanted, len(shards))) for place in range(len(shards))]
        claims = [claim_share(store, shard, share) for shard, share in zip(shards, shares, strict=True)]
        batches = await asyncio.gather(*claims)
        shards = [shard for shard, share, batch in zip(shards, shares, batches, strict=True) if len(batch) == share]
        claimed += itertools.chain(*batches)
        wanted -= sum(map(len, batches))


async def claim_share(store: Store, shard: int, share: int) -> list[Leased]:
    return await store.queue.claim_batch(shard, limit=share, now=2.0, chance=0.0) if share else []


async def accept(store: Store, batch: Sequence[Accepted]) -> None:
    assert all(await store.queue.accept_batch(batch, now=3.0))


async def spent(callers: int, subjects: Sequence[T], act: Callable[[T], Awaitable[object]]) -> float:
    left = iter(subjects)

    async def caller(left: Iterator[T]) -> None:
        for subject in left:
            await act(subject)

    started = time.perf_counter()
    await asyncio.gather(*(caller(left) for _ in range(callers)))
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    took: dict[str, list[Took]] = {name: [] for name in (*PEERS, *TO_REACH)}
    with tempfile.TemporaryDirectory() as scratch:
        python = installed(Path(scratch, "peers"))
        for number in range(arguments.rounds):
            folder = Path(scratch, str(number))
            folder.mkdir()
            for name in PEERS:
                took[name].append(peer(python, name, folder / name, arguments.items))
            for name, callers in CALLERS.items():
                took[name].append(asyncio.run(ours(folder, arguments.items, callers)))
            took[BATCHED].append(asyncio.run(ours_batched(folder, arguments.items)))
    report(took, arguments.items)


def report(took: dict[str, list[Took]], items: int) -> None:
    for stage in STAGES:
        of = {name: [each[stage] for each in rounds] for name, rounds in took.items() if stage in rounds[0]}
        best = min((name for name in PEERS if name in of), key=lambda name: statistics.median(of[name]))
        for name, seconds in of.items():
            show(f"{stage}: {name}", f"{items / statistics.median(seconds):,.0f} /s")
        for name, target in TO_REACH.items():
            show(f"  {name} against {best}", f"{ratio(of[best], of[name]):.1f} x", target)


if __name__ == "__main__":
    main()
