"""Injectable clock: wall-clock time for stored values, monotonic time for delays."""

import asyncio
import time

IDLE_WAKE_S = 60.0


class Clock:
    """Source of time. Tests replace it to let a day pass in a moment."""

    def now(self) -> float:
        """Return the seconds since the epoch, UTC. May jump when the system clock is set."""
        return time.time()

    def monotonic(self) -> float:
        """Return the seconds of the running loop's clock. Never jumps, but is meaningless after a restart."""
        return asyncio.get_running_loop().time()

    def next_idle_wake_s(self) -> float:
        """Return the seconds until the next idle wake-up.

        All idle workers wake up at the same multiples of IDLE_WAKE_S, so that an idle daemon wakes a core only once.
        """
        return IDLE_WAKE_S - self.monotonic() % IDLE_WAKE_S
