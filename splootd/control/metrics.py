"""Collects the metrics for Prometheus, for the report and for the bottleneck diagnosis; samples the memory."""

import asyncio
import os
import sqlite3
from collections import Counter

from splootd import __version__, protocol
from splootd.clock import Clock
from splootd.control.context import Context
from splootd.control.disk_space import find_full_disk
from splootd.control.serializers import format_iso
from splootd.control.status import folder_rows, get_rss_bytes, get_server_status
from splootd.core.bottleneck import Measurements, find_bottleneck
from splootd.core.item import State
from splootd.event_bus import WakeSignal
from splootd.metrics.api_calls import CallStats
from splootd.metrics.collector import Transfer
from splootd.metrics.exposition import BUCKET_BOUNDS_S, render_text
from splootd.metrics.families import MetricsSnapshot, build_families
from splootd.metrics.histogram import Histogram
from splootd.metrics.rss import SAMPLE_INTERVAL_S, RssSamples


class RssSampler:
    """Samples the resident memory every SAMPLE_INTERVAL_S, or at each idle wake-up when nothing happens."""

    def __init__(self, memory: RssSamples, clock: Clock, wake_signal: WakeSignal) -> None:
        self._memory = memory
        self._clock = clock
        self._wake_signal = wake_signal

    async def run(self) -> None:
        while True:
            signal_snapshot = self._wake_signal.snapshot()
            self._memory.observe(get_rss_bytes(), self._clock.monotonic())
            if await self._wake_signal.wait(signal_snapshot, self._clock.next_idle_wake_s()):
                await asyncio.sleep(SAMPLE_INTERVAL_S)


async def render_metrics(context: Context, started_at: float) -> str:
    """Render all metrics in the Prometheus text format."""
    counts, folders, server = (
        await context.read_queries.counts(),
        await folder_rows(context),
        get_server_status(context),
    )
    return render_text(
        build_families(
            MetricsSnapshot(
                version=__version__,
                sqlite=sqlite3.sqlite_version,
                started_at=started_at,
                now=context.clock.monotonic(),
                rss_bytes=get_rss_bytes(),
                rss=context.rss,
                metrics=context.metrics,
                calls=context.client.calls,
                items=counts.by_state_and_priority,
                delayed=counts.delayed,
                duplicates=counts.duplicates,
                is_paused=context.admission.is_paused,
                server_state=server.state,
                breaker=server.breaker,
                push=server.push,
                folders=Counter(folder.state for folder in folders),
                throttled_s=context.client.bandwidth_limiter.throttled_s,
                concurrency=context.adaptive_concurrency.concurrency,
                concurrency_max=context.adaptive_concurrency.concurrency_max,
            )
        )
    )


def build_report(context: Context) -> protocol.Report:
    """Build the metrics report for people."""
    now, rss, metrics = context.clock.monotonic(), get_rss_bytes(), context.metrics
    return protocol.Report(
        uploads=tuple(_upload_row(each) for each in reversed(metrics.completed)),
        calls=tuple(_call_row(endpoint, call) for endpoint, call in sorted(context.client.calls.by_endpoint.items())),
        memory=protocol.MemoryRow(
            now_bytes=rss,
            peak_bytes=max(rss, context.rss.peak_bytes(now)),
            average_bytes=context.rss.average_bytes(now) or rss,
        ),
        errors={str(code): count for code, count in sorted(metrics.errors.items())},
        urgent_queue_latency=_quantiles(metrics.urgent_latency.seconds),
        embedding=_quantiles(metrics.embedding_s),
    )


async def build_bottleneck(context: Context) -> protocol.Bottleneck:
    """Diagnose the current bottleneck."""
    counts, due = await context.read_queries.counts(), await context.queue.next_due()
    full = await find_full_disk(context)
    admission, metrics, client, now = context.admission, context.metrics, context.client, context.clock.now()
    server = get_server_status(context)
    diagnosis = find_bottleneck(
        Measurements(
            pending=counts.by_state[State.PENDING],
            delayed=counts.delayed,
            uploading=counts.by_state[State.UPLOADING],
            embedding=counts.by_state[State.EMBEDDING],
            is_paused=admission.is_paused,
            full_disk=(full.what, full.command) if full else None,
            suspend_reason=admission.suspend_reason,
            is_local=context.config.is_local,
            server_state=server.state,
            server_detail=server.detail or "",
            retry_in_s=None if admission.retry_at is None else max(0.0, admission.retry_at - now),
            delayed_until_s=None if due is None else due - now,
            concurrency=context.adaptive_concurrency.concurrency,
            concurrency_max=context.adaptive_concurrency.concurrency_max,
            sending_workers=metrics.utilization.average("sending"),
            throttled_workers=client.bandwidth_limiter.utilization.average("throttled"),
            reading_workers=metrics.utilization.average("reading"),
            writing_workers=metrics.utilization.average("writing"),
            check_s=client.calls.recent_median_s("check") or client.calls.recent_median_s("check_batch"),
            upload_s=client.calls.recent_median_s("upload") or client.calls.recent_median_s("upload_bundle"),
            embedding_p50_s=metrics.embedding_s.quantile(0.5),
            items_per_s=metrics.items_per_s,
            bytes_per_s=metrics.bytes_per_s,
            limit_bytes_per_s=client.bandwidth_limiter.rate,
        )
    )
    return protocol.Bottleneck(diagnosis.code, diagnosis.cause, diagnosis.suggestion, dict(diagnosis.numbers))


def _upload_row(transfer: Transfer) -> protocol.UploadRow:
    return protocol.UploadRow(
        path=os.fsdecode(transfer.path),
        started_at=format_iso(transfer.started_at),
        size=transfer.size,
        sent_bytes=transfer.sent_bytes,
        chunks=transfer.chunks,
        retries=transfer.retries,
        took_s=transfer.took_s,
        bytes_per_s=transfer.bytes_per_s,
    )


def _call_row(endpoint: str, call: CallStats) -> protocol.CallRow:
    seconds = call.seconds
    return protocol.CallRow(
        endpoint=endpoint,
        count=seconds.count,
        errors=call.errors,
        outcomes=dict(call.outcomes),
        p50_s=seconds.quantile(0.5),
        p95_s=seconds.quantile(0.95),
        p99_s=seconds.quantile(0.99),
        total_s=seconds.sum,
        buckets=dict(zip(map(str, BUCKET_BOUNDS_S), seconds.cumulative_counts(BUCKET_BOUNDS_S), strict=True)),
    )


def _quantiles(histogram: Histogram) -> dict[str, float]:
    shares = {"p50_s": 0.5, "p95_s": 0.95, "p99_s": 0.99}
    return {"count": histogram.count, **{name: histogram.quantile(share) for name, share in shares.items()}}
