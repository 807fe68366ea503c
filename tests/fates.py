"""Whole lives of a library by chance: files come and change, and whatever can go wrong goes wrong.

    python tests/fates.py --seeds 2000 --jobs 2

At the end of each life the faults end, and the promise is asserted: whatever was named in an `add` that has returned is
in the library exactly once, or its item says why not. A seed that fails prints its number, and replays with
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

from bad_luck import CHAOS, FAULTS
from real_sploot import lasting
from storekit import RECOUNT
from walkkit import jpeg
from world import World, simulate

from splootd.core.item import Item, State
from splootd.core.lifecycle import ENDED
from splootd.core.retry import TRIES_MAX
from splootd.protocol import Add

STEPS = (3, 9)
YEAR_S = 31_536_000.0
PASSING_S = (0.01, 0.1, 1.0, 5.0, 40.0, 400.0)
JUMPS_S = (-YEAR_S, -3600.0, -30.0, 30.0, 3600.0, YEAR_S)
UNDECIDED = {"late", "bare conflict", "reset inside"}  # they store more than once, or later than the daemon knows
LATEST = "SELECT id FROM items WHERE latest = 1"
KEPT = "SELECT * FROM counts WHERE n > 0 ORDER BY 1, 2, 3, 4, 5"


class Fate:
    """What chance does to a world. A `decided` server is done with a request when its line is: so it can be one that
    stores twice what is sent twice, and all that is stored once is the daemon's merit."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = world.chance
        self.decided = not world.knows_twins
        self.pictures = 0
        self.happenings: Sequence[Callable[[], Awaitable[None]]] = [
            *[self.files_come] * 3,
            self.a_file_changes,
            self.a_file_goes,
            self.a_file_moves,
            self.a_picture_is_removed,
            *[self.the_daemon_dies] * 3,
            self.the_clock_is_set,
            self.the_server_dies,
            self.the_server_is_back,
            self.the_session_ends,
            self.tokens_are_revoked,
            self.the_user_signs_in,
            *[self.the_weather_changes] * 3,
        ]

    async def live(self) -> None:
        """All that happens, then an end to all faults, and after it the promise."""
        world = self.world
        self.start_server()
        await world.start()
        await self.files_come()
        for _ in range(self.chance.randint(*STEPS)):
            await lasting(self.chance.choice(PASSING_S))
            await self.chance.choice(self.happenings)()
        await world.crash(finishes=not self.decided)
        world.has_session, world.faulty.rates = True, {}
        await self.the_server_is_back()
        await world.start()
        await world.deliver_owed()
        items = await world.until_ended()
        await world.faulty.finished()
        await hold_to_the_promise(world, items)
        await world.stop()

    async def files_come(self) -> None:
        """New pictures, some of them copies, named one by one or by their folder."""
        folder = self.world.folder / f"folder {self.pictures}"
        most = 20 if self.world.offers else 6  # so that some have company
        paths = [self.draw(folder / f"{number}.jpg") for number in range(self.chance.randint(1, most))]
        named = [folder] if self.chance.random() < 0.4 else paths
        tags = tuple(self.chance.sample(["cat", "dog", "cow"], self.chance.choice([0, 0, 2])))
        priority = self.chance.choice(["urgent", "normal", "background"])
        await self.add(Add(tuple(map(str, named)), watch=False, priority=priority, tags=tags))

    async def add(self, request: Add) -> None:
        """The user's command; sometimes nobody waits for its answer."""
        self.world.owe(request)
        adding = asyncio.ensure_future(self.world.deliver_owed())
        await asyncio.wait([adding], timeout=self.chance.choice([None, None, 0.01]))
        adding.cancel()
        await asyncio.gather(adding, return_exceptions=True)

    def draw(self, path: Path) -> Path:
        is_copy = self.pictures > 2 and self.chance.random() < 0.2
        label = self.chance.randrange(self.pictures) if is_copy else self.pictures
        self.pictures += 1
        return self.world.write(path, jpeg(label), age_s=self.chance.choice([0.0, 1.0, 100.0]))

    async def a_file_changes(self) -> None:
        """Under the same name there is another picture, and it is added again."""
        if files := on_disk(self.world):
            path = self.draw(self.chance.choice(files))
            await self.add(Add((str(path),), watch=False))

    async def a_file_goes(self) -> None:
        if files := on_disk(self.world):
            self.chance.choice(files).unlink()

    async def a_file_moves(self) -> None:
        """To another name, under which it is added again."""
        if files := on_disk(self.world):
            path = self.chance.choice(files)
            await self.add(Add((str(path.rename(path.with_stem(f"moved {self.pictures}"))),), watch=False))

    async def a_picture_is_removed(self) -> None:
        """Softly, on the server: Sploot will never take those bytes again."""
        live = [asset.sha256 for asset in self.world.sploot.assets.values() if not asset.removed]
        if live and not self.decided:
            self.world.sploot.remove(self.chance.choice(live))

    async def the_daemon_dies(self) -> None:
        if self.chance.random() < 0.3:
            await self.world.stop(finishes=not self.decided)
        else:
            await self.world.crash(finishes=not self.decided and self.chance.random() < 0.5)
        if self.chance.random() < 0.2:
            await self.the_clock_is_set()
        await self.world.start()
        await self.world.deliver_owed()

    async def the_clock_is_set(self) -> None:
        self.world.clock.off_s += self.chance.choice(JUMPS_S)

    async def the_server_dies(self) -> None:
        self.world.crash_server()

    async def the_server_is_back(self) -> None:
        if not self.world.is_up:
            self.start_server()

    def start_server(self) -> None:
        self.world.start_server(
            work_s=self.chance.choice([0.0, 0.1, 1.0]),
            embed_s=self.chance.choice([0.0, 5.0, 300.0]),
            failing_embeddings=self.chance.choice([0.0, 0.2]),
            forgotten_embeddings=self.chance.choice([0.0, 0.0, 0.2]),
        )
        self.world.faulty.late_s = self.chance.choice([1.0, 100.0])
        self.world.faulty.slow_s = 30.0 if self.decided else 90.0

    async def the_session_ends(self) -> None:
        self.world.has_session = False
        self.world.sploot.revoke()

    async def tokens_are_revoked(self) -> None:
        self.world.sploot.revoke()

    async def the_user_signs_in(self) -> None:
        self.world.has_session = True

    async def the_weather_changes(self) -> None:
        """Anything between no fault and nothing but one."""
        names = [name for name in FAULTS if not (self.decided and name in UNDECIDED)]
        self.world.faulty.rates = self.chance.choice(
            [
                {},
                {name: rate for name, rate in CHAOS.items() if name in names},
                {name: self.chance.random() / 4 for name in self.chance.sample(names, 4)},
                {self.chance.choice(names): 1.0},
            ]
        )
        self.world.faulty.busy_s = self.chance.choice([1, 60, 7200])


