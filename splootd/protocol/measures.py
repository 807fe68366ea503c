"""News, and what is measured."""

from dataclasses import dataclass
from typing import ClassVar

from splootd.protocol.request import Request


@dataclass(frozen=True, slots=True)
class GetEvents(Request):
    """News as server-sent events, from the event after `since` on, or from now on.

    Of all, or what lies below `folder`, or one `item`. `now` adds the status as it changes, `numbers` the report.
    """

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/events"
    since: int | None = None
    folder: str | None = None
    item: int | None = None
    now: bool = False
    numbers: bool = False


@dataclass(frozen=True, slots=True)
class GetMetrics(Request):
    """What is measured, as Prometheus reads it: the one answer that is text."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/metrics"


@dataclass(frozen=True, slots=True)
class GetReport(Request):
    """What is measured, for people and scripts."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/report"


@dataclass(frozen=True, slots=True)
class CallRow:
    """All calls of one kind to the server since the start. Quantiles are at most a tenth too large."""

    call: str
    count: int
    errors: int
    outcomes: dict[str, int]  # ok, or a fault
    p50_s: float
    p95_s: float
    p99_s: float
    total_s: float
    buckets: dict[str, int] | None = None  # how many took at most so many seconds, from 0.01 to 10


@dataclass(frozen=True, slots=True)
class UploadRow:
    """One upload that has ended. `sent_bytes` is less than `size` when it did not get through."""

    path: str
    started_at: str
    size: int
    sent_bytes: int
    pieces: int
    retries: int
    took_s: float
    bytes_per_s: float


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """Resident memory: now, and over the last five minutes."""

    now_bytes: int
    peak_bytes: int
    average_bytes: int


@dataclass(frozen=True, slots=True)
class Report:
    """What is measured. `uploads` are the last ones, newest first; `errors` count by fault."""

    uploads: tuple[UploadRow, ...]
    calls: tuple[CallRow, ...]
    memory: MemoryRow
    errors: dict[str, int]
    urgent_wait: dict[str, float]  # count, p50_s, p95_s, p99_s
    embedding: dict[str, float]  # the same


@dataclass(frozen=True, slots=True)
class WhySlow(Request):
    """What holds everything up now."""

    method: ClassVar[str] = "GET"
    path: ClassVar[str] = "/v1/slow"


@dataclass(frozen=True, slots=True)
class Slow:
    """What holds everything up now, what helps, and the numbers that led there."""

    cause: str
    because: str
    helps: str
    numbers: dict[str, float]
