"""Diagnosis of the current bottleneck from measurements.

A known blocker (pause, sign-in, rate limit, outage) comes first. Otherwise work piles up in front of the slowest step.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from splootd.core.adaptive_concurrency import BACKLOG_THRESHOLD

BUSY_SHARE = 0.7  # share of busy connections from which the connections are the bottleneck
THROTTLED_SHARE = 0.5  # share of the upload time spent waiting for the bandwidth limit
LATENCY_SHARE = 0.3  # share of a file's time spent on a request without content
BUSY_WORKERS_MIN = 0.5  # fewer busy workers than this are not significant


class Bottleneck(enum.StrEnum):
    """Code of the diagnosis, as `sploot why --slow --json` prints it."""

    DISK_FULL = "disk_full"  # of the queue
    NOTHING_TO_DO = "nothing_to_do"
    PAUSED = "paused"
    METERED = "metered"
    SIGNED_OUT = "signed_out"
    RATE_LIMITED = "rate_limited"
    SILENT = "silent"  # the server accepts requests, and responds to none
    DEGRADED = "degraded"  # the server answers, and fails on uploads
    EMBEDDINGS_FAIL = "embeddings_fail"  # the server stores files, and makes none of them searchable
    LIBRARY_FULL = "library_full"  # the server has no room for more files
    STARTING = "starting"  # the local server
    UNREACHABLE = "unreachable"  # the circuit breaker is open, or the local server does not run
    DELAYED = "delayed"
    EMBEDDING = "embedding"
    BANDWIDTH_LIMIT = "bandwidth_limit"
    SERVER_LATENCY = "server_latency"
    SENDING = "sending"
    READING = "reading"
    STORE = "store"
    NOT_SLOW = "not_slow"


@dataclass(frozen=True, slots=True)
class Measurements:
    """Input of the diagnosis. Durations are seconds; `*_workers` are averages over the last few seconds."""

    pending: int = 0
    delayed: int = 0  # among the pending ones
    uploading: int = 0
    embedding: int = 0
    is_paused: bool = False
    full_disk: tuple[str, str] | None = None  # while the disk of the queue is full: a sentence and a command
    suspend_reason: str | None = None  # set while uploads are suspended although the server is healthy
    is_local: bool = False  # the server is the local server
    server_state: str = "ok"  # as `sploot status` reports it
    server_detail: str = ""
    retry_in_s: float | None = None
    delayed_until_s: float | None = None  # seconds from now until the first delayed item is due
    concurrency: int = 3
    concurrency_max: int = 3
    sending_workers: float = 0.0
    throttled_workers: float = 0.0  # among the sending ones, waiting for the bandwidth limit
    reading_workers: float = 0.0
    writing_workers: float = 0.0
    check_s: float = 0.0
    upload_s: float = 0.0
    embedding_p50_s: float = 0.0
    items_per_s: float = 0.0
    bytes_per_s: float = 0.0
    limit_bytes_per_s: int | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Bottleneck with its cause in words, a suggestion, and the numbers behind it."""

    code: Bottleneck
    cause: str
    suggestion: str
    numbers: Mapping[str, float] = field(default_factory=dict)


def find_bottleneck(measured: Measurements) -> Diagnosis:
    """Return the current bottleneck."""
    if measured.full_disk is not None:
        return Diagnosis(Bottleneck.DISK_FULL, *measured.full_disk, {"pending": measured.pending})
    if not measured.pending + measured.uploading + measured.embedding:
        return Diagnosis(Bottleneck.NOTHING_TO_DO, "the queue is empty: all files are processed", "sploot add PATH")
    return _diagnose_blocked(measured) or _diagnose_backlog(measured) or _diagnose_busiest(measured)


def _diagnose_blocked(measured: Measurements) -> Diagnosis | None:
    """Return the blocker that stops all uploads, if any."""
    numbers: dict[str, float] = {"pending": measured.pending, "embedding": measured.embedding}
    is_sending = measured.pending + measured.uploading > 0
    if measured.is_paused and is_sending:
        return Diagnosis(
            Bottleneck.PAUSED,
            f"uploads are paused; {_format_files(measured.pending)} waiting",
            "sploot resume",
            numbers,
        )
    if measured.retry_in_s is not None:
        numbers["retry_in_s"] = measured.retry_in_s
    retry_text = f"; next attempt in {measured.retry_in_s:.0f} s" if measured.retry_in_s is not None else ""
    detail = f" ({measured.server_detail})" if measured.server_detail else ""
    match measured.server_state:
        case "signed_out":
            return Diagnosis(Bottleneck.SIGNED_OUT, f"signed out{detail}", "sploot login", numbers)
        case "rate_limited":
            cause = f"rate-limited by the server{detail}{retry_text}"
            return Diagnosis(Bottleneck.RATE_LIMITED, cause, "none needed: uploads resume automatically", numbers)
        case "silent":
            cause = f"the server accepts requests but does not respond{detail}"
            return Diagnosis(Bottleneck.SILENT, cause, "check the server, or what is between here and it", numbers)
        case "degraded":
            cause = f"the server fails on some files{detail}{retry_text}"
            return Diagnosis(Bottleneck.DEGRADED, cause, "list them: sploot list --state pending", numbers)
        case "embeddings_fail":
            cause = f"uploads wait for the server{detail}{retry_text}"
            suggestion = "check the server's embedding service; to upload anyway: sploot resume"
            return Diagnosis(Bottleneck.EMBEDDINGS_FAIL, cause, suggestion, numbers)
        case "full":
            suggestion = "delete files in the library, or ask its operator for room; to try at once: sploot resume"
            return Diagnosis(Bottleneck.LIBRARY_FULL, f"uploads wait{detail}{retry_text}", suggestion, numbers)
        case "starting":
            suggestion = "wait a few seconds; if it does not start: sploot logs"
            return Diagnosis(Bottleneck.STARTING, "the local server is starting", suggestion, numbers)
        case "unreachable":
            cause = f"the server cannot be reached or fails{detail}{retry_text}"
            suggestion = (
                "wait; if it does not recover: sploot logs"
                if measured.is_local
                else "check that the server is running and that its URL is correct: sploot config get server"
            )
            return Diagnosis(Bottleneck.UNREACHABLE, cause, suggestion, numbers)
    if measured.suspend_reason is not None and is_sending:
        suggestion = "use another network, or: sploot config set on_metered_network send"
        return Diagnosis(Bottleneck.METERED, f"uploads are suspended: {measured.suspend_reason}", suggestion, numbers)
    return None


