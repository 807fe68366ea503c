"""Computes the rate of each transfer from successive byte counts. Pure."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RATE_WINDOW_S = 3.0
SAMPLES_MAX = 16


@dataclass(frozen=True, slots=True)
class Transfer:
    """An upload in progress. Sizes are bytes; the rate is None until it is known."""

    path: str
    size: int
    sent: int
    bytes_per_s: float | None


class TransferRates:
    """Keeps samples of each transfer for RATE_WINDOW_S seconds."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[tuple[float, int]]] = {}

    def update(self, transfers: Sequence[Mapping[str, Any]], at: float) -> list[Transfer]:
        """Return the transfers at the monotonic time `at`. Samples of finished transfers are dropped."""
        previous, self._samples = self._samples, {}
        return [self._update_transfer(each, previous.get(each["path"]), at) for each in transfers]

    def _update_transfer(
        self, transfer: Mapping[str, Any], samples: deque[tuple[float, int]] | None, at: float
    ) -> Transfer:
        path, sent = transfer["path"], transfer["sent"]
        if samples is None or sent < samples[-1][1]:  # a new transfer, or another attempt
            samples = deque(maxlen=SAMPLES_MAX)
        while samples and at - samples[0][0] > RATE_WINDOW_S:
            samples.popleft()
        samples.append((at, sent))
        self._samples[path] = samples
        (first_at, first), elapsed_s = samples[0], at - samples[0][0]
        return Transfer(path, transfer["size"], sent, (sent - first) / elapsed_s if first_at < at else None)
