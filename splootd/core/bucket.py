"""The token bucket: how long bytes must wait so that a rate is never exceeded for longer than a burst."""


class Bucket:
    """At most `burst` + `rate` x t leave it in any time t. Amounts are bytes, the rate bytes per second.

    Times are monotonic seconds and arguments. It starts full.
    """

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._left = burst
        self._filled_at = now

    def __repr__(self) -> str:
        return f"Bucket({self._left:.0f} of {self.burst:.0f}, {self.rate:.0f}/s)"

    def take(self, amount: float, now: float) -> float:
        """Take `amount`, at most a burst, and return after how many seconds it may go. Callers are served in turn."""
        if amount > self.burst:
            raise ValueError(f"{amount} at once from a bucket of {self.burst}")
        self._left = min(self.burst, self._left + (now - self._filled_at) * self.rate) - amount
        self._filled_at = now
        return max(0.0, -self._left / self.rate)
