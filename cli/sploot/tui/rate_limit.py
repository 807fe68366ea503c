"""Limits how often the UI queries the daemon."""

import asyncio
from collections.abc import Awaitable, Callable

TIME_SHARE_MAX = 0.1  # of the time that one kind of request may take, however slow each is


class RateLimit:
    """Runs `work` after `trigger`, one run at a time and at most one in `interval_min_s`."""

    def __init__(self, work: Callable[[], Awaitable[None]], interval_min_s: float) -> None:
        self._work = work
        self._interval_min_s = interval_min_s
        self._triggered = asyncio.Event()

    def trigger(self) -> None:
        self._triggered.set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._triggered.wait()
            self._triggered.clear()
            began_at = loop.time()
            await self._work()
            await asyncio.sleep(cooldown_s(loop.time() - began_at, self._interval_min_s))


def cooldown_s(duration_s: float, interval_min_s: float) -> float:
    """Return the pause after a request that took `duration_s`."""
    return max(interval_min_s, duration_s / TIME_SHARE_MAX)
