"""Reduce upload concurrency while the server has a backlog of embeddings."""

import asyncio
from collections.abc import Callable

from splootd.core.adaptive_concurrency import ADJUST_INTERVAL_S, AdaptiveConcurrency
from splootd.core.item import State
from splootd.errors import StoreError
from splootd.event_bus import WakeSignals
from splootd.logs import get_logger
from splootd.store.read_queries import ReadQueries
from splootd.upload.admission import AdmissionController


class ConcurrencyController:
    """Adapts the number of concurrent uploads to the server's backlog, while there are files to upload.

    The backlog is what the server reports. Embeddings that were not polled yet say nothing about the server: a plain
    Sploot is asked once in two seconds, however fast it is.
    It runs for remote servers only: other users share those. The local server's backlog delays no other user.
    """

    def __init__(
        self,
        listing: ReadQueries,
        wake_signals: WakeSignals,
        admission: AdmissionController,
        *,
        concurrency_max: int,
        set_concurrency: Callable[[int], None],
    ) -> None:
        self.adaptive_concurrency = AdaptiveConcurrency(concurrency_max)
        self._listing = listing
        self._wake_signals = wake_signals
        self._admission = admission
        self._set_concurrency = set_concurrency
        self._log = get_logger("concurrency")

    async def run(self) -> None:
        """Adapt until cancelled; wait for a wake signal while the queue is empty."""
        while True:
            snapshot = self._wake_signals.work.snapshot()
            try:
                is_needed = await self.run_once()
            except StoreError as error:
                self._log.warning("backlog unknown", error=error.title)
                is_needed = True
            if is_needed:
                await asyncio.sleep(ADJUST_INTERVAL_S)
            else:
                await self._wake_signals.work.wait(snapshot, None)

    async def run_once(self) -> bool:
        """Adapt once. Return False if there is nothing to upload and concurrency is back at its maximum."""
        counts = (await self._listing.counts()).by_state
        embedding, previous = await self._listing.embedding_backlog(), self.adaptive_concurrency.concurrency
        concurrency = self.adaptive_concurrency.update(embedding)
        if concurrency != previous:
            self._set_concurrency(concurrency)
            self._log.info(
                "upload concurrency changed",
                concurrency=concurrency,
                concurrency_max=self.adaptive_concurrency.concurrency_max,
                embedding=embedding,
            )
        is_slowed = concurrency < self.adaptive_concurrency.concurrency_max
        self._admission.slowdown_reason = (
            _format_slowdown_reason(embedding, concurrency, self.adaptive_concurrency.concurrency_max)
            if is_slowed
            else None
        )
        return is_slowed or counts[State.PENDING] + counts[State.UPLOADING] > 0


def _format_slowdown_reason(embedding: int, concurrency: int, concurrency_max: int) -> str:
    return f"the server is still processing {embedding:,} files; using {concurrency} of {concurrency_max} connections"
