"""Circuit breaker: stops uploads while the server fails and tests its recovery with a single probe."""

import enum

FAILURE_THRESHOLD = 5
RESET_TIMEOUT_S = 30.0


class CircuitState(enum.StrEnum):
    """State of the circuit breaker, with the values of the status reply and the metrics."""

    CLOSED = "closed"  # all requests are allowed
    OPEN = "open"  # no request is allowed until `retry_at`
    HALF_OPEN = "half_open"  # one probe is in flight


class CircuitBreaker:
    """Opens after `FAILURE_THRESHOLD` consecutive failures of different contents; half-open, it allows one probe.

    Repeated failures of the same content count once: they indicate a bad file, not a failing server. Counting each of
    them would let a single poisoned file stop all uploads. Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._failed_contents: set[int] = set()
        self._retry_at: float | None = None
        self._is_probing = False

    def __repr__(self) -> str:
        return f"CircuitBreaker({self.state}, {len(self._failed_contents)} of {FAILURE_THRESHOLD} failures)"

    @property
    def state(self) -> CircuitState:
        if self._is_probing:
            return CircuitState.HALF_OPEN
        return CircuitState.CLOSED if self._retry_at is None else CircuitState.OPEN

    @property
    def retry_at(self) -> float | None:
        """Time of the next probe, or None while the circuit is closed."""
        return self._retry_at

    def allow_request(self, now: float) -> bool:
        """Return True when the caller may send a request now. An open circuit that is due makes the caller the probe.

        An admitted caller must finish with `record_success`, `record_failure`, `trip` or `release_probe`; otherwise
        a lost probe keeps the circuit half-open forever.
        """
        if self._retry_at is None:
            return True
        if self._is_probing or now < self._retry_at:
            return False
        self._is_probing = True
        return True

    def record_success(self) -> None:
        """Close the circuit after a valid response."""
        self._failed_contents.clear()
        self._retry_at = None
        self._is_probing = False

    def record_failure(self, content: int, now: float) -> frozenset[int]:
        """Record a server failure on `content`.

        Return the contents whose failures are attributed to the server when this failure opens the circuit.
        """
        self._failed_contents.add(content)
        if not self._is_probing and len(self._failed_contents) < FAILURE_THRESHOLD:
            return frozenset()
        return self._open(now)

    def trip(self, now: float) -> frozenset[int]:
        """Open immediately to shed load, because this machine ran out of a resource."""
        return self._open(now)

    def release_probe(self) -> None:
        """Free the probe of a caller that ended without a response, so that another caller can probe."""
        self._is_probing = False

    def _open(self, now: float) -> frozenset[int]:
        cleared = frozenset(self._failed_contents)
        self._failed_contents.clear()
        self._is_probing = False
        self._retry_at = now + RESET_TIMEOUT_S
        return cleared
