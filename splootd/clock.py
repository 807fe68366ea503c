"""The two times there are: the wall clock for what is stored, the loop's own time for what is waited for."""

import asyncio
import time


class Clock:
    """Read time through this, so that a test can let a day pass in a moment."""

    def now(self) -> float:
        """Seconds since the epoch, UTC. May jump when the system's clock is set."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds on the running loop's clock. Never jumps, means nothing after a restart."""
        return asyncio.get_running_loop().time()
