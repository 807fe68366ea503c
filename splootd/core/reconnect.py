"""Reconnect backoff of the push channel: five quick retries, then one every few minutes while polling takes over."""

DELAYS_S = (1.0, 2.0, 4.0, 8.0, 16.0)  # before the first, second, ... reconnect
SLOW_RETRY_S = 180.0
STABLE_AFTER_S = 30.0  # a connection that lasted this long resets the failure count
FAILURES_MAX = len(DELAYS_S) + 1
"""Consecutive failures after which only slow retries follow; also the count for a server without a push channel."""


def delay_s(failures: int, *, chance: float) -> float:
    """Return the seconds until the next reconnect after at least one consecutive failure, with 25 % jitter.

    `chance` is between 0 and 1 and is drawn by the caller.
    """
    base_s = DELAYS_S[failures - 1] if failures < FAILURES_MAX else SLOW_RETRY_S
    return base_s * (0.75 + chance / 2)


def next_failure_count(failures: int, *, connected_s: float) -> int:
    """Return the consecutive failures after a connection that lasted `connected_s`; 0 if it was never established."""
    return 1 if connected_s >= STABLE_AFTER_S else min(failures + 1, FAILURES_MAX)


def has_exhausted_retries(failures: int) -> bool:
    """Return True when only polling and slow retries remain."""
    return failures >= FAILURES_MAX
