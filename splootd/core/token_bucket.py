"""Token bucket of the bandwidth limiter."""


class TokenBucket:
    """Allows at most `burst` + `rate` x t bytes in any time span t. The rate is in bytes per second.

    Times are monotonic seconds, passed as arguments. The bucket starts full.
    """

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._filled_at = now

    def __repr__(self) -> str:
        return f"TokenBucket({self._tokens:.0f} of {self.burst:.0f}, {self.rate:.0f}/s)"

    def take(self, amount: float, now: float) -> float:
        """Take `amount`, at most one burst, and return the seconds to wait before sending it.

        The balance may become negative: a caller reserves its place, so callers are served in order.
        """
        if amount > self.burst:
            raise ValueError(f"amount {amount} exceeds the burst of {self.burst}")
        self._tokens = min(self.burst, self._tokens + (now - self._filled_at) * self.rate) - amount
        self._filled_at = now
        return max(0.0, -self._tokens / self.rate)
