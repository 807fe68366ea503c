"""Finds out when what was uploaded has become searchable: few questions, whatever the number of files.

The server's push makes it quick, asking makes it certain: a server that pushes is asked rarely, to be on the safe side.
"""

import asyncio
import math
import random
from collections.abc import Collection, Mapping, Sequence

from splootd.bus import Bells
from splootd.clock import Clock
from splootd.core.awaited import ASK_MAX, CHECK_AGAIN_MAX_S, Pace, Pages
from splootd.core.failure import Trouble
from splootd.core.retry import delay_s
from splootd.errors import BadAnswer, Exhausted, RateLimited, ServerError, ServerFault
from splootd.gate import Gate
from splootd.logs import logger
from splootd.remote.answers import EmbeddingReport, EmbeddingStatus
from splootd.remote.api import Server
from splootd.remote.inbox import Inbox
from splootd.store.queue import Embedding, Queue
from splootd.work.embeddings import Embeddings

NEWEST_MAX = 200  # assets of a listing: what was uploaded last is among the newest
SINGLE_MAX = 10  # questions about one asset each, in one round
STUCK_MAX = 5  # the same, of those that have been waited for too long
WATCH_MAX = 1_000  # items that are watched in one step
HINTS_MAX = 1_000  # assets that the server has hinted at, and that were not asked about yet
PATIENCE_S = 1_800.0