def on_disk(world: World) -> list[Path]:
    """The files that were named, or whose folder was, and that are there."""
    found = (sorted(path.iterdir()) if path.is_dir() else [path] for path in sorted(world.named))
    return [path for paths in found for path in paths if path.exists()]


async def hold_to_the_promise(world: World, items: Sequence[Item]) -> None:
    """Whatever was named is in the library exactly once, or says why not; tries and sums are right."""
    books = world.books
    assert set(books.created.values()) <= {1}, "a content was stored twice"
    ids, sums, kept = [await rows_of(world, query) for query in (LATEST, RECOUNT, KEPT)]
    latest = {Path(os.fsdecode(item.path)): item for item in items if (item.id,) in ids}
    for item in items:
        hold_to_the_books(world, item)
    for path in on_disk(world):
        assert path in latest, f"{path} was lost"
        newest = latest[path]
        digest = hashlib.sha256(path.read_bytes()).digest()
        assert newest.sha256 in (digest, None), f"{newest} is another picture"
        assert newest.attempts <= world.blamed[digest.hex()], f"{newest} was blamed for what others did"
        assert newest.state in (State.READY, State.DEAD, State.SKIPPED), f"{newest} is there, and was given up"
    assert sums == kept


async def rows_of(world: World, query: str) -> list[tuple[object, ...]]:
    return await world.life.database.read(lambda connection: [tuple(row) for row in connection.execute(query)])


def hold_to_the_books(world: World, item: Item) -> None:
    """What an item says of itself is what the server has written down."""
    checksum = item.sha256.hex() if item.sha256 else None
    assert item.state in ENDED
    if item.state is State.READY:
        assert checksum in world.books.created, f"{item} is ready, and not in the library"
    else:
        assert item.reason, f"{item} does not say why"
    if item.state is State.DEAD and item.fault not in ("embedding_failed", "refused"):
        assert item.attempts >= TRIES_MAX[item.priority], f"{item} was given up too soon"


def simulate_one(seed: int) -> Counter[str]:
    """What happened, for the figures. Whatever is wrong is raised."""

    async def story(world: World) -> Counter[str]:
        fate = Fate(world)
        await fate.live()
        return Counter(
            seeds=1,
            lives=world.lives,
            pictures=fate.pictures,
            requests=len(world.requests),
            faults=world.books.faults.total(),
            simulated_s=int(asyncio.get_running_loop().time()),
        )

    return simulate(story, seed=seed, knows_twins=seed % 2 == 0, caches=seed % 3 == 0, offers=seed % 5 > 2)


def attempt(seed: int) -> tuple[int, Counter[str], str]:
    """As `simulate_one`, with what went wrong as text."""
    try:
        return seed, simulate_one(seed), ""
    except Exception:  # noqa: BLE001 - the next seed is worth a look all the same
        return seed, Counter(), traceback.format_exc(limit=-6)


def main() -> None:
    arguments = argparse.ArgumentParser(description="Simulate the daemon's whole life, once for each seed.")
    arguments.add_argument("--seeds", type=int, default=1000)
    arguments.add_argument("--from", type=int, default=1, dest="first", metavar="SEED")
    arguments.add_argument("--jobs", type=int, default=1, help="processes")
    options = arguments.parse_args()
    started, figures, failed = time.monotonic(), Counter[str](), []
    with multiprocessing.Pool(options.jobs) as pool:
        seeds = range(options.first, options.first + options.seeds)
        for seed, happened, wrong in pool.imap_unordered(attempt, seeds, chunksize=4):
            figures += happened
            if wrong:
                failed.append(seed)
                print(f"seed {seed}: {wrong}", flush=True)
    print(f"{dict(figures)} in {time.monotonic() - started:.0f} s; failed: {sorted(failed) or 'none'}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
