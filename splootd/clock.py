"""The two times there are: the wall clock for what is stored, the loop's own time for what is waited for."""

import asyncio
import time

BEAT_S = 60.0


class Clock:
    """Read time through this, so that a test can let a day pass in a moment."""

    def now(self) -> float:
        """Seconds since the epoch, UTC. May jump when the system's clock is set."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds on the running loop's clock. Never jumps, means nothing after a restart."""
        return asyncio.get_running_loop().time()

    def idle_s(self) -> float:
        """Until the next beat: whoever has nothing to do looks up then, all at once, so that a core is woken once."""
        return BEAT_S - self.monotonic() % BEAT_S
