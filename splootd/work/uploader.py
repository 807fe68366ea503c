"""Sixteen lanes and an express: each takes items from pending to the library, or says why not."""

import asyncio
import contextlib
import random
from collections.abc import Collection, Sequence
from functools import partial

from splootd.budget import Budget
from splootd.bus import Bells
from splootd.clock import Clock
from splootd.core.item import SHARDS, Leased
from splootd.core.settle import SETTLE_S
from splootd.errors import ItemError, StoreError, StoreFailed, StoreFull
from splootd.gate import Gate, Passage
from splootd.logs import logger
from splootd.metrics import Traffic
from splootd.remote.answers import Limits
from splootd.remote.api import Server
from splootd.remote.delivery import Delivered, Delivery, Parcel
from splootd.remote.handover import HandOver
from splootd.remote.resumable import Resumable
from splootd.store.ledger import Content as Known
from splootd.store.ledger import Ledger
from splootd.store.queue import Queue
from splootd.work.files import Content, MemoryBudget, called, look_in_thread, read
from splootd.work.group import Groups
from splootd.work.outcome import Outcome
from splootd.work.turns import Turns

UNFINISHED_S = 20.0  # a file without its end may still be being written; after so long at rest it is sent as it is
DRAIN_S = 7.0  # for what is in flight to finish, of the 10 s that a stop may take
HAND_BACK_S = 2.0
SEEN_S = 10.0  # for so long after the library said that it has a content, it is not asked again
BREATH_S = 0.2  # between two looks at what is delayed, however much news there is
STORE_TROUBLE_S = 5.0
WAIT_S_MAX = 3_600.0  # nothing is delayed for longer: a later time was written before the clock was set back


TOGETHER_MAX = 8  # items of a lane whose questions and files share requests
TURNED_BACK = "its turn came while sending was held back"
STOPPED = "the daemon stopped while it was being sent"


class _TurnedBack(Exception):
    """The gate closed between the claim and the sending."""


