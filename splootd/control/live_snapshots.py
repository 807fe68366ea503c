"""Snapshot sources of the event stream: the status and the metrics report."""

from collections.abc import Awaitable, Callable, Mapping

from splootd.codec import encode
from splootd.control import metrics, serializers
from splootd.control.context import Context
from splootd.control.event_stream import STATUS_EVENT, Snapshot, SnapshotSource, status_snapshot
from splootd.protocol import GetEvents, Rates, Status

METRICS_EVENT = "metrics"


def build_snapshot_sources(
    context: Context, request: GetEvents, get_status: Callable[[], Awaitable[Status]]
) -> Mapping[str, SnapshotSource]:
    """Return the snapshot sources that `request` subscribes to, by event name."""

    async def status() -> Snapshot:
        return status_snapshot(await get_status())

    async def report() -> Snapshot:
        at, collector = serializers.format_iso(context.clock.now()), context.metrics
        rates = encode(Rates(collector.items_per_s, collector.bytes_per_s, None))
        return Snapshot({"at": at, "rates": rates, **encode(metrics.build_report(context))}, at)

    sources: dict[str, SnapshotSource] = {}
    if request.status:
        sources[STATUS_EVENT] = status
    if request.metrics:
        sources[METRICS_EVENT] = report
    return sources
