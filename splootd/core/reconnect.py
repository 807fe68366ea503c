"""When a push channel that was lost is tried again: quickly five times, then every few minutes beside the polling."""

DELAYS_S = (1.0, 2.0, 4.0, 8.0, 16.0)  # before the first, second, ... try after the loss
RARELY_S = 180.0
STEADY_S = 30.0  # a connection that lived so long was a good one: the count begins anew
SPENT = len(DELAYS_S) + 1
"""The failures in a row after which it is tried but rarely; also the count where the server has no such channel."""


def delay_s(failures: int, *, chance: float) -> float:
    """Seconds until the next try after `failures` in a row, at least one: a quarter more or less, as `chance` falls.

    `chance` is between 0 and 1; the caller draws it, so a test can too.
    """
    whole = DELAYS_S[failures - 1] if failures < SPENT else RARELY_S
    return whole * (0.75 + chance / 2)


def failures_after(failures: int, *, lived_s: float) -> int:
    """The failures in a row, when a connection has ended that lived for so many seconds; 0 for one never made."""
    return 1 if lived_s >= STEADY_S else min(failures + 1, SPENT)


def is_spent(failures: int) -> bool:
    """Whether polling is on its own for now."""
    return failures >= SPENT
