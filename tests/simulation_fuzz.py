"""Random runs of the daemon with random faults: files appear and change, processes crash, the clock is set.

    python tests/simulation_fuzz.py --seeds 2000 --jobs 2

At the end of each run the faults end, and the promise is checked: every file of an `add` that has returned is in the
library exactly once, or its item has an error message. A failing seed is printed, and can be replayed with
`--from N --seeds 1`.
"""

import argparse
import asyncio
import hashlib
import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from fault_proxy import CHAOS, FAULTS
from pipeline_fixtures import jpeg
from real_sploot import sleep_for
from simulated_machine import World, simulate
from store_fixtures import RECOUNT

from splootd.core.backoff import ATTEMPTS_MAX
from splootd.core.item import Item, State
from splootd.core.lifecycle import FINAL_STATES
from splootd.protocol import Add

STEPS = (3, 9)
YEAR_S = 31_536_000.0
PASSING_S = (0.01, 0.1, 1.0, 5.0, 40.0, 400.0)
JUMPS_S = (-YEAR_S, -3600.0, -30.0, 30.0, 3600.0, YEAR_S)
AMBIGUOUS = {"late", "bare conflict", "reset inside"}  # faults after which the server may store a content twice or late
LATEST = "SELECT id FROM items WHERE latest = 1"
STORED_SUMS = "SELECT * FROM item_counts WHERE n > 0 ORDER BY 1, 2, 3, 4, 5"


