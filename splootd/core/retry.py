"""When a failed item is tried again, and when it has been tried often enough."""

from collections.abc import Mapping

from splootd.core.failure import Trouble
from splootd.core.item import Priority

DELAY_S = 1.0
DELAY_MAX_S = 60.0

FACTOR: Mapping[Trouble, int] = {Trouble.RATE_LIMIT: 5, Trouble.NETWORK: 2, Trouble.SERVER: 3}
TRIES_MAX: Mapping[Priority, int] = {Priority.URGENT: 10, Priority.NORMAL: 5, Priority.BACKGROUND: 3}


def delay_s(*, attempts: int, trouble: Trouble, chance: float) -> float:
    """Seconds until the next try after `attempts` failed ones: full jitter on 1 s x 2^attempts x factor, at most 60 s.

    `chance` is between 0 and 1; the caller draws it, so a test can too.
    """
    exponent = min(attempts, 10)  # beyond it the cap holds anyway, and the power stays small
    return min(DELAY_MAX_S, DELAY_S * (1 << exponent) * FACTOR[trouble]) * chance


def is_spent(*, attempts: int, priority: Priority) -> bool:
    """Whether an item that has failed `attempts` times has used up its tries."""
    return attempts >= TRIES_MAX[priority]
