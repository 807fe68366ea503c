"""Messages about metrics, the report and the bottleneck."""

from dataclasses import dataclass
from typing import ClassVar

from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class GetMetrics(Request):
    """Return all metrics in the Prometheus text format, the only reply that is not JSON."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/metrics"


@dataclass(frozen=True, slots=True)
class GetReport(Request):
    """Return the metrics for people and scripts."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/report"


@dataclass(frozen=True, slots=True)
class CallRow:
    """All requests to one endpoint of the server since the start. Quantiles are at most 10 % too large."""

    endpoint: str
    count: int
    errors: int
    outcomes: dict[str, int]  # by `ok` or error code
    p50_s: float
    p95_s: float
    p99_s: float
    total_s: float
    buckets: dict[str, int] | None = None  # cumulative counts by upper bound in seconds, 0.01 to 10


@dataclass(frozen=True, slots=True)
class UploadRow:
    """One completed upload. `sent_bytes` is less than `size` when it failed or was resumed."""

    path: str
    started_at: str
    size: int
    sent_bytes: int
    chunks: int
    retries: int
    took_s: float
    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """Resident memory now, and its peak and average over the last five minutes."""

    now_bytes: int
    peak_bytes: int
    average_bytes: int


@dataclass(frozen=True, slots=True)
class Report:
    """Metrics for people. `uploads` are the last ones, newest first; `errors` counts by error code."""

    uploads: tuple[UploadRow, ...]
    calls: tuple[CallRow, ...]
    memory: MemoryRow
    errors: dict[str, int]
    urgent_queue_latency: dict[str, float]  # count, p50_s, p95_s, p99_s
    embedding: dict[str, float]  # the same keys


@dataclass(frozen=True, slots=True)
class GetBottleneck(Request):
    """Return the current bottleneck."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/slow"


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """Current bottleneck with its cause, a suggestion, and the numbers behind it."""

    code: str
    cause: str
    suggestion: str
    numbers: dict[str, float]