class RandomRun:
    """Random events in a world.

    A strict server (`is_strict`) ends a request with its connection and stores a repeated upload twice. Only the daemon
    can then ensure that every content is stored once.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = world.chance
        self.is_strict = not world.detects_duplicates
        self.pictures = 0
        self.events: Sequence[Callable[[], Awaitable[None]]] = [
            *[self.add_files] * 3,
            self.change_file,
            self.delete_file,
            self.rename_file,
            self.remove_asset,
            *[self.restart_daemon] * 3,
            self.set_clock,
            self.crash_server_only,
            self.restore_server,
            self.end_session,
            self.revoke_tokens,
            self.sign_in,
            *[self.change_faults] * 3,
        ]

    async def live(self) -> None:
        """Run random events, end all faults, and check the promise."""
        world = self.world
        self.start_server()
        await world.start()
        await self.add_files()
        for _ in range(self.chance.randint(*STEPS)):
            await sleep_for(self.chance.choice(PASSING_S))
            await self.chance.choice(self.events)()
        await world.crash(finishes=not self.is_strict)
        world.has_session, world.fault_proxy.rates = True, {}
        await self.restore_server()
        await world.start()
        await world.deliver_adds()
        items = await world.wait_until_finished()
        await world.fault_proxy.wait_until_idle()
        await check_promise(world, items)
        await world.stop()

    async def add_files(self) -> None:
        """Add new images, some of them copies, one by one or by their folder."""
        folder = self.world.folder / f"folder {self.pictures}"
        most = 20 if self.world.has_batch_api else 6  # so that there are bundles
        paths = [self.draw(folder / f"{number}.jpg") for number in range(self.chance.randint(1, most))]
        paths_to_add = [folder] if self.chance.random() < 0.4 else paths
        tags = tuple(self.chance.sample(["cat", "dog", "cow"], self.chance.choice([0, 0, 2])))
        priority = self.chance.choice(["urgent", "normal", "background"])
        await self.add(Add(tuple(map(str, paths_to_add)), watch=False, priority=priority, tags=tags))

    async def add(self, request: Add) -> None:
        """Run `sploot add`; sometimes the client does not wait for the reply."""
        self.world.submit(request)
        adding = asyncio.ensure_future(self.world.deliver_adds())
        await asyncio.wait([adding], timeout=self.chance.choice([None, None, 0.01]))
        adding.cancel()
        await asyncio.gather(adding, return_exceptions=True)

    def draw(self, path: Path) -> Path:
        is_copy = self.pictures > 2 and self.chance.random() < 0.2
        label = self.chance.randrange(self.pictures) if is_copy else self.pictures
        self.pictures += 1
        return self.world.write(path, jpeg(label), age_s=self.chance.choice([0.0, 1.0, 100.0]))

    async def change_file(self) -> None:
        """Replace the content of a file and add it again."""
        if files := on_disk(self.world):
            path = self.draw(self.chance.choice(files))
            await self.add(Add((str(path),), watch=False))

    async def delete_file(self) -> None:
        if files := on_disk(self.world):
            self.chance.choice(files).unlink()

    async def rename_file(self) -> None:
        """Rename a file and add it again."""
        if files := on_disk(self.world):
            path = self.chance.choice(files)
            await self.add(Add((str(path.rename(path.with_stem(f"moved {self.pictures}"))),), watch=False))

    async def remove_asset(self) -> None:
        """Remove an asset softly on the server, which never accepts its bytes again."""
        live = [asset.sha256 for asset in self.world.sploot.assets.values() if not asset.removed]
        if live and not self.is_strict:
            self.world.sploot.remove(self.chance.choice(live))

    async def restart_daemon(self) -> None:
        if self.chance.random() < 0.3:
            await self.world.stop(finishes=not self.is_strict)
        else:
            await self.world.crash(finishes=not self.is_strict and self.chance.random() < 0.5)
        if self.chance.random() < 0.2:
            await self.set_clock()
        await self.world.start()
        await self.world.deliver_adds()

    async def set_clock(self) -> None:
        self.world.clock.off_s += self.chance.choice(JUMPS_S)

    async def crash_server_only(self) -> None:
        self.world.crash_server()

    async def restore_server(self) -> None:
        if not self.world.is_up:
            self.start_server()

    def start_server(self) -> None:
        self.world.start_server(
            work_s=self.chance.choice([0.0, 0.1, 1.0]),
            embed_s=self.chance.choice([0.0, 5.0, 300.0]),
            failing_embeddings=self.chance.choice([0.0, 0.2]),
            missing_embeddings=self.chance.choice([0.0, 0.0, 0.2]),
        )
        self.world.fault_proxy.late_s = self.chance.choice([1.0, 100.0])
        self.world.fault_proxy.slow_s = 25.0 if self.is_strict else 90.0  # the daemon gives up after 30 or 70 s

    async def end_session(self) -> None:
        self.world.has_session = False
        self.world.sploot.revoke()

    async def revoke_tokens(self) -> None:
        self.world.sploot.revoke()

    async def sign_in(self) -> None:
        self.world.has_session = True

    async def change_faults(self) -> None:
        """Choose new fault rates, from none to one fault for every request."""
        names = [name for name in FAULTS if not (self.is_strict and name in AMBIGUOUS)]
        self.world.fault_proxy.rates = self.chance.choice(
            [
                {},
                {name: rate for name, rate in CHAOS.items() if name in names},
                {name: self.chance.random() / 4 for name in self.chance.sample(names, 4)},
                {self.chance.choice(names): 1.0},
            ]
        )
        self.world.fault_proxy.busy_s = self.chance.choice([1, 60, 7200])


def on_disk(world: World) -> list[Path]:
    """Return the existing files of all adds with a reply."""
    found = (sorted(path.iterdir()) if path.is_dir() else [path] for path in sorted(world.added_paths))
    return [path for paths in found for path in paths if path.exists()]


async def check_promise(world: World, items: Sequence[Item]) -> None:
    """Check that every added file is stored once or has an error message, and that attempts and sums are right."""
    books = world.summary
    assert set(books.created.values()) <= {1}, "a content was stored twice"
    ids, sums, stored_sums = [await rows_of(world, query) for query in (LATEST, RECOUNT, STORED_SUMS)]
    latest = {Path(os.fsdecode(item.path)): item for item in items if (item.id,) in ids}
    for item in items:
        check_item(world, item)
    for path in on_disk(world):
        assert path in latest, f"{path} was lost"
        newest = latest[path]
        digest = hashlib.sha256(path.read_bytes()).digest()
        assert newest.sha256 in (digest, None), f"{newest} has another content"
        assert newest.attempts <= world.failed_uploads[digest.hex()], f"{newest} has more attempts than failed uploads"
        assert newest.state in (State.READY, State.FAILED, State.SKIPPED), f"{newest} exists and was given up"
    assert sums == stored_sums


async def rows_of(world: World, query: str) -> list[tuple[object, ...]]:
    return await world.instance.database.read(lambda connection: [tuple(row) for row in connection.execute(query)])


def check_item(world: World, item: Item) -> None:
    """Compare an item with the journal of the server."""
    checksum = item.sha256.hex() if item.sha256 else None
    assert item.state in FINAL_STATES
    if item.state is State.READY:
        assert checksum in world.summary.created, f"{item} is ready but not in the library"
    else:
        assert item.error_message, f"{item} has no error message"
    if item.state is State.FAILED and item.error_code not in ("embedding_failed", "rejected"):
        assert item.attempts >= ATTEMPTS_MAX[item.priority], f"{item} was given up too early"


def simulate_one(seed: int) -> Counter[str]:
    """Simulate one seed and return its statistics. Raises an exception on failure."""

    async def story(world: World) -> Counter[str]:
        run = RandomRun(world)
        await run.live()
        return Counter(
            seeds=1,
            instances=world.instances,
            pictures=run.pictures,
            requests=len(world.requests),
            faults=world.summary.faults.total(),
            simulated_s=int(asyncio.get_running_loop().time()),
        )

    return simulate(
        story, seed=seed, detects_duplicates=seed % 2 == 0, caches_token=seed % 3 == 0, has_batch_api=seed % 5 > 2
    )


def attempt(seed: int) -> tuple[int, Counter[str], str]:
    """Do the same as `simulate_one`, with the failure as text."""
    try:
        return seed, simulate_one(seed), ""
    except Exception:  # noqa: BLE001 - the other seeds run all the same
        return seed, Counter(), traceback.format_exc(limit=-6)


def main() -> None:
    arguments = argparse.ArgumentParser(description="Simulate one run of the daemon for each seed.")
    arguments.add_argument("--seeds", type=int, default=1000)
    arguments.add_argument("--from", type=int, default=1, dest="first", metavar="SEED")
    arguments.add_argument("--jobs", type=int, default=1, help="processes")
    options = arguments.parse_args()
    started, figures, failed = time.monotonic(), Counter[str](), []
    with multiprocessing.Pool(options.jobs) as pool:
        seeds = range(options.first, options.first + options.seeds)
        for seed, run_figures, failure in pool.imap_unordered(attempt, seeds, chunksize=4):
            figures += run_figures
            if failure:
                failed.append(seed)
                print(f"seed {seed}: {failure}", flush=True)
    print(f"{dict(figures)} in {time.monotonic() - started:.0f} s; failed: {sorted(failed) or 'none'}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
