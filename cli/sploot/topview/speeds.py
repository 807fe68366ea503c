"""How fast each transfer is, from how far it had come each time it was heard of. Pure."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WINDOW_S = 3.0
SAMPLES_MAX = 16


@dataclass(frozen=True, slots=True)
class Transfer:
    """One upload under way. Sizes are bytes; the speed is None until it can be told."""

    path: str
    size: int
    sent: int
    bytes_per_s: float | None


class Speeds:
    """Remembers for each transfer where it was in the last WINDOW_S seconds."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[float, int]]] = {}

    def note(self, moving: Sequence[Mapping[str, Any]], at: float) -> list[Transfer]:
        """What moves at the monotonic second `at`; what does not any more is forgotten."""
        before, self._seen = self._seen, {}
        return [self._noted(each, before.get(each["path"]), at) for each in moving]

    def _noted(self, each: Mapping[str, Any], seen: deque[tuple[float, int]] | None, at: float) -> Transfer:
        path, sent = each["path"], each["sent"]
        if seen is None or sent < seen[-1][1]:  # a new one, or another try
            seen = deque(maxlen=SAMPLES_MAX)
        while seen and at - seen[0][0] > WINDOW_S:
            seen.popleft()
        seen.append((at, sent))
        self._seen[path] = seen
        (first_at, first), passed_s = seen[0], at - seen[0][0]
        return Transfer(path, each["size"], sent, (sent - first) / passed_s if first_at < at else None)
