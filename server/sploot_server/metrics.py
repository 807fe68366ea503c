"""What the server tells of its work: text for Prometheus, with a number of series that no client can make grow."""

import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

EDGES_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"  # paths that no route has, and methods that nobody knows


class Metrics:
    """Counts requests by method, route and status, and how long those of each route took until they began to answer."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._buckets: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(EDGES_S) + 1))
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def count(self, method: str, route: str, status: int, took_s: float) -> None:
        self._requests[method if method in METHODS else OTHER, route, status] += 1
        self._buckets[route][bisect_left(EDGES_S, took_s)] += 1
        self._seconds[route] += took_s

    def text(self, embeddings: Mapping[str, int], listeners: int) -> str:
        """All of it in the text format of Prometheus, 0.0.4."""
        return "\n".join(self._lines(embeddings, listeners)) + "\n"

    def _lines(self, embeddings: Mapping[str, int], listeners: int) -> Iterator[str]:
        yield from _head("sploot_server_requests_total", "counter", "Requests that were answered.")
        for (method, route, status), count in sorted(self._requests.items()):
            labels = f'method="{method}",route="{route}",status="{status}"'
            yield f"sploot_server_requests_total{{{labels}}} {count}"
        yield from _head("sploot_server_request_seconds", "histogram", "Time until an answer began.")
        for route, buckets in sorted(self._buckets.items()):
            total = 0
            for edge, count in zip((*EDGES_S, "+Inf"), buckets, strict=True):
                total += count
                yield f'sploot_server_request_seconds_bucket{{route="{route}",le="{edge}"}} {total}'
            yield f'sploot_server_request_seconds_sum{{route="{route}"}} {self._seconds[route]:.6f}'
            yield f'sploot_server_request_seconds_count{{route="{route}"}} {total}'
        yield from _head("sploot_server_embeddings", "gauge", "Embeddings of the library, by state.")
        for state in ("pending", "processing", "ready", "failed"):
            yield f'sploot_server_embeddings{{state="{state}"}} {embeddings.get(state, 0)}'
        yield from _head("sploot_server_listeners", "gauge", "Clients that are told of embeddings as they end.")
        yield f"sploot_server_listeners {listeners}"


class Measured:
    """ASGI middleware that counts."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._metrics = metrics
        self._names: dict[object, str] = {route.endpoint: route.path for route in routes if isinstance(route, Route)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = self._names.get(scope.get("endpoint"), OTHER)
                self._metrics.count(scope["method"], route, message["status"], time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, counted)


def _head(name: str, kind: str, meaning: str) -> Iterator[str]:
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} {kind}"
