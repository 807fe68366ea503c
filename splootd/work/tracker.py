"""Finds out when what was uploaded has become searchable: few questions, whatever the number of files."""

import asyncio
import random
from collections.abc import Mapping, Sequence

from splootd.bus import Bells
from splootd.clock import Clock
from splootd.core.awaited import ASK_AGAIN_MAX_S, ASK_MAX, Pace, ask_again_at
from splootd.core.failure import Fault, Trouble
from splootd.core.retry import delay_s
from splootd.errors import Exhausted, ServerError
from splootd.gate import Gate
from splootd.logs import logger
from splootd.remote.answers import EmbeddingReport, EmbeddingStatus
from splootd.remote.api import Server
from splootd.store.queue import Embedding, Queue

IDLE_S = 60.0
NEWEST_MAX = 200  # assets of a listing: what was uploaded last is among the newest
SINGLE_MAX = 10  # questions about one asset each, in one round
REMOVED_AFTER_S = 10.0  # an asset that is unknown sooner may not have reached every copy of the server's database


class Tracker:
    """Asks about what is embedding, at most once in two seconds, the oldest first."""

    def __init__(self, queue: Queue, server: Server, gate: Gate, clock: Clock, bells: Bells) -> None:
        self._queue = queue
        self._server = server
        self._gate = gate
        self._clock = clock
        self._bells = bells
        self._pace = Pace()
        self._failures = 0
        self._log = logger("tracker")

    async def run(self) -> None:
        while True:
            await self._gate.questions_allowed()
            ticket = self._bells.embedding.ticket()
            now, due = self._clock.now(), await self._queue.next_embedding_due()
            if due is None or now < due <= now + ASK_AGAIN_MAX_S:
                await self._bells.embedding.wait(ticket, IDLE_S if due is None else min(due - now, IDLE_S))
                continue
            try:
                await self.run_once(as_of=max(now, due))  # later than now only after the clock was set back
            except (ServerError, Exhausted) as error:
                self._gate.unanswered(error)
                await self._back_off(error)
            else:
                self._gate.answered()
                self._failures = 0

    async def run_once(self, *, as_of: float | None = None) -> int:
        """Ask about what is due now, or by `as_of`, and return how many items that was.

        Raises ServerErrors and Exhausted; nothing is lost by them.
        """
        limits = self._server.last_limits
        if limits is None:
            await self._paced()
            limits = await self._server.limits()
        is_true = limits.tells_embedding_states
        due = await self._queue.due_embeddings(now=as_of or self._clock.now(), limit=ASK_MAX if is_true else NEWEST_MAX)
        if due and is_true:
            await self._settle(due, await self._ask(due))
        elif due:
            await self._find_out(due)
        return len(due)

    async def _find_out(self, due: Sequence[Embedding]) -> None:
        """Where statuses say `ready` of what has failed, and `failed` of what was removed, assets tell the truth."""
        await self._paced()
        newest = await self._server.newest(NEWEST_MAX)
        await self._settle([each for each in due if each.asset_id in newest], newest)
        older = [each for each in due if each.asset_id not in newest][:ASK_MAX]
        if not older:
            return
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
        """Write down what is known now; whatever has no end yet is asked about again."""
        now, ready, again = self._clock.now(), [], {}
        for each in due:
            report = reports.get(each.asset_id, EmbeddingReport(EmbeddingStatus.PENDING))
            match report.status:
                case EmbeddingStatus.READY:
                    ready.append(each.item_id)
                case EmbeddingStatus.FAILED:
                    await self._failed(each, report)
                case EmbeddingStatus.UNKNOWN if now - each.accepted_at >= REMOVED_AFTER_S:
                    reason = "it was removed on the server: `sploot add --force` sends it again"
                    await self._queue.removed(each.item_id, reason=reason, now=now)
                case _:
                    again[each.item_id] = ask_again_at(accepted_at=each.accepted_at, now=now)
        if ready:
            await self._queue.finish(ready, now=now)
        if again:
            await self._queue.ask_again(again)

    async def _failed(self, each: Embedding, report: EmbeddingReport) -> None:
        said = f" ({report.error})" if report.error else ""
        reason = (
            f"the library has it, but could not make it searchable{said}: remove it there, then `sploot add --force`"
        )
        self._log.info("embedding failed", item=each.item_id, asset=each.asset_id, error=report.error)
        await self._queue.embedding_failed(
            each.item_id, fault=Fault.EMBEDDING_FAILED, reason=reason, now=self._clock.now()
        )

    async def _paced(self) -> None:
        """Wait until one more request is allowed, and take it."""
        await asyncio.sleep(self._pace.wait_s(self._clock.monotonic()))
        self._pace.asked(self._clock.monotonic())

    async def _back_off(self, error: Exception) -> None:
        self._log.info("no answer about embeddings", error=str(error))
        self._failures += 1
        await asyncio.sleep(delay_s(attempts=self._failures, trouble=Trouble.NETWORK, chance=random.random()))


def _is_an_end(report: EmbeddingReport | None) -> bool:
    return report is not None and report.status in {EmbeddingStatus.READY, EmbeddingStatus.FAILED}
