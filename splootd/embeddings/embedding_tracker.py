"""Track uploaded assets until their embeddings are ready, with few requests for any number of files.

Pushed updates make it fast, polling makes it reliable: while the push channel is open, polls are rare.
"""

import asyncio
import math
import random
from collections.abc import Collection, Mapping, Sequence

from splootd.clock import Clock
from splootd.core.backoff import delay_s
from splootd.core.embedding_polling import FALLBACK_POLL_DELAY_MAX_S, IDS_PER_POLL_MAX, PollRateLimit
from splootd.core.retry_policy import BackoffClass
from splootd.embeddings.embedding_hold import EmbeddingHold
from splootd.embeddings.embedding_status import EmbeddingStatusManager
from splootd.embeddings.push_subscriptions import PushSubscriptions
from splootd.embeddings.status_poller import PAGE_SIZE_MAX, SOURCE_ERRORS, StatusPoller
from splootd.errors import RateLimited, ResourceExhausted, ServerError
from splootd.event_bus import WakeSignals
from splootd.logs import get_logger
from splootd.remote.client import SplootClient
from splootd.remote.responses import EmbeddingReport, EmbeddingStatus
from splootd.store.queue import PendingEmbedding, Queue
from splootd.upload.admission import AdmissionController

STUCK_MAX = 5  # requests about stuck embeddings per round
SUBSCRIBE_BATCH_MAX = 1_000  # items per step of subscribing
HINTS_MAX = 1_000  # assets with an unreliable pushed update, still to be polled
EMBEDDING_TIMEOUT_S = 1_800.0


