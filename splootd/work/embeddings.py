"""Writes down what the server says about embeddings, whether it was asked or said so by itself."""

import random
from collections.abc import Mapping, Sequence

from splootd.clock import Clock
from splootd.core.awaited import Patience, Step, ask_again_at, check_again_at
from splootd.core.fault import Fault
from splootd.remote.answers import EmbeddingReport, EmbeddingStatus
from splootd.remote.inbox import Inbox
from splootd.store.queue import Embedding, Queue

REMOVED_AFTER_S = 10.0  # an asset that is unknown sooner may not have reached every copy of the server's database


class Embeddings:
    """What is embedding, and what becomes of it."""

    def __init__(self, queue: Queue, inbox: Inbox, clock: Clock, *, patience_s: float) -> None:
        self._queue = queue
        self._inbox = inbox
        self._clock = clock
        self._patience = Patience(patience_s, now=clock.now())

    async def settle(
        self, due: Sequence[Embedding], reports: Mapping[str, EmbeddingReport], *, stuck_max: int = 0
    ) -> list[Embedding]:
        """Write down what is known now; whatever has no end yet is asked about again.

        Returns at most `stuck_max` of those that have been waited for too long: have them made after all.
        """
        now = self._clock.now()
        ready, pending = [], []
        stuck: list[Embedding] = []
        for each in due:
            report = reports.get(each.asset_id, EmbeddingReport(EmbeddingStatus.PENDING))
            match report.status:
                case EmbeddingStatus.READY:
                    ready.append(each)
                case EmbeddingStatus.FAILED:
                    await self._failed(each, report)
                case EmbeddingStatus.UNKNOWN if not 0 <= now - each.accepted_at < REMOVED_AFTER_S:
                    await self._removed(each)  # also what a clock that was set back since says is still to come
                case EmbeddingStatus.UNKNOWN:
                    await self._queue.ask_again({each.item_id: ask_again_at(accepted_at=each.accepted_at, now=now)})
                case _:
                    pending.append(each)
                    stuck += await self._stuck(each, now) if len(stuck) < stuck_max else []
        if ready:
            await self._queue.finish([each.item_id for each in ready], now=now)
            self._ended(*ready)
        await self.wait(pending)
        return stuck

    async def wait(self, pending: Sequence[Embedding]) -> None:
        """Set when each is asked about again."""
        now = self._clock.now()
        if pending:
            await self._queue.ask_again({each.item_id: self._again_at(each, now) for each in pending})

    def _again_at(self, each: Embedding, now: float) -> float:
        if self._inbox.watches(each.asset_id):
            return check_again_at(now=now, chance=random.random())
        return ask_again_at(accepted_at=each.accepted_at, now=now)

    async def _stuck(self, each: Embedding, now: float) -> list[Embedding]:
        """This one, if it is to be tried; what was tried often enough is given up."""
        match self._patience.step(each.item_id, accepted_at=each.accepted_at, now=now):
            case Step.TRY:
                return [each]
            case Step.GIVE_UP:
                reason = (
                    "the library has it, but has not made it searchable in all this time, although it was asked to"
                    " again: `sploot retry` waits for it anew"
                )
                await self._bury(each, reason)
                self._inbox.unwatch([each.asset_id])
        return []

    async def _failed(self, each: Embedding, report: EmbeddingReport) -> None:
        said = f" ({report.error})" if report.error else ""
        await self._bury(
            each,
            f"the library has it, but could not make it searchable{said}: remove it there, then `sploot add --force`",
        )
        self._ended(each)

    async def _bury(self, each: Embedding, reason: str) -> None:
        await self._queue.embedding_failed(
            each.item_id, fault=Fault.EMBEDDING_FAILED, reason=reason, now=self._clock.now()
        )

    async def _removed(self, each: Embedding) -> None:
        reason = "it was removed on the server: `sploot add --force` sends it again"
        await self._queue.removed(each.item_id, reason=reason, now=self._clock.now())
        self._ended(each)

    def _ended(self, *ended: Embedding) -> None:
        """The server has ended its work on these: it is alive."""
        self._inbox.unwatch(each.asset_id for each in ended)
        for each in ended:
            self._patience.ended(each.item_id, accepted_at=each.accepted_at, now=self._clock.now())
