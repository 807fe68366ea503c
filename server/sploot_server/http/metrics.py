"""Prometheus metrics of the server. Labels have a bounded set of values, so clients cannot create new series."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Protocol

from prometheus_client import Counter, Gauge, Histogram, generate_latest
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sploot_server.auth.accounts import UserUsage
from sploot_server.domain.entities import EmbeddingState
from sploot_server.http.errors import LIMIT
from sploot_server.measurements import BUCKETS_S, Measurements

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"  # label of unknown paths and methods


class DiskUsage(Protocol):
    """What `shutil.disk_usage` returns, in bytes."""

    @property
    def total(self) -> int: ...

    @property
    def free(self) -> int: ...


@dataclass(frozen=True, slots=True)
class QueueState:
    """The embedding jobs of the library, whichever process runs them."""

    count_by_state: Mapping[str, int]
    oldest_due_s: float
    worker_count: int


@dataclass(frozen=True, slots=True)
class CurrentState:
    """What the gauges show. `queue` is None while the database does not answer; the counters are shown all the same."""

    queue: QueueState | None = None
    connections: Mapping[tuple[str, str], int] = field(default_factory=dict)
    backends: Mapping[str, bool] = field(default_factory=dict)
    disks: Mapping[str, DiskUsage] = field(default_factory=dict)
    usage: Sequence[UserUsage] = ()
    subscribers: int = 0


class Metrics:
    """Counts requests by method, route and status, and measures the time to the first byte of each route."""

    def __init__(self, measurements: Measurements | None = None) -> None:
        self._measurements = measurements or Measurements()
        self._registry = self._measurements.registry
        self._requests = Counter(
            "sploot_server_requests", "Requests answered.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "sploot_server_request_seconds",
            "Time until the response started.",
            ("route",),
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self._embeddings = self._gauge("embeddings", "Embeddings of the library by state.", "state")
        self._oldest_job = self._gauge("oldest_job_seconds", "Time that the longest waiting embedding job is due.")
        self._workers = self._gauge("workers", "Processes that run embedding jobs of the library.")
        self._connections = self._gauge("database_connections", "Connections to the database.", "pool", "state")
        self._backend_up = self._gauge("backend_up", "1 if the backend passes its readiness check.", "backend")
        self._disk_free = self._gauge("disk_free_bytes", "Free space of the disk of a folder.", "folder")
        self._disk_size = self._gauge("disk_size_bytes", "Size of the disk of a folder.", "folder")
        self._stored = self._gauge("user_stored_bytes", "Bytes that a user stores, deleted files included.", "user")
        self._quota = self._gauge("user_quota_bytes", "Quota of a user who has one.", "user")
        self._subscribers = self._gauge("subscribers", "Clients connected to the push channel.")

    def record_limit(self, limit: str) -> None:
        self._measurements.record_limit(limit)

    def record_request(self, method: str, route: str, status: int, elapsed_s: float) -> None:
        self._requests.labels(method if method in METHODS else OTHER, route, status).inc()
        self._seconds.labels(route).observe(elapsed_s)

    def render(self, current: CurrentState) -> bytes:
        """Return all metrics in the Prometheus text format, version 0.0.4."""
        queue = current.queue
        for state in EmbeddingState:
            count = nan if queue is None else queue.count_by_state.get(state.value, 0)
            self._embeddings.labels(state.value).set(count)
        self._oldest_job.set(nan if queue is None else queue.oldest_due_s)
        self._workers.set(nan if queue is None else queue.worker_count)
        for (pool, state_name), count in current.connections.items():
            self._connections.labels(pool, state_name).set(count)
        for backend, is_up in current.backends.items():
            self._backend_up.labels(backend).set(is_up)
        for folder, disk in current.disks.items():
            self._disk_free.labels(folder).set(disk.free)
            self._disk_size.labels(folder).set(disk.total)
        for gauge in (self._stored, self._quota):
            gauge.clear()  # users may have been removed
        for usage in current.usage:
            self._stored.labels(usage.user.name).set(usage.size_bytes)
            if usage.user.quota_bytes is not None:
                self._quota.labels(usage.user.name).set(usage.user.quota_bytes)
        self._subscribers.set(current.subscribers)
        return generate_latest(self._registry)

    def _gauge(self, name: str, description: str, *labels: str) -> Gauge:
        return Gauge(f"sploot_server_{name}", description, labels, registry=self._registry)


class MetricsMiddleware:
    """ASGI middleware that records each request when its response starts, and the limit that refused it."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths_by_endpoint: dict[object, str] = {
            route.endpoint: route.path for route in routes if isinstance(route, Route)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._time(scope, receive, send)
        finally:
            limit = scope.get("state", {}).get(LIMIT)
            if limit is not None:
                self._metrics.record_limit(limit)

    async def _time(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def counting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = self._paths_by_endpoint.get(scope.get("endpoint"), OTHER)
                self._metrics.record_request(scope["method"], route, message["status"], time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, counting_send)