def _diagnose_backlog(measured: Measurements) -> Diagnosis | None:
    """Return the step after or before the upload where work piles up, if any."""
    sending = measured.pending + measured.uploading
    if measured.embedding >= BACKLOG_THRESHOLD or not sending:
        numbers: dict[str, float] = {"embedding": measured.embedding, "embedding_p50_s": measured.embedding_p50_s}
        cause = f"the library is still processing {_format_files(measured.embedding)}"
        if measured.embedding_p50_s:
            cause += f", {measured.embedding_p50_s:.1f} s for a typical file including its time in the queue"
        if measured.concurrency < measured.concurrency_max:
            numbers |= {"concurrency": measured.concurrency, "concurrency_max": measured.concurrency_max}
            cause += f"; uploads are reduced to {measured.concurrency} of {measured.concurrency_max} connections"
        return Diagnosis(Bottleneck.EMBEDDING, cause, "wait, or run the library on a faster machine", numbers)
    if measured.delayed == sending:
        numbers = {"delayed": measured.delayed}
        first = ""
        if measured.delayed_until_s is not None:
            numbers["delayed_until_s"] = measured.delayed_until_s
            first = f", the first in {max(0.0, measured.delayed_until_s):.0f} s"
        cause = f"the remaining {_format_files(measured.delayed)} are scheduled for later{first}"
        if measured.delayed == 1:
            cause = f"the remaining file is scheduled for later{first}"
        return Diagnosis(Bottleneck.DELAYED, cause, "move one to the front: sploot bump PATH", numbers)
    return None


def _diagnose_busiest(measured: Measurements) -> Diagnosis:
    """Return the step whose workers are busiest."""
    if measured.sending_workers >= BUSY_SHARE * measured.concurrency:
        return _diagnose_sending(measured)
    numbers = {
        "sending_workers": measured.sending_workers,
        "reading_workers": measured.reading_workers,
        "writing_workers": measured.writing_workers,
        "items_per_s": measured.items_per_s,
    }
    idle = f"the connections are idle {1 - min(1.0, measured.sending_workers / measured.concurrency):.0%} of the time"
    if max(measured.reading_workers, measured.writing_workers) < BUSY_WORKERS_MIN:
        cause = f"no bottleneck found: {measured.items_per_s:.1f} files/s, and {idle}"
        return Diagnosis(Bottleneck.NOT_SLOW, cause, "if it stays slow: sploot logs --level warning", numbers)
    if measured.reading_workers >= measured.writing_workers:
        cause = (
            f"reading files is the slowest step: {measured.reading_workers:.1f} workers wait for the disk, and {idle}"
        )
        return Diagnosis(Bottleneck.READING, cause, "use a faster disk, or reduce other load on this one", numbers)
    cause = (
        f"writing results to the database is the slowest step: {measured.writing_workers:.1f} workers wait for it,"
        f" and {idle}"
    )
    return Diagnosis(Bottleneck.STORE, cause, "move Sploot's state to a faster disk (SPLOOT_HOME)", numbers)


def _diagnose_sending(measured: Measurements) -> Diagnosis:
    numbers = {
        "sending_workers": measured.sending_workers,
        "concurrency": measured.concurrency,
        "bytes_per_s": measured.bytes_per_s,
    }
    if (
        measured.limit_bytes_per_s is not None
        and measured.throttled_workers >= THROTTLED_SHARE * measured.sending_workers
    ):
        numbers |= {"limit_bytes_per_s": measured.limit_bytes_per_s, "throttled_workers": measured.throttled_workers}
        cause = f"the bandwidth limit of {measured.limit_bytes_per_s / 1000:,.0f} kB/s slows uploads most of the time"
        suggestion = "raise the limit: sploot config set bandwidth_limit 5M"
        return Diagnosis(Bottleneck.BANDWIDTH_LIMIT, cause, suggestion, numbers)
    numbers |= {"check_s": measured.check_s, "upload_s": measured.upload_s}
    if measured.check_s >= LATENCY_SHARE * (measured.check_s + measured.upload_s):
        cause = (
            f"the server's response time: {measured.check_s * 1000:,.0f} ms even for a request without content, over"
            f" {measured.concurrency} connections"
        )
        return Diagnosis(Bottleneck.SERVER_LATENCY, cause, "use a server that is closer or less busy", numbers)
    cause = (
        f"the upload itself: {measured.bytes_per_s / 1000:,.0f} kB/s over {measured.concurrency} connections,"
        f" {measured.upload_s:.1f} s for a typical file; a request without content takes"
        f" {measured.check_s * 1000:,.0f} ms"
    )
    return Diagnosis(Bottleneck.SENDING, cause, "use a faster network connection, or a faster server", numbers)


def _format_files(number: int) -> str:
    return "1 file" if number == 1 else f"{number:,} files"
