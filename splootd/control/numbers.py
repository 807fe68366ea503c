"""What is measured, gathered for whoever asks: Prometheus, a person, or the question why it is slow."""

import asyncio
import os
import sqlite3
from collections import Counter

from splootd import __version__, protocol
from splootd.bus import Bell
from splootd.clock import Clock
from splootd.control.parts import Parts
from splootd.control.status import folder_rows, rss_bytes, server_status
from splootd.control.views import iso
from splootd.core.bottleneck import Measures, bottleneck
from splootd.core.item import State
from splootd.metrics.calls import Call
from splootd.metrics.exposition import SHOWN_S, text
from splootd.metrics.families import Measured, families
from splootd.metrics.histogram import Histogram
from splootd.metrics.memory import SAMPLE_INTERVAL_S, Memory
from splootd.metrics.traffic import Transfer


class Sampler:
    """Looks at the memory in use every SAMPLE_INTERVAL_S, or when nothing happens, at each beat."""

    def __init__(self, memory: Memory, clock: Clock, news: Bell) -> None:
        self._memory = memory
        self._clock = clock
        self._news = news

    async def run(self) -> None:
        while True:
            ticket = self._news.ticket()
            self._memory.observe(rss_bytes(), self._clock.monotonic())
            if await self._news.wait(ticket, self._clock.idle_s()):
                await asyncio.sleep(SAMPLE_INTERVAL_S)


async def metrics(parts: Parts, started_at: float) -> str:
    """Everything, as Prometheus reads it."""
    counts, folders, server = await parts.listing.counts(), await folder_rows(parts), server_status(parts)
    return text(
        families(
            Measured(
                version=__version__,
                sqlite=sqlite3.sqlite_version,
                started_at=started_at,
                now=parts.clock.monotonic(),
                rss_bytes=rss_bytes(),
                memory=parts.memory,
                traffic=parts.traffic,
                calls=parts.server.calls,
                items=counts.by_state_and_priority,
                delayed=counts.delayed,
                duplicates=counts.duplicates,
                paused=parts.gate.paused,
                server_state=server.state,
                breaker=server.breaker,
                push=server.push,
                folders=Counter(folder.state for folder in folders),
                throttled_s=parts.server.throttle.held_s,
                lanes=parts.backlog.lanes,
                lanes_max=parts.backlog.lanes_max,
            )
        )
    )


def report(parts: Parts) -> protocol.Report:
    """What a person wants to know of it."""
    now, rss, traffic = parts.clock.monotonic(), rss_bytes(), parts.traffic
    return protocol.Report(
        uploads=tuple(_upload(each) for each in reversed(traffic.ended)),
        calls=tuple(_call(name, call) for name, call in sorted(parts.server.calls.by_name.items())),
        memory=protocol.MemoryRow(
            now_bytes=rss,
            peak_bytes=max(rss, parts.memory.peak_bytes(now)),
            average_bytes=parts.memory.average_bytes(now) or rss,
        ),
        errors={str(fault): count for fault, count in sorted(traffic.faults.items())},
        urgent_wait=_quantiles(traffic.waits.seconds),
        embedding=_quantiles(traffic.embedding_s),
    )


async def slow(parts: Parts) -> protocol.Slow:
    """The bottleneck, as the measurements of this moment show it."""
    counts, due = await parts.listing.counts(), await parts.queue.next_due()
    gate, traffic, server, now = parts.gate, parts.traffic, parts.server, parts.clock.now()
    found = bottleneck(
        Measures(
            pending=counts.by_state[State.PENDING],
            delayed=counts.delayed,
            uploading=counts.by_state[State.UPLOADING],
            embedding=counts.by_state[State.EMBEDDING],
            paused=gate.paused,
            held_for=gate.held_for,
            embedded=parts.config.is_local,
            server_state=gate.state,
            server_detail=gate.detail or "",
            retry_in_s=None if gate.retry_at is None else max(0.0, gate.retry_at - now),
            delayed_until_s=None if due is None else due - now,
            lanes=parts.backlog.lanes,
            lanes_max=parts.backlog.lanes_max,
            sending_hands=traffic.load.hands("sending"),
            held_hands=server.throttle.load.hands("held"),
            reading_hands=traffic.load.hands("reading"),
            writing_hands=traffic.load.hands("writing"),
            check_s=server.calls.typical_s("check") or server.calls.typical_s("check_batch"),
            upload_s=server.calls.typical_s("upload") or server.calls.typical_s("upload_bundle"),
            embedding_p50_s=traffic.embedding_s.quantile(0.5),
            items_per_s=traffic.items_per_s,
            bytes_per_s=traffic.bytes_per_s,
            limit_bytes_per_s=server.throttle.rate,
        )
    )
    return protocol.Slow(found.cause, found.because, found.helps, dict(found.numbers))


def _upload(of: Transfer) -> protocol.UploadRow:
    return protocol.UploadRow(
        path=os.fsdecode(of.path),
        started_at=iso(of.started_at),
        size=of.size,
        sent_bytes=of.carried,
        pieces=of.pieces,
        retries=of.retries,
        took_s=of.took_s,
        bytes_per_s=of.bytes_per_s,
    )


def _call(name: str, call: Call) -> protocol.CallRow:
    seconds = call.seconds
    return protocol.CallRow(
        call=name,
        count=seconds.count,
        errors=call.errors,
        outcomes=dict(call.outcomes),
        p50_s=seconds.quantile(0.5),
        p95_s=seconds.quantile(0.95),
        p99_s=seconds.quantile(0.99),
        total_s=seconds.sum,
        buckets=dict(zip(map(str, SHOWN_S), seconds.at_most(SHOWN_S), strict=True)),
    )


def _quantiles(of: Histogram) -> dict[str, float]:
    shares = {"p50_s": 0.5, "p95_s": 0.95, "p99_s": 0.99}
    return {"count": of.count, **{name: of.quantile(share) for name, share in shares.items()}}
