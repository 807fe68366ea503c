"""Prometheus metrics of the server. Labels have a bounded set of values, so clients cannot create new series."""

import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"  # label of unknown paths and methods


class Metrics:
    """Counts requests by method, route and status, and measures the time to the first byte of each route."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(BUCKETS_S) + 1))
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def record_request(self, method: str, route: str, status: int, elapsed_s: float) -> None:
        self._requests[method if method in METHODS else OTHER, route, status] += 1
        self._buckets[route][bisect_left(BUCKETS_S, elapsed_s)] += 1
        self._seconds[route] += elapsed_s

    def render(self, embeddings: Mapping[str, int], subscribers: int) -> str:
        """Return all metrics in the Prometheus text format, version 0.0.4."""
        return "\n".join(self._lines(embeddings, subscribers)) + "\n"

    def _lines(self, embeddings: Mapping[str, int], subscribers: int) -> Iterator[str]:
        yield from _metadata_lines("sploot_server_requests_total", "counter", "Requests answered.")
        for (method, route, status), count in sorted(self._requests.items()):
            labels = f'method="{method}",route="{route}",status="{status}"'
            yield f"sploot_server_requests_total{{{labels}}} {count}"
        yield from _metadata_lines("sploot_server_request_seconds", "histogram", "Time until the response started.")
        for route, buckets in sorted(self._buckets.items()):
            total = 0
            for edge, count in zip((*BUCKETS_S, "+Inf"), buckets, strict=True):
                total += count
                yield f'sploot_server_request_seconds_bucket{{route="{route}",le="{edge}"}} {total}'
            yield f'sploot_server_request_seconds_sum{{route="{route}"}} {self._seconds[route]:.6f}'
            yield f'sploot_server_request_seconds_count{{route="{route}"}} {total}'
        yield from _metadata_lines("sploot_server_embeddings", "gauge", "Embeddings of the library by state.")
        for state in ("pending", "processing", "ready", "failed"):
            yield f'sploot_server_embeddings{{state="{state}"}} {embeddings.get(state, 0)}'
        yield from _metadata_lines("sploot_server_subscribers", "gauge", "Clients connected to the push channel.")
        yield f"sploot_server_subscribers {subscribers}"


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


def _metadata_lines(name: str, kind: str, help_text: str) -> Iterator[str]:
    yield f"# HELP {name} {help_text}"
    yield f"# TYPE {name} {kind}"