class Uploader:
    """Takes items from the queue to the library. `run` it, and `drain` it before the end."""

    def __init__(
        self,
        queue: Queue,
        ledger: Ledger,
        server: Server,
        gate: Gate,
        *,
        budget: MemoryBudget,
        clock: Clock,
        bells: Bells,
        traffic: Traffic,
        settle_s: float = SETTLE_S,
    ) -> None:
        self._queue = queue
        self._ledger = ledger
        self._lines = Budget(server.uploads_max)
        self._delivery = Delivery(server, clock, self._lines, Resumable(server, ledger, clock))
        self._hand_over = HandOver(server, self._lines, clock)
        self._server = server
        self._gate = gate
        self._budget = budget
        self._clock = clock
        self._bells = bells
        self._traffic = traffic
        self._outcome = Outcome(queue, ledger, gate, clock, traffic, settle_s=settle_s)
        self._log = logger("uploader")
        self._turns = Turns()
        self._groups = Groups(ledger, self._outcome, self._hand_over, self._turns, gate, budget=budget, traffic=traffic)
        self._asking_limits = asyncio.Lock()
        self._busy: set[asyncio.Task[object]] = set()
        self._is_draining = False

    async def run(self) -> None:
        """The lanes, one per shard; the express lane; and the alarm clock of what is delayed."""
        async with asyncio.TaskGroup() as group:
            for shard in range(SHARDS):
                group.create_task(self._lane(shard), name=f"lane {shard}")
            group.create_task(self._lane(None), name="express lane")
            group.create_task(self._wake_the_delayed(), name="alarm clock")

    async def run_once(self, shard: int | None) -> bool:
        """Take what comes next in `shard`, or an urgent item of any if None, as far as it goes. False for nothing."""
        async with self._gate.passage() as passage:
            group = [] if self._is_draining else await self._claimed(shard, passage)
            if not group:
                return False
            for leased in group:
                self._traffic.waits.claimed(leased.item, self._clock.now())
            lane = asyncio.current_task()
            assert lane is not None
            self._busy.add(lane)
            try:
                await self._take_all(group, passage)
            finally:
                self._busy.discard(lane)
        return True

    async def drain(self) -> None:
        """Claim nothing more; let what is in flight finish for a while, then hand it back."""
        self._is_draining = True
        self._bells.work.ring()
        if in_flight := set(self._busy):
            _, late = await asyncio.wait(in_flight, timeout=DRAIN_S)
            for lane in late:
                lane.cancel()
            if late:
                await asyncio.wait(late, timeout=HAND_BACK_S)

    def allow(self, lanes: int) -> None:
        """From now on at most so many uploads at once; what is under way finishes."""
        self._lines.resize(lanes)

    async def _lane(self, shard: int | None) -> None:
        while not self._is_draining:
            ticket = self._bells.work.ticket()
            try:
                if not await self.run_once(shard):
                    await self._bells.work.wait(ticket, None)
            except StoreFull as error:
                self._log.warning("no room for the queue", error=error.title)
                await asyncio.sleep(STORE_TROUBLE_S)

    async def _wake_the_delayed(self) -> None:
        """Make delayed items claimable when their time comes; and ring after long silence, whatever there is."""
        while True:
            ticket = self._bells.news.ticket()
            now, due = self._clock.now(), await self._queue.next_due()
            if due is not None and (due <= now or due > now + WAIT_S_MAX):
                with contextlib.suppress(StoreFull):
                    await self._queue.promote(now=max(now, due))
            else:
                idle_s = self._clock.idle_s()
                if not await self._bells.news.wait(ticket, idle_s if due is None else min(due - now, idle_s)):
                    self._bells.work.ring()
                    continue
            await asyncio.sleep(BREATH_S)

    async def _claimed(self, shard: int | None, passage: Passage) -> Sequence[Leased]:
        """Claim again what nobody knows to be claimed: the next claim gives back what the last one leased."""
        while True:
            try:
                return await self._claim(shard, passage)
            except StoreFailed as error:
                self._log.warning("nobody knows what was claimed", error=error.title)
                await asyncio.sleep(STORE_TROUBLE_S)

    async def _claim(self, shard: int | None, passage: Passage) -> Sequence[Leased]:
        limit = 1 if self._gate.is_probe(passage) else self._together_max
        with self._traffic.load.at("writing"):
            if shard is None:
                return await self._queue.claim_urgent_group(limit=limit, now=self._clock.now())
            return await self._queue.claim_group(shard, limit=limit, now=self._clock.now(), chance=random.random())

    @property
    def _together_max(self) -> int:
        """How many items a lane takes at once: several only where several go into one request."""
        if files_max := self._hand_over.files_max:
            return files_max
        limits = self._server.last_limits
        return TOGETHER_MAX if limits and limits.checks_max and limits.bundle_files_max else 1

    async def _take_all(self, group: Sequence[Leased], passage: Passage) -> None:
        """A group, from its claim to its answers: together as far as the library lets them, the others side by side."""
        left = {leased.item.id: leased for leased in group}
        try:
            if self._hand_over.files_max:
                limits = await self._limits(passage)
                await self._groups.take(
                    left,
                    limits,
                    partial(self._stop_if_held, passage),
                    lambda leased, content: self._parcel(leased, content, passage),
                )
        except asyncio.CancelledError:
            await self._all_handed_back(left.values(), STOPPED)
            raise
        except _TurnedBack:
            await self._all_handed_back(left.values(), TURNED_BACK)
            return
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - alone, each of them meets its own part of it
            self._log.warning("a group goes on one by one", error=str(error))
        ended = await asyncio.gather(*(self._take(each, passage) for each in left.values()), return_exceptions=True)
        for failed in filter(None, ended):
            raise failed

    async def _all_handed_back(self, group: Collection[Leased], reason: str) -> None:
        await asyncio.gather(*(self._outcome.handed_back(leased, reason) for leased in group))

    async def _take(self, leased: Leased, passage: Passage) -> None:
        """One item, from its claim to its answer in the queue, whatever happens."""
        try:
            await self._upload(leased, passage)
        except _TurnedBack:
            await self._outcome.handed_back(leased, TURNED_BACK)
        except asyncio.CancelledError:
            await self._outcome.handed_back(leased, STOPPED)
            raise
        except ItemError as error:
            await self._outcome.failed(leased, error)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - a fault of this program must not stop all other files
            self._log.exception("upload failed oddly", item=leased.item.id, path=leased.item.path)
            await self._outcome.odd(leased, error)

    async def _upload(self, leased: Leased, passage: Passage) -> None:
        item = leased.item
        limits = await self._limits(passage)
        async with contextlib.AsyncExitStack() as closing:
            with self._traffic.load.at("reading"):
                reading = read(item.path, item.version, budget=self._budget, limits=limits, rank=item.priority)
                content = await closing.enter_async_context(reading)
            complete_at = item.version.mtime_ns / 1e9 + UNFINISHED_S
            if not content.is_whole and 0 < complete_at - self._clock.now() <= UNFINISHED_S:
                await self._outcome.unfinished(leased, complete_at)
                return
            async with self._turns.of(content.sha256):
                known = None if item.force else await self._ledger.content(content.sha256)
                if known is None:
                    await self._send(leased, content, passage)
                else:
                    await self._find(leased, content, known, passage)

    async def _find(self, leased: Leased, content: Content, known: Known, passage: Passage) -> None:
        """The library had it once: if it is still there nothing is sent, and if it was removed it stays so."""
        now = self._clock.now()
        if known.removed_at is None and known.seen_at is not None and 0 <= now - known.seen_at < SEEN_S:
            there: Delivered | None = Delivered(known.asset_id, duplicate=True, embedded=known.ready, sent_bytes=0)
        else:
            try:
                there = await self._delivery.find(self._parcel(leased, content, passage))
            except ItemError as error:
                await self._outcome.failed(leased, error, content=content.sha256)
                return
            self._gate.succeeded()
        if there is None:
            await self._outcome.removed(leased, content.sha256)
        else:
            await self._outcome.accepted(leased, there, content.sha256)
            self._traffic.record(0)

    async def _send(self, leased: Leased, content: Content, passage: Passage) -> None:
        try:
            delivered = await self._deliver(leased, content, passage)
        except ItemError as error:
            await self._outcome.failed(leased, error, content=content.sha256)
            return
        self._gate.succeeded()
        self._traffic.record(delivered.sent_bytes)
        version = content.version
        with contextlib.suppress(ItemError):  # what the library has it has, wherever the file is now
            version = await look_in_thread(content.path)
        if version != content.version:
            reason = f"{called(content.path)} changed while it was sent; its new version follows"
            await self._outcome.changed(leased, version, reason)
            return
        await self._outcome.accepted(leased, delivered, content.sha256)

    async def _deliver(self, leased: Leased, content: Content, passage: Passage) -> Delivered:
        async with self._delivery.introduced(leased.item.tags):
            return await self._delivery.deliver(self._parcel(leased, content, passage))

    def _parcel(self, leased: Leased, content: Content, passage: Passage) -> Parcel:
        item = leased.item
        transfer = partial(self._traffic.transfer, content.path, content.size, retries=item.attempts)
        return Parcel(content, item.tags, item.priority, partial(self._stop_if_held, passage), transfer)

    async def _limits(self, passage: Passage) -> Limits:
        """What the server takes. If the first lane that asks gets no answer, those behind it find the gate closed."""
        async with self._asking_limits:
            self._stop_if_held(passage)
            return await self._delivery.limits()

    def _stop_if_held(self, passage: Passage) -> None:
        if self._is_draining or not self._gate.admits(passage):
            raise _TurnedBack
