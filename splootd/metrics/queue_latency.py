"""Queue latency of urgent items: from the user's request to the claim by an upload worker."""

from collections.abc import Iterable

from splootd.core.item import Item, Priority
from splootd.metrics.histogram import Histogram

TRACKED_ITEMS_MAX = 10_000  # the oldest requests beyond this are not measured


class UrgentQueueLatency:
    """Measures the time from an urgent add, a bump or a retry to the claim of the item.

    A pause or an outage in between is included, because the user waits through it. Later attempts are not.
    Times are seconds since the epoch.
    """

    def __init__(self, started_at: float) -> None:
        self.seconds = Histogram()
        self._started_at = started_at
        self._requested_at: dict[int, float] = {}

    def record_requests(self, item_ids: Iterable[int], now: float) -> None:
        """Record items that the user moved to the front."""
        for item_id in item_ids:
            self._requested_at[item_id] = now
        while len(self._requested_at) > TRACKED_ITEMS_MAX:
            del self._requested_at[next(iter(self._requested_at))]

    def record_claim(self, item: Item, now: float) -> None:
        requested_at = self._requested_at.pop(item.id, None)
        is_first_attempt = (
            item.priority is Priority.URGENT and item.error_code is None and item.added_at >= self._started_at
        )
        if requested_at is None and is_first_attempt:
            requested_at = item.added_at
        if requested_at is not None:
            self.seconds.observe(max(0.0, now - requested_at))
