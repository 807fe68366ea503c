"""State between the push client and the embedding tracker: subscriptions, received updates, and possible gaps."""

import asyncio
import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Literal

from splootd.core.subscription_set import SubscriptionSet
from splootd.event_bus import WakeSignal
from splootd.remote.responses import EmbeddingReport

SUBSCRIPTIONS_MAX = 10_000  # assets; those beyond the limit are polled
UPDATES_MAX = 10_000  # assets with an update that was not drained yet

PushState = Literal["websocket", "sse", "polling"]


class PushSubscriptions:
    """The subscriptions of the push channel and the updates received for them.

    `wake_signal` is notified when there are updates to `drain`, and when `generation` has changed. A new generation
    means that updates may have been missed: every pending embedding must be polled or subscribed again.
    """

    def __init__(self, wake_signal: WakeSignal) -> None:
        self.state: PushState = "polling"
        self.generation = 0
        self.dirty = asyncio.Event()  # there are `pending_changes`
        self._wake_signal = wake_signal
        self._subscriptions = SubscriptionSet(SUBSCRIPTIONS_MAX)
        self._updates: dict[str, EmbeddingReport] = {}

    def __repr__(self) -> str:
        return f"PushSubscriptions({self.state}, {len(self._subscriptions)} subscribed, {len(self._updates)} updates)"

    # Used by the tracker.

    def subscribe(self, asset_ids: Iterable[str]) -> None:
        """Subscribe to assets, up to SUBSCRIPTIONS_MAX. The server also sends the status of those already finished.

        Only a WebSocket has subscriptions: an event stream sends the updates of all assets.
        """
        if self.state == "websocket":
            self._subscriptions.add(asset_ids)
            self.dirty.set()

    def unsubscribe(self, asset_ids: Iterable[str]) -> None:
        """Unsubscribe from assets that are no longer pending."""
        self._subscriptions.discard(asset_ids)
        self.dirty.set()

    def is_subscribed(self, asset_id: str) -> bool:
        return asset_id in self._subscriptions

    @property
    def has_subscriptions(self) -> bool:
        return len(self._subscriptions) > 0

    def drain(self) -> Mapping[str, EmbeddingReport]:
        """Return the updates since the last call: the latest one of each asset."""
        updates, self._updates = self._updates, {}
        return updates

    # Used by the push client.

    @contextlib.contextmanager
    def open_channel(self, state: PushState) -> Iterator[None]:
        """Mark the channel as open while a connection lasts."""
        self.state = state
        self.begin_generation()
        try:
            yield
        finally:
            self.state = "polling"
            self._subscriptions.clear()

    def begin_generation(self) -> None:
        """Record that updates may have been missed."""
        self.generation += 1
        self._wake_signal.notify()

    def pending_changes(self, limit: int) -> tuple[Collection[str], Collection[str]]:
        """Return the next assets to subscribe to and to unsubscribe from, at most `limit` in total."""
        return self._subscriptions.pending_changes(limit)

    def put(self, asset_id: str, report: EmbeddingReport) -> None:
        """Store an update. If there are too many, drop all and begin a generation: a poll replaces them."""
        if asset_id not in self._updates and len(self._updates) >= UPDATES_MAX:
            self._updates.clear()
            self.begin_generation()
        self._updates[asset_id] = report
        self._wake_signal.notify()
