"""Figures that move, for those who watch them: where everything stands, and what is measured."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from splootd.control import numbers, views
from splootd.control.parts import Parts
from splootd.control.stream import Figures, Look
from splootd.protocol import GetEvents, Rates, Status
from splootd.wire import encode


def figures(parts: Parts, request: GetEvents, status: Callable[[], Awaitable[Status]]) -> Mapping[str, Figures]:
    """What `request` wants to see, by the name of its events."""

    async def now() -> Look:
        found = await status()
        # The age and the memory of a daemon change all the time, and tell nobody that anything has happened.
        return Look(encode(found), replace(found, daemon=replace(found.daemon, uptime_s=0.0, rss_bytes=0)))

    async def measured() -> Look:
        at, traffic = views.iso(parts.clock.now()), parts.traffic
        rates = encode(Rates(traffic.items_per_s, traffic.bytes_per_s, None))
        return Look({"at": at, "rates": rates, **encode(numbers.report(parts))}, at)

    wanted: dict[str, Figures] = {}
    if request.now:
        wanted["now"] = now
    if request.numbers:
        wanted["numbers"] = measured
    return wanted
