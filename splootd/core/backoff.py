"""Retry delays with exponential backoff and full jitter, and the attempt limit of each priority."""

from collections.abc import Mapping

from splootd.core.item import Priority
from splootd.core.retry_policy import BackoffClass

BASE_DELAY_S = 1.0
DELAY_MAX_S = 60.0
DOUBLINGS_MAX = 10  # each limit applies long before; this bounds the size of the power

BACKOFF_FACTOR: Mapping[BackoffClass, int] = {
    BackoffClass.RATE_LIMIT: 5,
    BackoffClass.NETWORK: 2,
    BackoffClass.SERVER: 3,
}
ATTEMPTS_MAX: Mapping[Priority, int] = {Priority.URGENT: 10, Priority.NORMAL: 5, Priority.BACKGROUND: 3}


def doubled_s(base_s: float, doublings: int, max_s: float) -> float:
    """Return `base_s` doubled so many times, at most `max_s`."""
    return min(max_s, base_s * (1 << min(doublings, DOUBLINGS_MAX)))


def delay_s(*, attempts: int, backoff_class: BackoffClass, chance: float) -> float:
    """Return the seconds until the next attempt: full jitter on 1 s x 2^attempts x factor, at most 60 s.

    `attempts` counts the failed attempts. `chance` is between 0 and 1 and is drawn by the caller, so the function is
    pure. Full jitter, because equal delays would send all files of a failed batch back in the same instant.
    """
    return doubled_s(BASE_DELAY_S * BACKOFF_FACTOR[backoff_class], attempts, DELAY_MAX_S) * chance


def has_exhausted_attempts(*, attempts: int, priority: Priority) -> bool:
    """Return True when an item of this priority has reached its attempt limit."""
    return attempts >= ATTEMPTS_MAX[priority]
