"""Keeps the sending below the limit that the user has set for this hour."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

from splootd.clock import Clock
from splootd.core.bucket import Bucket
from splootd.core.timetable import Timetable
from splootd.metrics.load import Load

BURST_S = 0.25  # of the rate: so much may go at once, and so often something goes


class Throttle:
    """One for all uploads. Where no limit is set, it lets everything pass."""

    def __init__(self, limits: Timetable, clock: Clock) -> None:
        self.load = Load(clock)  # `held`: uploads that wait for the limit
        self.held_s = 0.0
        self._limits = limits
        self._clock = clock
        self._bucket: Bucket | None = None

    def __repr__(self) -> str:
        return f"Throttle({self._bucket or 'no limit'})"

    @property
    def rate(self) -> int | None:
        """Bytes per second that are allowed at this hour, None for any number."""
        now = datetime.fromtimestamp(self._clock.now()).astimezone()  # hours as the user's own clock shows them
        return self._limits.at(now.hour * 60 + now.minute)

    async def passed(self, amount: int) -> None:
        """Return when `amount` more bytes may go."""
        while amount > 0 and (bucket := self._turned()):
            share = min(amount, int(bucket.burst))
            amount -= share
            if wait_s := bucket.take(share, self._clock.monotonic()):
                with self.load.at("held"):
                    await asyncio.sleep(wait_s)
                self.held_s += wait_s

    async def parts(self, piece: bytes) -> AsyncIterator[bytes]:
        """`piece`, each part of it as soon as it may go."""
        bucket = self._turned()
        step = int(bucket.burst) if bucket else len(piece)
        for start in range(0, len(piece), step):
            part = piece[start : start + step]
            await self.passed(len(part))
            yield part

    def _turned(self) -> Bucket | None:
        """The bucket of this hour."""
        rate = self.rate
        if rate is None:
            self._bucket = None
        elif self._bucket is None or self._bucket.rate != rate:
            self._bucket = Bucket(rate, BURST_S * rate, self._clock.monotonic())
        return self._bucket
