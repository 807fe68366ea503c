"""Between the push channel and whoever waits for its news: what is watched, what was said, and what may be missing."""

import asyncio
import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Literal

from splootd.bus import Bell
from splootd.core.watched import Watched
from splootd.remote.answers import EmbeddingReport

WATCHED_MAX = 10_000  # assets that are subscribed to; the others are asked about
HEARD_MAX = 10_000  # assets with news that nobody has taken yet

Push = Literal["websocket", "sse", "polling"]


class Inbox:
    """`bell` rings when there is something to `take`, and when `epoch` has changed.

    A new epoch means that something may have been missed: whatever is waited for is to be asked about, or watched
    anew.
    """

    def __init__(self, bell: Bell) -> None:
        self.state: Push = "polling"
        self.epoch = 0
        self.unsaid = asyncio.Event()  # there is something for `say`
        self._bell = bell
        self._watched = Watched(WATCHED_MAX)
        self._heard: dict[str, EmbeddingReport] = {}

    def __repr__(self) -> str:
        return f"Inbox({self.state}, {len(self._watched)} watched, {len(self._heard)} heard)"

    # For whoever waits.

    def watch(self, asset_ids: Iterable[str]) -> None:
        """Have it told what becomes of these, and at once of those that have ended; as many as there is room for.

        Only a WebSocket is told what to tell of.
        """
        if self.state == "websocket":
            self._watched.add(asset_ids)
            self.unsaid.set()

    def unwatch(self, asset_ids: Iterable[str]) -> None:
        """These are no longer waited for."""
        self._watched.discard(asset_ids)
        self.unsaid.set()

    def watches(self, asset_id: str) -> bool:
        return asset_id in self._watched

    @property
    def is_watching(self) -> bool:
        return len(self._watched) > 0

    def take(self) -> Mapping[str, EmbeddingReport]:
        """What was said since the last call: of each asset the latest."""
        heard, self._heard = self._heard, {}
        return heard

    # For the channel.

    @contextlib.contextmanager
    def open(self, state: Push) -> Iterator[None]:
        """For as long as a connection lasts."""
        self.state = state
        self.begin_epoch()
        try:
            yield
        finally:
            self.state = "polling"
            self._watched.clear()

    def begin_epoch(self) -> None:
        self.epoch += 1
        self._bell.ring()

    def say(self, limit: int) -> tuple[Collection[str], Collection[str]]:
        """What to tell the server next: assets to subscribe to, and to unsubscribe from, at most `limit` together."""
        return self._watched.say(limit)

    def put(self, asset_id: str, report: EmbeddingReport) -> None:
        if asset_id not in self._heard and len(self._heard) >= HEARD_MAX:
            self._heard.clear()
            self.begin_epoch()
        self._heard[asset_id] = report
        self._bell.ring()
