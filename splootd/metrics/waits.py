"""How long a wish of a person waits until a lane takes it."""

from collections.abc import Iterable

from splootd.core.item import Item, Priority
from splootd.metrics.histogram import Histogram

WISHES_MAX = 10_000  # remembered; older ones are worked on all the same, only not measured


class Waits:
    """From the moment that somebody asked for an item, by an urgent add, a bump or a retry, to its claim.

    A pause or an outage in between is part of it: that is what whoever asked has waited. Later tries are not.
    Times are seconds since the epoch.
    """

    def __init__(self, started_at: float) -> None:
        self.seconds = Histogram()
        self._started_at = started_at
        self._asked_at: dict[int, float] = {}

    def asked(self, item_ids: Iterable[int], now: float) -> None:
        """These were sent to the front."""
        for item_id in item_ids:
            self._asked_at[item_id] = now
        while len(self._asked_at) > WISHES_MAX:
            del self._asked_at[next(iter(self._asked_at))]

    def claimed(self, item: Item, now: float) -> None:
        asked_at = self._asked_at.pop(item.id, None)
        is_fresh = item.priority is Priority.URGENT and item.fault is None and item.added_at >= self._started_at
        if asked_at is None and is_fresh:
            asked_at = item.added_at
        if asked_at is not None:
            self.seconds.observe(max(0.0, now - asked_at))
