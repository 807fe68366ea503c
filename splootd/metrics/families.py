"""Which metrics there are: names, units and labels. No label holds a path, an id, or anything else without an end."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from splootd.core.breaker import Mood
from splootd.core.item import Priority, State
from splootd.metrics.calls import Calls
from splootd.metrics.exposition import Family, choice, counter, gauge, histogram
from splootd.metrics.memory import Memory
from splootd.metrics.traffic import Traffic

PUSH = ("websocket", "sse", "polling")
SERVER_STATES = ("ok", "unreachable", "signed_out", "rate_limited")
FOLDER_STATES = ("watching", "polling", "missing", "unreadable", "scanning")


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that is measured, at one moment. Sizes are bytes, durations seconds, `now` is monotonic."""

    version: str
    sqlite: str
    started_at: float  # seconds since the epoch
    now: float
    rss_bytes: int
    memory: Memory
    traffic: Traffic
    calls: Calls
    items: Mapping[tuple[State, Priority], int]
    delayed: int
    duplicates: int
    paused: bool
    server_state: str
    breaker: str
    push: str
    folders: Mapping[str, int]  # by state
    throttled_s: float
    lanes: int
    lanes_max: int


def families(of: Measured) -> list[Family]:
    return [*_daemon(of), *_queue(of), *_uploads(of), *_server(of)]


def _daemon(of: Measured) -> Iterable[Family]:
    yield _one("sploot_build_info", "The versions at work.", 1, version=of.version, sqlite=of.sqlite)
    yield _one("sploot_daemon_start_time_seconds", "When the daemon started, since the epoch.", of.started_at)
    yield _one("sploot_memory_bytes", "Resident memory of the daemon.", of.rss_bytes)
    peak_bytes = max(of.rss_bytes, of.memory.peak_bytes(of.now))
    yield _one("sploot_memory_peak_bytes", "The most resident memory in the last five minutes.", peak_bytes)
    average_bytes = of.memory.average_bytes(of.now) or of.rss_bytes
    yield _one("sploot_memory_average_bytes", "Resident memory over the last five minutes.", average_bytes)
    yield _one("sploot_paused", "1 while the user has paused the sending.", of.paused)
    of_folders = [({"state": state}, float(of.folders.get(state, 0))) for state in FOLDER_STATES]
    yield gauge("sploot_folders", "Watched folders by the health of their watch.", of_folders)


def _queue(of: Measured) -> Iterable[Family]:
    yield gauge(
        "sploot_queue_items",
        "Items by state and priority.",
        [
            ({"state": state, "priority": priority.word}, float(of.items.get((state, priority), 0)))
            for state in State
            for priority in Priority
        ],
    )
    yield _one("sploot_queue_delayed_items", "Pending items that wait for a time of their own.", of.delayed)
    yield _one("sploot_queue_duplicate_items", "Ready items whose content the library had before.", of.duplicates)
    about = "From the wish of a person, an urgent add, a bump or a retry, to the claim by a lane."
    yield histogram("sploot_urgent_wait_seconds", about, [({}, of.traffic.waits.seconds)])


def _uploads(of: Measured) -> Iterable[Family]:
    traffic = of.traffic
    yield _total("sploot_items_delivered_total", "Items that the library has, sent or known.", traffic.items)
    yield _total("sploot_uploads_total", "Uploads that ended, well or not.", traffic.upload_s.count)
    yield _total("sploot_upload_bytes_total", "Bytes of files that were sent.", traffic.bytes)
    yield _total("sploot_upload_pieces_total", "Pieces in which they were sent.", traffic.pieces)
    yield _total("sploot_upload_retries_total", "Uploads that were not the first try of their item.", traffic.retries)
    yield histogram("sploot_upload_duration_seconds", "How long uploads took.", [({}, traffic.upload_s)])
    yield _total("sploot_upload_throttled_seconds_total", "Time that uploads waited for the limit.", of.throttled_s)
    yield _one("sploot_uploads_in_flight", "Uploads under way.", len(traffic.transfers))
    yield _one("sploot_upload_lanes", "Uploads that may be under way at once now.", of.lanes)
    yield _one("sploot_upload_lanes_max", "Uploads that may be under way at once at best.", of.lanes_max)
    yield counter(
        "sploot_faults_total",
        "Tries that failed, by fault.",
        [({"fault": fault}, float(count)) for fault, count in sorted(traffic.faults.items())],
    )
    about = "From the library's answer until an item was searchable."
    yield histogram("sploot_embedding_duration_seconds", about, [({}, traffic.embedding_s)])


def _server(of: Measured) -> Iterable[Family]:
    calls = sorted(of.calls.by_name.items())
    yield counter(
        "sploot_api_requests_total",
        "Questions to the server, by how they ended.",
        [
            ({"call": name, "outcome": outcome}, float(count))
            for name, call in calls
            for outcome, count in sorted(call.outcomes.items())
        ],
    )
    about = "How long the server took to answer."
    yield histogram(
        "sploot_api_request_duration_seconds", about, [({"call": name}, call.seconds) for name, call in calls]
    )
    yield choice("sploot_server_state", "How the server is.", "state", of=SERVER_STATES, now=of.server_state)
    yield choice("sploot_breaker_state", "The circuit breaker.", "state", of=tuple(Mood), now=of.breaker)
    yield choice("sploot_push_channel", "How news of the server come.", "channel", of=PUSH, now=of.push)


def _one(name: str, about: str, value: float, **labels: str) -> Family:
    return gauge(name, about, [(labels, float(value))])


def _total(name: str, about: str, value: float) -> Family:
    return counter(name, about, [({}, float(value))])