class EmbeddingTracker:
    """Polls pending embeddings, the oldest first and at most once in two seconds, and processes pushed updates."""

    def __init__(
        self,
        queue: Queue,
        client: SplootClient,
        admission: AdmissionController,
        clock: Clock,
        wake_signals: WakeSignals,
        *,
        subscriptions: PushSubscriptions | None = None,
        embedding_timeout_s: float = EMBEDDING_TIMEOUT_S,
    ) -> None:
        self._queue = queue
        self._client = client
        self._admission = admission
        self._clock = clock
        self._wake_signals = wake_signals
        self._subscriptions = subscriptions or PushSubscriptions(wake_signals.embedding)  # stays empty without a client
        self._status_manager = EmbeddingStatusManager(
            queue, self._subscriptions, clock, embedding_timeout_s=embedding_timeout_s
        )
        self._push_lock = asyncio.Lock()
        self._generation = self._subscriptions.generation
        self._hints: set[str] = set()
        self._pace = PollRateLimit()
        self._poller = StatusPoller(
            queue,
            client,
            clock,
            record=self._record_reports,
            postpone=self._status_manager.schedule_polls,
            wait_for_rate_limit=self._wait_for_rate_limit,
        )
        self._hold = EmbeddingHold(client, admission, clock)
        self._failures = 0
        self._log = get_logger("tracker")

    async def run(self) -> None:
        await self._status_manager.restore()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._run_push_loop())
            group.create_task(self._run_poll_loop())
            group.create_task(self._hold.run())

    async def process_push_updates(self) -> None:
        """Record pushed updates, and subscribe to embeddings that are new."""
        async with self._push_lock:
            if self._generation != self._subscriptions.generation:
                self._generation = self._subscriptions.generation
                await self._queue.clamp_delays(now=self._clock.now(), delay_max_s=math.inf, poll_max_s=0.0)
            limits = self._client.last_limits
            if limits is None:
                return
            updates = self._subscriptions.drain()
            if updates and limits.has_reliable_embedding_states:
                await self._status_manager.record_reports(await self._queue.embeddings_by_asset_id(updates), updates)
            elif updates:
                self._hints.update(list(updates)[: HINTS_MAX - len(self._hints)])
            if limits.has_reliable_embedding_states and self._subscriptions.state == "websocket":
                await self._subscribe()

    async def run_once(self, *, as_of: float | None = None) -> int:
        """Poll the embeddings that are due now, or by `as_of`, and return their number.

        Raises ServerError and ResourceExhausted; the embeddings stay due.
        """
        is_reliable = await self._has_reliable_statuses()
        await self.process_push_updates()
        due = await self._queue.due_embeddings(
            now=as_of or self._clock.now(), limit=IDS_PER_POLL_MAX if is_reliable else PAGE_SIZE_MAX
        )
        due += await self._take_hinted(due)
        if due:
            await self._poller.poll(due, is_reliable=is_reliable)
        return len(due)

    async def _run_push_loop(self) -> None:
        while True:
            snapshot = self._wake_signals.embedding.snapshot()
            await self.process_push_updates()
            await self._wake_signals.embedding.wait(snapshot, self._clock.next_idle_wake_s())

    async def _run_poll_loop(self) -> None:
        while True:
            await self._admission.wait_until_reachable()
            snapshot = self._wake_signals.embedding.snapshot()
            now, due = self._clock.now(), await self._queue.next_embedding_due()
            if not self._hints and (due is None or now < due <= now + FALLBACK_POLL_DELAY_MAX_S):
                idle_s = self._clock.next_idle_wake_s()
                await self._wake_signals.embedding.wait(snapshot, idle_s if due is None else min(due - now, idle_s))
                continue
            try:
                await self.run_once(as_of=max(now, due or now))  # later than now only if the clock was set back
            except (ServerError, ResourceExhausted) as error:
                await self._report_failure(error)
                await self._back_off(error)
            else:
                self._admission.control_ok()
                self._failures = 0

    async def _subscribe(self) -> None:
        """Subscribe to due embeddings instead of polling them, up to the limit of subscriptions.

        The oldest of those already subscribed stay due and are polled as well, in case an update was lost.
        """
        while True:
            due = await self._queue.due_embeddings(now=self._clock.now(), limit=SUBSCRIBE_BATCH_MAX)
            old = [each for each in due if self._subscriptions.is_subscribed(each.asset_id)]
            new = [each for each in due if not self._subscriptions.is_subscribed(each.asset_id)]
            self._subscriptions.subscribe(each.asset_id for each in new)
            subscribed = [each for each in new if self._subscriptions.is_subscribed(each.asset_id)] + old[
                IDS_PER_POLL_MAX:
            ]
            await self._status_manager.schedule_polls(subscribed)
            if len(due) < SUBSCRIBE_BATCH_MAX or not subscribed:
                return

    async def _take_hinted(self, due: Collection[PendingEmbedding]) -> list[PendingEmbedding]:
        """Return the embeddings with an unreliable pushed update that are not due anyway."""
        if not self._hints:
            return []
        asset_ids, self._hints = self._hints, set()
        known = {each.item_id for each in due}
        return [each for each in await self._queue.embeddings_by_asset_id(asset_ids) if each.item_id not in known]

    async def _has_reliable_statuses(self) -> bool:
        """Return whether the server announces reliable statuses; False as long as it does not answer."""
        if self._client.last_limits is None:
            await self._wait_for_rate_limit()
            try:
                await self._client.limits()
            except SOURCE_ERRORS:
                return False
        limits = self._client.last_limits
        return limits is not None and limits.has_reliable_embedding_states

    async def _record_reports(self, due: Sequence[PendingEmbedding], reports: Mapping[str, EmbeddingReport]) -> None:
        if not (self._client.last_limits and self._client.last_limits.has_reliable_embedding_states):
            self._hold.observe(reports[each.asset_id] for each in due if each.asset_id in reports)
        for each in await self._status_manager.record_reports(due, reports, stuck_max=STUCK_MAX):
            await self._regenerate_stuck(each)

    async def _regenerate_stuck(self, each: PendingEmbedding) -> None:
        """Poll a stuck embedding alone, and request it again if it is still pending, or if only that is answered."""
        await self._wait_for_rate_limit()
        try:
            report = await self._client.embedding_status(each.asset_id)
        except SOURCE_ERRORS:
            report = EmbeddingReport(EmbeddingStatus.PENDING)
        if report.status not in {EmbeddingStatus.PENDING, EmbeddingStatus.PROCESSING}:
            await self._status_manager.record_reports([each], {each.asset_id: report})
            return
        await self._wait_for_rate_limit()
        try:
            await self._client.regenerate_embedding(each.asset_id)
            outcome = "requested"
        except (*SOURCE_ERRORS, RateLimited) as error:
            outcome = error.title  # not raised: it concerns this embedding only and must not delay the others
        self._log.info("embedding stuck", item=each.item_id, asset=each.asset_id, outcome=outcome)

    async def _wait_for_rate_limit(self) -> None:
        """Wait until the next request is allowed, and count it."""
        await asyncio.sleep(self._pace.wait_s(self._clock.monotonic()))
        self._pace.record_poll(self._clock.monotonic(), has_push=self._subscriptions.has_subscriptions)

    async def _report_failure(self, error: ServerError | ResourceExhausted) -> None:
        """Report a failed poll, unless the server is healthy and only cannot tell the statuses."""
        if isinstance(error, SOURCE_ERRORS):
            try:
                await self._client.health()
            except (ServerError, ResourceExhausted) as unhealthy:
                error = unhealthy
            else:
                self._admission.control_ok()
                return
        self._admission.control_failed(error)

    async def _back_off(self, error: Exception) -> None:
        self._log.info("embedding poll failed", error=str(error))
        self._failures += 1
        await asyncio.sleep(
            delay_s(attempts=self._failures, backoff_class=BackoffClass.NETWORK, chance=random.random())
        )
