"""Definitions of all metric families: names, units and labels. Label values are bounded: never a path or an id."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from splootd.core.circuit_breaker import CircuitState
from splootd.core.item import Priority, State
from splootd.metrics.api_calls import ApiCalls
from splootd.metrics.collector import MetricsCollector
from splootd.metrics.exposition import MetricFamily, counter, gauge, histogram, state_set
from splootd.metrics.rss import RssSamples

PUSH_CHANNELS = ("websocket", "sse", "polling")
SERVER_STATES = (
    *("unknown", "ok", "degraded", "embeddings_fail", "full"),
    *("starting", "silent", "unreachable", "signed_out", "rate_limited"),
)
FOLDER_STATES = ("watching", "polling", "missing", "unreadable", "scanning")


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """All measured values at one moment. Sizes are bytes, durations seconds; `now` is monotonic."""

    version: str
    sqlite: str
    started_at: float  # seconds since the epoch
    now: float
    rss_bytes: int
    rss: RssSamples
    metrics: MetricsCollector
    calls: ApiCalls
    items: Mapping[tuple[State, Priority], int]
    delayed: int
    duplicates: int
    is_paused: bool
    server_state: str
    breaker: str
    push: str
    folders: Mapping[str, int]  # by state
    throttled_s: float
    concurrency: int
    concurrency_max: int


def build_families(snapshot: MetricsSnapshot) -> list[MetricFamily]:
    return [
        *_daemon_families(snapshot),
        *_queue_families(snapshot),
        *_upload_families(snapshot),
        *_server_families(snapshot),
    ]


def _daemon_families(snapshot: MetricsSnapshot) -> Iterable[MetricFamily]:
    yield _gauge(
        "sploot_build_info", "Versions of the daemon and SQLite.", 1, version=snapshot.version, sqlite=snapshot.sqlite
    )
    yield _gauge("sploot_daemon_start_time_seconds", "Start time of the daemon since the epoch.", snapshot.started_at)
    yield _gauge("sploot_memory_bytes", "Resident memory of the daemon.", snapshot.rss_bytes)
    peak_bytes = max(snapshot.rss_bytes, snapshot.rss.peak_bytes(snapshot.now))
    yield _gauge("sploot_memory_peak_bytes", "Peak resident memory in the last five minutes.", peak_bytes)
    average_bytes = snapshot.rss.average_bytes(snapshot.now) or snapshot.rss_bytes
    yield _gauge("sploot_memory_average_bytes", "Average resident memory in the last five minutes.", average_bytes)
    yield _gauge("sploot_paused", "1 while uploads are paused.", snapshot.is_paused)
    folders = [({"state": state}, float(snapshot.folders.get(state, 0))) for state in FOLDER_STATES]
    yield gauge("sploot_folders", "Watched folders by state.", folders)


def _queue_families(snapshot: MetricsSnapshot) -> Iterable[MetricFamily]:
    yield gauge(
        "sploot_queue_items",
        "Items by state and priority.",
        [
            ({"state": state, "priority": priority.label}, float(snapshot.items.get((state, priority), 0)))
            for state in State
            for priority in Priority
        ],
    )
    yield _gauge("sploot_queue_delayed_items", "Pending items scheduled for later.", snapshot.delayed)
    yield _gauge(
        "sploot_queue_duplicate_items", "Ready items whose content the library already had.", snapshot.duplicates
    )
    description = "Time from an urgent add, a bump or a retry to the claim by an upload worker."
    yield histogram("sploot_urgent_queue_latency_seconds", description, [({}, snapshot.metrics.urgent_latency.seconds)])


def _upload_families(snapshot: MetricsSnapshot) -> Iterable[MetricFamily]:
    metrics = snapshot.metrics
    yield _counter(
        "sploot_items_stored_total", "Items stored in the library, uploaded or already known.", metrics.items
    )
    yield _counter("sploot_uploads_total", "Completed uploads, successful or failed.", metrics.upload_s.count)
    yield _counter("sploot_upload_bytes_total", "Uploaded bytes of file content.", metrics.bytes)
    yield _counter("sploot_upload_chunks_total", "Uploaded chunks.", metrics.chunks)
    yield _counter("sploot_upload_retries_total", "Uploads after the first attempt of their item.", metrics.retries)
    yield histogram("sploot_upload_duration_seconds", "Duration of uploads.", [({}, metrics.upload_s)])
    yield _counter(
        "sploot_upload_throttled_seconds_total",
        "Time that uploads waited for the bandwidth limit.",
        snapshot.throttled_s,
    )
    yield _gauge("sploot_uploads_in_flight", "Uploads in flight.", len(metrics.transfers))
    yield _gauge("sploot_upload_concurrency", "Allowed concurrent uploads.", snapshot.concurrency)
    yield _gauge("sploot_upload_concurrency_max", "Maximum of concurrent uploads.", snapshot.concurrency_max)
    yield counter(
        "sploot_errors_total",
        "Failed attempts by error code.",
        [({"code": code}, float(count)) for code, count in sorted(metrics.errors.items())],
    )
    description = "Time from the upload response until the item is searchable."
    yield histogram("sploot_embedding_duration_seconds", description, [({}, metrics.embedding_s)])


def _server_families(snapshot: MetricsSnapshot) -> Iterable[MetricFamily]:
    calls = sorted(snapshot.calls.by_endpoint.items())
    yield counter(
        "sploot_api_requests_total",
        "Requests to the server by outcome.",
        [
            ({"endpoint": endpoint, "outcome": outcome}, float(count))
            for endpoint, call in calls
            for outcome, count in sorted(call.outcomes.items())
        ],
    )
    yield histogram(
        "sploot_api_request_duration_seconds",
        "Duration of requests to the server.",
        [({"endpoint": endpoint}, call.seconds) for endpoint, call in calls],
    )
    yield state_set(
        "sploot_server_state", "State of the server.", "state", states=SERVER_STATES, current=snapshot.server_state
    )
    yield state_set(
        "sploot_breaker_state",
        "State of the circuit breaker.",
        "state",
        states=tuple(CircuitState),
        current=snapshot.breaker,
    )
    yield state_set(
        "sploot_push_channel", "Push channel in use.", "channel", states=PUSH_CHANNELS, current=snapshot.push
    )


def _gauge(name: str, description: str, value: float, **labels: str) -> MetricFamily:
    return gauge(name, description, [(labels, float(value))])


def _counter(name: str, description: str, value: float) -> MetricFamily:
    return counter(name, description, [({}, float(value))])
