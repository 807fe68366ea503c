"""Prometheus metrics of the server. Labels have a bounded set of values, so clients cannot create new series."""

import time
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sploot_server.domain.entities import EmbeddingState

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"  # label of unknown paths and methods

disable_created_metrics()  # type: ignore[no-untyped-call]  # in the text format 0.0.4 each would be one more gauge


class Metrics:
    """Counts requests by method, route and status, and measures the time to the first byte of each route."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
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
        self._embeddings = Gauge(
            "sploot_server_embeddings", "Embeddings of the library by state.", ("state",), registry=self._registry
        )
        self._subscribers = Gauge(
            "sploot_server_subscribers", "Clients connected to the push channel.", registry=self._registry
        )

    def record_request(self, method: str, route: str, status: int, elapsed_s: float) -> None:
        self._requests.labels(method if method in METHODS else OTHER, route, status).inc()
        self._seconds.labels(route).observe(elapsed_s)

    def render(self, embeddings: Mapping[str, int], subscribers: int) -> bytes:
        """Return all metrics in the Prometheus text format, version 0.0.4."""
        for state in EmbeddingState:
            self._embeddings.labels(state.value).set(embeddings.get(state.value, 0))
        self._subscribers.set(subscribers)
        return generate_latest(self._registry)


class MetricsMiddleware:
    """ASGI middleware that records each request when its response starts."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths_by_endpoint: dict[object, str] = {
            route.endpoint: route.path for route in routes if isinstance(route, Route)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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
