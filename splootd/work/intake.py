"""How files get into the queue: named by a command, found by a walk, or reported by the watcher and settled."""

import asyncio
import contextlib
import itertools
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from splootd.bus import Bell
from splootd.clock import Clock
from splootd.core.after import After
from splootd.core.item import Priority
from splootd.errors import SplootError
from splootd.logs import logger
from splootd.protocol import Add, Added, PathOutcome
from splootd.store.arrivals import Arrival, Arrivals, Candidate, Origin, Root
from splootd.work.ignore import Rules
from splootd.work.memory import Memory
from splootd.work.named import Named, examine, files_of, folders_of, is_inside
from splootd.work.walk import Found, Tally, Walk, is_candidate, is_still_there

BATCH_MAX = 500  # candidates in one commit
BATCH_TIME_S = 0.05  # a slow disk does not have to fill a batch before the first of it is queued
REPLY_TIME_S = 0.4  # how long `add` waits for its walks before it answers that they are still going on
DRY_RUN_TIME_S = 30.0
WALKS_MAX = 4
TROUBLE_PAUSE_S = 10.0


class Intake:
    """Turns files into rows. What a command named is promised in the store before it is walked."""

    def __init__(self, arrivals: Arrivals, clock: Clock, *, settle_s: float) -> None:
        self.folders = Bell()  # rings when a folder is to be watched from now on: it has been walked
        self._arrivals = arrivals
        self._clock = clock
        self._settle_s = settle_s
        self._promised = Bell()
        self._walked = Bell()
        self._promising = asyncio.Lock()  # no walk begins between a promise and its tally
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._tallies: dict[int, Tally] = {}  # by root, as long as its `add` has not been answered
        self._memory = Memory()
        self._log = logger("intake")

    async def run(self) -> None:
        """Walk what was promised: what an earlier daemon left, then whatever `add` brings, WALKS_MAX at a time."""
        try:
            while True:
                ticket = self._promised.ticket()
                await self._begin_walks()
                await self._promised.wait(ticket, None)
        finally:
            walks = list(self._under_way.values())
            for walk in walks:
                walk.cancel()
            await asyncio.gather(*walks, return_exceptions=True)

    async def _begin_walks(self) -> None:
        async with self._promising:
            left = await self._arrivals.roots_left()
        waiting = (root for root in left if root.id not in self._under_way)
        for root in itertools.islice(waiting, WALKS_MAX - len(self._under_way)):
            self._under_way[root.id] = asyncio.create_task(self._keep_promise(root))

    async def _keep_promise(self, root: Root) -> None:
        """Walk one root to its end, however often the store stands in the way."""
        try:
            while True:
                try:
                    return await self._walk_root(root)
                except SplootError as error:
                    self._log.warning("walk interrupted", path=root.path, error=error.title)
                    await asyncio.sleep(TROUBLE_PAUSE_S)
        finally:
            del self._under_way[root.id]
            self._promised.ring()

    async def _walk_root(self, root: Root) -> None:
        tally = self._tallies.get(root.id) or Tally()
        origin = await self._arrivals.origin(root.add_id, root.folder_id)
        await self.walk(Walk([root.path], rules=Rules(root.path), now=self._clock.now()), origin, tally)
        await self._arrivals.root_done(root.id, now=self._clock.now())
        tally.is_done = True
        self._walked.ring()
        if root.folder_id is not None:
            self.folders.ring()
        self._log.info("walked", path=root.path, add=root.add_id, **tally.counts)

    async def walk(self, walk: Walk, origin: Origin, tally: Tally) -> None:
        """Queue all that `walk` finds, one commit for each batch as it goes on."""
        upheavals, is_watched = await self._arrivals.upheavals(), origin.folder_id is not None
        is_plain = not origin.force and origin.after is None  # else even what is at rest may be wanted
        if is_plain:
            walk.recall = self._memory.recall(upheavals=upheavals, is_watched=is_watched)
        restless: set[bytes] = set()
        while not walk.is_done:
            known = walk.known
            found = await asyncio.to_thread(walk.take, BATCH_MAX, BATCH_TIME_S)
            tally.counts += Counter(known=walk.known - known)
            arrived = await self._queue(self._candidates(found), origin, tally)
            restless.update(each.path.rpartition(b"/")[0] or b"/" for each in arrived if not each.is_at_rest)
        if is_plain:
            self._memory.remember(walk.seen, but=restless, upheavals=upheavals, is_watched=is_watched)
        tally.counts += Counter(unreadable=walk.unreadable)
        tally.sentences += walk.sentences

    async def offer(self, found: Collection[Found], origin: Origin) -> Tally:
        """Queue what has settled in a watched folder, unless it is no image or video."""
        worth = await asyncio.to_thread(_worth, found)
        tally = Tally()
        for start in range(0, len(worth), BATCH_MAX):
            batch = [Candidate(each.path, each.version, None) for each in worth[start : start + BATCH_MAX]]
            await self._queue(batch, origin, tally)
        return tally

    async def _queue(self, candidates: Sequence[Candidate], origin: Origin, tally: Tally) -> list[Arrival]:
        if not candidates:
            return []
        arrived = await self._arrivals.offer(candidates, origin, still_there=is_still_there, now=self._clock.now())
        tally.counts.update(arrival.outcome.value for arrival in arrived)
        return arrived

    def _candidates(self, found: Collection[Found]) -> list[Candidate]:
        """When a file has just changed, it must rest first; one that claims to be from the future, the whole time."""
        now, settle_s = self._clock.now(), self._settle_s
        candidates = []
        for each in found:
            age_s = max(0.0, now - each.version.mtime_ns / 1_000_000_000)
            candidates.append(Candidate(each.path, each.version, now + settle_s - age_s if age_s < settle_s else None))
        return candidates

    async def add(self, request: Add, key: str) -> Added:
        """Queue what a command names. Sent again under the same `key`, it doubles nothing.

        Returns when all that is named is promised in the store, the files among it are queued, and the folders are
        walked or REPLY_TIME_S has gone by. RequestError when the add that it is to continue does not exist.
        """
        settled_before = self._clock.now() - self._settle_s
        named = await asyncio.to_thread(
            lambda: [examine(name, settled_before=settled_before) for name in request.paths]
        )
        if request.dry_run:
            return await self._rehearse(named, force=request.force)
        files = self._candidates(files_of(named))
        add_id, arrived, tallies = await self._promise(request, key, folders_of(named), files[:BATCH_MAX])
        direct = Tally(Counter(arrival.outcome.value for arrival in arrived))
        try:
            arrived += await self._queue_more(files[BATCH_MAX:], add_id, direct)
            items = {arrival.path: arrival for arrival in arrived}
            await self._wait_for(tallies.values())
        finally:
            for root in tallies:
                self._tallies.pop(root.id, None)
        return _added(add_id, named, items, direct, {root.path: tally for root, tally in tallies.items()})

    async def _promise(
        self, request: Add, key: str, folders: Sequence[Named], files: Sequence[Candidate]
    ) -> tuple[int, list[Arrival], dict[Root, Tally]]:
        """Commit what is to be watched and walked, and at once what is to be sent.

        Returns the add, what became of the files, and a tally for each root that will be walked.
        """
        priority = Priority.of(request.priority)
        if request.watch and folders:
            await self._watch(folders, priority, request)
        async with self._promising:
            add_id, arrived = await self._arrivals.start_add(
                key,
                add_id=request.add,
                priority=priority,
                tags=request.tags,
                force=request.force,
                after=_after(request),
                paths=[folder.path for folder in folders],
                files=files,
                still_there=is_still_there,
                now=self._clock.now(),
            )
            left = await self._arrivals.roots_left() if folders else []
            tallies = {root: self._tallies.setdefault(root.id, Tally()) for root in left if root.add_id == add_id}
        if folders:
            self._promised.ring()
        return add_id, arrived, tallies

    async def _watch(self, folders: Sequence[Named], priority: Priority, request: Add) -> None:
        """Watch the folders, outermost first; what lies in one that is watched just so is watched already."""
        watched, wanted = await self._arrivals.folders(), (priority, request.tags, _after(request))
        for folder in folders:
            alike = [other.path for other in watched if (other.priority, other.tags, other.after) == wanted]
            if folder.version is None or any(is_inside(folder.path, path) for path in alike):
                continue
            device, inode = folder.version.device, folder.version.inode
            watched.append(
                await self._arrivals.watch(
                    folder.path,
                    device=device,
                    inode=inode,
                    priority=priority,
                    tags=request.tags,
                    after=_after(request),
                    now=self._clock.now(),
                )
            )

    async def _queue_more(self, candidates: Sequence[Candidate], add_id: int, tally: Tally) -> list[Arrival]:
        """What did not fit into the first commit of an add."""
        arrived: list[Arrival] = []
        if candidates:
            origin = await self._arrivals.origin(add_id, None)
            for start in range(0, len(candidates), BATCH_MAX):
                arrived += await self._queue(candidates[start : start + BATCH_MAX], origin, tally)
        return arrived

    async def _wait_for(self, tallies: Collection[Tally]) -> None:
        end = self._clock.monotonic() + REPLY_TIME_S
        while True:
            ticket, left_s = self._walked.ticket(), end - self._clock.monotonic()
            if all(tally.is_done for tally in tallies) or left_s <= 0:
                return
            await self._walked.wait(ticket, left_s)

    async def _rehearse(self, named: Sequence[Named], *, force: bool) -> Added:
        """What `add` would do, as far as DRY_RUN_TIME_S goes."""
        end = self._clock.monotonic() + DRY_RUN_TIME_S
        tallies: dict[bytes, Tally] = {}
        for folder in folders_of(named):
            walk, tally = Walk([folder.path], rules=Rules(folder.path), now=self._clock.now()), Tally()
            tallies[folder.path] = tally
            while not walk.is_done and self._clock.monotonic() < end:
                found = await asyncio.to_thread(walk.take, BATCH_MAX, BATCH_TIME_S)
                tally.counts += await self._foretold(found, force=force)
            tally.counts["unreadable"], tally.sentences, tally.is_done = walk.unreadable, walk.sentences, walk.is_done
        return _added(None, named, {}, Tally(await self._foretold(files_of(named), force=force)), tallies)

    async def _foretold(self, found: Sequence[Found], *, force: bool) -> Counter[str]:
        """How many of each outcome there would be."""
        counts: Counter[str] = Counter()
        for start in range(0, len(found), BATCH_MAX):
            outcomes = await self._arrivals.rehearse(
                self._candidates(found[start : start + BATCH_MAX]),
                force=force,
                still_there=is_still_there,
                now=self._clock.now(),
            )
            counts.update(outcome.value for outcome in outcomes)
        return counts


def _after(request: Add) -> After | None:
    return After.of(os.fsencode(request.after))


def _worth(found: Collection[Found]) -> list[Found]:
    worth = []
    for each in found:
        with contextlib.suppress(OSError):  # whatever stands in the way now, the next look meets it again
            if is_candidate(each.path, each.version):
                worth.append(each)
    return worth


def _added(
    add_id: int | None,
    named: Sequence[Named],
    items: Mapping[bytes, Arrival],
    direct: Tally,
    walked: Mapping[bytes, Tally],
) -> Added:
    counts = Counter(each.outcome for each in named if each.detail) + direct.counts
    for tally in walked.values():
        counts += tally.counts
    outcomes = []
    for each in named:
        arrival, tally_of_it = items.get(each.path), walked.get(each.path)
        outcomes.append(
            PathOutcome(
                each.name,
                arrival.outcome.value if arrival else each.outcome,
                "; ".join(tally_of_it.sentences) or None if tally_of_it else each.detail,
                arrival.item_id if arrival else None,
            )
        )
    return Added(add_id, dict(counts), tuple(outcomes), not all(tally.is_done for tally in walked.values()))
