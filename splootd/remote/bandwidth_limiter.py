"""Apply the configured bandwidth limit to uploads."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

from splootd.clock import Clock
from splootd.core.timetable import Timetable
from splootd.core.token_bucket import TokenBucket
from splootd.metrics.utilization import Utilization

BURST_S = 0.25  # the burst is what the rate allows in this time; it also sets how often a part is sent


class BandwidthLimiter:
    """One token bucket shared by all uploads. Without a limit it never waits."""

    def __init__(self, timetable: Timetable, clock: Clock) -> None:
        self.utilization = Utilization(clock)  # `throttled`: uploads that the limit delays
        self.throttled_s = 0.0
        self._timetable = timetable
        self._clock = clock
        self._bucket: TokenBucket | None = None

    def __repr__(self) -> str:
        return f"BandwidthLimiter({self._bucket or 'no limit'})"

    @property
    def rate(self) -> int | None:
        """The bytes per second allowed at this hour, None without a limit."""
        if not self._timetable.spans:
            return self._timetable.default
        now = datetime.fromtimestamp(self._clock.now()).astimezone()  # the timetable is in local time
        return self._timetable.rate_at(now.hour * 60 + now.minute)

    async def acquire(self, size: int) -> None:
        """Wait until `size` more bytes may be sent."""
        # The bucket is looked up again after each wait: the hour, and with it the rate, may have changed.
        while size > 0 and (bucket := self._get_current_bucket()):
            share = min(size, int(bucket.burst))
            size -= share
            if wait_s := bucket.take(share, self._clock.monotonic()):
                with self.utilization.track("throttled"):
                    await asyncio.sleep(wait_s)
                self.throttled_s += wait_s

    async def iter_throttled(self, piece: bytes) -> AsyncIterator[bytes]:
        """Iterate over the parts of `piece`, each one as soon as it may be sent."""
        bucket = self._get_current_bucket()
        step = int(bucket.burst) if bucket else len(piece)
        for start in range(0, len(piece), step):
            part = piece[start : start + step]
            await self.acquire(len(part))
            yield part

    def _get_current_bucket(self) -> TokenBucket | None:
        """Return the bucket for the rate of this hour."""
        rate = self.rate
        if rate is None:
            self._bucket = None
        elif self._bucket is None or self._bucket.rate != rate:
            self._bucket = TokenBucket(rate, BURST_S * rate, self._clock.monotonic())
        return self._bucket
