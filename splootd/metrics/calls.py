"""The questions to the server: how many, how they ended, how long they took."""

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from statistics import median

from splootd.metrics.histogram import Histogram

RECENT = 50  # calls: what is typical now


class Call:
    """All calls of one kind. `outcomes` are `ok` or a fault."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.seconds = Histogram()
        self._recent: deque[float] = deque(maxlen=RECENT)

    def observe(self, outcome: str, seconds: float) -> None:
        self.outcomes[outcome] += 1
        self.seconds.observe(seconds)
        self._recent.append(seconds)

    @property
    def errors(self) -> int:
        return self.seconds.count - self.outcomes["ok"]

    @property
    def typical_s(self) -> float:
        """How long one takes lately; 0 before the first."""
        return median(self._recent) if self._recent else 0.0


class Calls:
    """Calls by their name, which is one of the few methods of `remote.api.Server`."""

    def __init__(self) -> None:
        self._calls: defaultdict[str, Call] = defaultdict(Call)

    def observe(self, name: str, outcome: str, seconds: float) -> None:
        self[name].observe(outcome, seconds)

    def __getitem__(self, name: str) -> Call:
        return self._calls[name]

    def typical_s(self, name: str) -> float:
        """How long one of this kind takes lately; 0 before the first."""
        return self._calls[name].typical_s if name in self._calls else 0.0

    @property
    def by_name(self) -> Mapping[str, Call]:
        return self._calls
