"""Record embedding statuses in the queue, whether they were polled or pushed."""

import random
from collections.abc import Mapping, Sequence

from splootd.clock import Clock
from splootd.core.embedding_polling import (
    DURATIONS_MAX,
    StuckAction,
    StuckDetector,
    next_fallback_poll_at,
    next_poll_at,
)
from splootd.core.error_code import ErrorCode
from splootd.embeddings.push_subscriptions import PushSubscriptions
from splootd.remote.responses import EmbeddingReport, EmbeddingStatus
from splootd.store.queue import PendingEmbedding, Queue

UNKNOWN_ASSET_GRACE_S = 10.0  # until then a new asset may be missing from a replica of the server's database


class EmbeddingStatusManager:
    """Records the statuses of pending embeddings, schedules their next polls, and detects stuck ones."""

    def __init__(
        self, queue: Queue, subscriptions: PushSubscriptions, clock: Clock, *, embedding_timeout_s: float
    ) -> None:
        self._queue = queue
        self._subscriptions = subscriptions
        self._clock = clock
        self._stuck_detector = StuckDetector(embedding_timeout_s, now=clock.now())

    async def restore(self) -> None:
        """Measure patience by the embeddings of earlier runs, too."""
        self._stuck_detector.restore(reversed(await self._queue.embedding_durations(limit=DURATIONS_MAX)))

    async def record_reports(
        self, due: Sequence[PendingEmbedding], reports: Mapping[str, EmbeddingReport], *, stuck_max: int = 0
    ) -> list[PendingEmbedding]:
        """Record the final statuses and schedule the next poll of the others.

        Return at most `stuck_max` embeddings that have been pending for too long and should be requested again.
        """
        now = self._clock.now()
        ready, pending = [], []
        stuck: list[PendingEmbedding] = []
        for each in due:
            report = reports.get(each.asset_id, EmbeddingReport(EmbeddingStatus.PENDING))
            match report.status:
                case EmbeddingStatus.READY:
                    ready.append(each)
                case EmbeddingStatus.FAILED:
                    await self._record_failed(each, report)
                case EmbeddingStatus.UNKNOWN if not 0 <= now - each.accepted_at < UNKNOWN_ASSET_GRACE_S:
                    await self._record_removed(each)  # a negative age means that the clock was set back: also removed
                case EmbeddingStatus.UNKNOWN:
                    await self._queue.schedule_polls(
                        {each.item_id: next_poll_at(accepted_at=each.accepted_at, now=now)}
                    )
                case _:
                    pending.append(each)
                    stuck += await self._handle_stuck(each, now) if len(stuck) < stuck_max else []
        if ready:
            await self._queue.finish([each.item_id for each in ready], now=now)
            self._mark_finished(*ready)
        await self.schedule_polls(pending)
        return stuck

    async def schedule_polls(self, pending: Sequence[PendingEmbedding]) -> None:
        """Schedule the next poll of each embedding."""
        now = self._clock.now()
        if pending:
            await self._queue.schedule_polls({each.item_id: self._get_next_poll_at(each, now) for each in pending})

    def _get_next_poll_at(self, each: PendingEmbedding, now: float) -> float:
        if self._subscriptions.is_subscribed(each.asset_id):
            return next_fallback_poll_at(now=now, chance=random.random())
        return next_poll_at(accepted_at=each.accepted_at, now=now)

    async def _handle_stuck(self, each: PendingEmbedding, now: float) -> list[PendingEmbedding]:
        """Return the embedding if it should be requested again; discard it after too many requests."""
        match self._stuck_detector.next_action(
            each.item_id, accepted_at=each.accepted_at, now=now, is_requested=each.is_requested
        ):
            case StuckAction.RETRY:
                return [each]
            case StuckAction.GIVE_UP:
                error_message = (
                    "the file is in the library, but the server did not make it searchable in time, even after"
                    " repeated requests"
                )
                await self._discard(each, error_message)
                self._subscriptions.unsubscribe([each.asset_id])
        return []

    async def _record_failed(self, each: PendingEmbedding, report: EmbeddingReport) -> None:
        detail = f" ({report.error})" if report.error else ""
        await self._discard(
            each,
            f"the file is in the library, but the server could not make it searchable{detail}",
        )
        self._mark_finished(each)

    async def _discard(self, each: PendingEmbedding, error_message: str) -> None:
        await self._queue.discard_embedding(
            each.item_id, error_code=ErrorCode.EMBEDDING_FAILED, error_message=error_message, now=self._clock.now()
        )

    async def _record_removed(self, each: PendingEmbedding) -> None:
        error_message = "the file was removed from the library: to upload it again, use `sploot add --force`"
        await self._queue.skip_removed(each.item_id, error_message=error_message, now=self._clock.now())
        self._mark_finished(each)

    def _mark_finished(self, *finished: PendingEmbedding) -> None:
        """Unsubscribe from finished embeddings, and report them to the stuck detector as a sign of progress."""
        self._subscriptions.unsubscribe(each.asset_id for each in finished)
        for each in finished:
            self._stuck_detector.record_completion(each.item_id, accepted_at=each.accepted_at, now=self._clock.now())
