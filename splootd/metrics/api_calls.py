"""Requests to the server: count, outcomes and duration per endpoint."""

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from statistics import median

from splootd.metrics.histogram import Histogram

RECENT_CALLS = 50  # for the median


class CallStats:
    """All calls of one endpoint. The keys of `outcomes` are `ok` or an error code."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.seconds = Histogram()
        self._recent: deque[float] = deque(maxlen=RECENT_CALLS)

    def observe(self, outcome: str, seconds: float) -> None:
        self.outcomes[outcome] += 1
        self.seconds.observe(seconds)
        self._recent.append(seconds)

    @property
    def errors(self) -> int:
        return self.seconds.count - self.outcomes["ok"]

    @property
    def recent_median_s(self) -> float:
        """Median duration of the recent calls; 0 before the first."""
        return median(self._recent) if self._recent else 0.0


class ApiCalls:
    """Calls by endpoint: the name of a method of `remote.client.SplootClient`, so the label values are bounded."""

    def __init__(self) -> None:
        self._calls: defaultdict[str, CallStats] = defaultdict(CallStats)

    def observe(self, endpoint: str, outcome: str, seconds: float) -> None:
        self[endpoint].observe(outcome, seconds)

    def __getitem__(self, endpoint: str) -> CallStats:
        return self._calls[endpoint]

    def recent_median_s(self, endpoint: str) -> float:
        """Return the median duration of the recent calls of an endpoint; 0 before the first."""
        return self._calls[endpoint].recent_median_s if endpoint in self._calls else 0.0

    @property
    def by_endpoint(self) -> Mapping[str, CallStats]:
        return self._calls
