"""What a process measures about its backends and limits, for the Prometheus metrics of a server."""

import contextlib
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LIMITS = (
    *("connections", "connections_per_address", "headers", "send_time"),
    *("requests", "requests_per_owner", "invalid_tokens", "subscribers", "quota", "disk_reserve"),
)
"""The limits whose hits are counted, by the names of their settings where they have one."""

disable_created_metrics()  # type: ignore[no-untyped-call]  # in the text format 0.0.4 each would be one more gauge


class Measurements:
    """Counters that are increased where the event happens; `registry` holds all metrics of the process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.originals_missing = Counter(
            "sploot_server_originals_missing",
            "Requests for an original that the database lists and the blob store lacks.",
            registry=self.registry,
        )
        self._limit_hits = Counter(
            "sploot_server_limit_hits",
            "Requests and connections refused or ended by a limit.",
            ("limit",),
            registry=self.registry,
        )
        for limit in LIMITS:  # a series that starts at 0 shows its first hit as an increase
            self._limit_hits.labels(limit)
        self._backend_seconds = Histogram(
            "sploot_server_backend_seconds",
            "Time until a backend answered, by operation.",
            ("backend", "operation"),
            buckets=BUCKETS_S,
            registry=self.registry,
        )

    def record_limit(self, limit: str) -> None:
        """Count a hit of one of LIMITS."""
        self._limit_hits.labels(limit).inc()

    @contextlib.contextmanager
    def timed(self, backend: str, operation: str) -> Iterator[None]:
        """Observe the time of the block, whether it succeeds or fails."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._backend_seconds.labels(backend, operation).observe(time.perf_counter() - began)
