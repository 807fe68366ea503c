"""The requests that report embedding statuses, and which of them a server answers."""

import enum

from splootd.core.backoff import doubled_s

RETRY_DELAY_MIN_S = 10.0
RETRY_DELAY_MAX_S = 3_600.0


class StatusSource(enum.StrEnum):
    """A request that reports embedding statuses."""

    ASSET_LIST = "list of assets"
    BATCH = "batch of statuses"
    SINGLE_ASSET = "single asset"


class SourceHealth:
    """Remembers the sources that failed. A failed one is tried again after 10 s, then 20 s, 40 s, ... an hour.

    Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._failures: dict[StatusSource, tuple[int, float]] = {}  # number in a row, time of the next try

    def is_usable(self, source: StatusSource, now: float) -> bool:
        """Return whether to send a request to `source` now. A single asset is the last resort and always usable."""
        return source is StatusSource.SINGLE_ASSET or self._failures.get(source, (0, now))[1] <= now

    def count_failures(self, source: StatusSource) -> int:
        """Return the number of failures in a row."""
        return self._failures.get(source, (0, 0.0))[0]

    def record_failure(self, source: StatusSource, now: float) -> None:
        count = self.count_failures(source) + 1
        self._failures[source] = count, now + doubled_s(RETRY_DELAY_MIN_S, count - 1, RETRY_DELAY_MAX_S)

    def record_success(self, source: StatusSource) -> None:
        self._failures.pop(source, None)