class Tracker:
    """Asks about what is embedding, at most once in two seconds, the oldest first; and hears what `inbox` is told."""

    def __init__(
        self,
        queue: Queue,
        server: Server,
        gate: Gate,
        clock: Clock,
        bells: Bells,
        *,
        inbox: Inbox | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._queue = queue
        self._server = server
        self._gate = gate
        self._clock = clock
        self._bells = bells
        self._inbox = inbox or Inbox(bells.embedding)  # without a feed nothing ever comes into it
        self._embeddings = Embeddings(queue, self._inbox, clock, patience_s=patience_s)
        self._following = asyncio.Lock()
        self._epoch = self._inbox.epoch
        self._hints: set[str] = set()
        self._pace = Pace()
        self._pages = Pages(NEWEST_MAX)
        self._failures = 0
        self._log = logger("tracker")

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_on())
            group.create_task(self._ask_on())

    async def follow(self) -> None:
        """Take in what was pushed, and have the server push what becomes of whatever is new."""
        async with self._following:
            if self._epoch != self._inbox.epoch:
                self._epoch = self._inbox.epoch
                await self._queue.bound_waits(now=self._clock.now(), delay_max_s=math.inf, ask_max_s=0.0)
            limits = self._server.last_limits
            if limits is None:
                return
            heard = self._inbox.take()
            if heard and limits.tells_embedding_states:
                await self._embeddings.settle(await self._queue.embeddings_of(heard), heard)
            elif heard:
                self._hints.update(list(heard)[: HINTS_MAX - len(self._hints)])
            if limits.tells_embedding_states and self._inbox.state == "websocket":
                await self._watch()

    async def run_once(self, *, as_of: float | None = None) -> int:
        """Ask about what is due now, or by `as_of`, and return how many items that was.

        Raises ServerErrors and Exhausted; nothing is lost by them.
        """
        limits = self._server.last_limits
        if limits is None:
            await self._paced()
            limits = await self._server.limits()
        await self.follow()
        is_true = limits.tells_embedding_states
        due = await self._queue.due_embeddings(now=as_of or self._clock.now(), limit=ASK_MAX if is_true else NEWEST_MAX)
        due += await self._hinted(due)
        if due and is_true:
            await self._settle(due, await self._ask(due))
        elif due:
            await self._find_out(due)
        return len(due)

    async def _follow_on(self) -> None:
        while True:
            ticket = self._bells.embedding.ticket()
            await self.follow()
            await self._bells.embedding.wait(ticket, self._clock.idle_s())

    async def _ask_on(self) -> None:
        while True:
            await self._gate.questions_allowed()
            ticket = self._bells.embedding.ticket()
            now, due = self._clock.now(), await self._queue.next_embedding_due()
            if not self._hints and (due is None or now < due <= now + CHECK_AGAIN_MAX_S):
                idle_s = self._clock.idle_s()
                await self._bells.embedding.wait(ticket, idle_s if due is None else min(due - now, idle_s))
                continue
            try:
                await self.run_once(as_of=max(now, due or now))  # later than now only after the clock was set back
            except (ServerError, Exhausted) as error:
                self._gate.unanswered(error)
                await self._back_off(error)
            else:
                self._gate.answered()
                self._failures = 0

    async def _watch(self) -> None:
        """Subscribe to what is due instead of asking about it, as far as there is room.

        Of what is subscribed to already, the oldest stay due, so that they are asked about all the same.
        """
        while True:
            due = await self._queue.due_embeddings(now=self._clock.now(), limit=WATCH_MAX)
            old = [each for each in due if self._inbox.watches(each.asset_id)]
            new = [each for each in due if not self._inbox.watches(each.asset_id)]
            self._inbox.watch(each.asset_id for each in new)
            watched = [each for each in new if self._inbox.watches(each.asset_id)] + old[ASK_MAX:]
            await self._embeddings.wait(watched)
            if len(due) < WATCH_MAX or not watched:
                return

    async def _hinted(self, due: Collection[Embedding]) -> list[Embedding]:
        """What the server has hinted at and is not due anyway."""
        if not self._hints:
            return []
        asset_ids, self._hints = self._hints, set()
        known = {each.item_id for each in due}
        return [each for each in await self._queue.embeddings_of(asset_ids) if each.item_id not in known]

    async def _find_out(self, due: Sequence[Embedding]) -> None:
        """Where statuses say `ready` of what has failed, and `failed` of what was removed, assets tell the truth.

        A page of the list tells of many. What is on none of its pages was removed, or is asked about alone.
        """
        newest, _ = await self._read(0)
        older = [each for each in due if each.asset_id not in newest]
        if len(older) > SINGLE_MAX and self._pages.offset is not None:
            page, found = await self._read(self._pages.offset)
            self._pages.read(rows=len(page), found=found)
            return
        self._pages.begin()
        if older:
            await self._find_out_alone(older[:ASK_MAX])

    async def _read(self, offset: int) -> tuple[Collection[str], int]:
        """The assets on one page of the list, and how many of them were waited for."""
        await self._paced()
        page = await self._server.newest(NEWEST_MAX, offset)
        found = await self._queue.embeddings_of(page)
        await self._settle(found, page)
        return page, len(found)

    async def _find_out_alone(self, older: Sequence[Embedding]) -> None:
        claimed = await self._ask(older)
        doubtful = [each for each in older if _is_an_end(claimed.get(each.asset_id))]
        await self._settle([each for each in older if each not in doubtful], claimed)
        for each in doubtful[:SINGLE_MAX]:
            await self._paced()
            await self._settle([each], {each.asset_id: await self._server.embedding(each.asset_id)})

    async def _ask(self, due: Sequence[Embedding]) -> Mapping[str, EmbeddingReport]:
        await self._paced()
        return await self._server.statuses(list(dict.fromkeys(each.asset_id for each in due)))

    async def _settle(self, due: Sequence[Embedding], reports: Mapping[str, EmbeddingReport]) -> None:
        for each in await self._embeddings.settle(due, reports, stuck_max=STUCK_MAX):
            await self._try(each)

    async def _try(self, each: Embedding) -> None:
        """An embedding is stuck: ask about it alone, and have it made if it is still not there."""
        await self._paced()
        report = await self._server.embedding(each.asset_id)
        if report.status not in {EmbeddingStatus.PENDING, EmbeddingStatus.PROCESSING}:
            await self._embeddings.settle([each], {each.asset_id: report})
            return
        await self._paced()
        try:
            await self._server.embed_again(each.asset_id)
            outcome = "asked for"
        except (ServerFault, BadAnswer, RateLimited) as error:  # it concerns embeddings alone, so it holds up no other
            outcome = error.title
        self._log.info("embedding stuck", item=each.item_id, asset=each.asset_id, outcome=outcome)

    async def _paced(self) -> None:
        """Wait until one more request is allowed, and take it."""
        await asyncio.sleep(self._pace.wait_s(self._clock.monotonic()))
        self._pace.asked(self._clock.monotonic(), calm=self._inbox.is_watching)

    async def _back_off(self, error: Exception) -> None:
        self._log.info("no answer about embeddings", error=str(error))
        self._failures += 1
        await asyncio.sleep(delay_s(attempts=self._failures, trouble=Trouble.NETWORK, chance=random.random()))


def _is_an_end(report: EmbeddingReport | None) -> bool:
    return report is not None and report.status in {EmbeddingStatus.READY, EmbeddingStatus.FAILED}
