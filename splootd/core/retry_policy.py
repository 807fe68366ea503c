"""Retry policy: one table from error code to retry action, backoff class and circuit breaker."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from splootd.core.error_code import ErrorCode


class RetryAction(enum.StrEnum):
    """What follows from a failed attempt."""

    RETRY = "retry"  # try again later; the attempt counts
    SNOOZE = "snooze"  # not the item's fault: not counted; admission decides when uploads continue
    DISCARD = "discard"  # move to the dead-letter queue: the user must act
    SKIP = "skip"  # do not upload; no action required
    FILE_MISSING = "file_missing"  # the file no longer exists


class BackoffClass(enum.StrEnum):
    """Class of a retry delay; `backoff.BACKOFF_FACTOR` has the factor of each."""

    RATE_LIMIT = "rate_limit"
    NETWORK = "network"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Policy for one error code. The circuit breaker counts the failure when `trips_breaker` is set."""

    action: RetryAction
    backoff_class: BackoffClass = BackoffClass.SERVER
    trips_breaker: bool = False


RETRY_POLICY: Mapping[ErrorCode, RetryPolicy] = {
    ErrorCode.UNREACHABLE: RetryPolicy(RetryAction.SNOOZE, BackoffClass.NETWORK, trips_breaker=True),
    ErrorCode.CONNECTION_LOST: RetryPolicy(RetryAction.RETRY, BackoffClass.NETWORK, trips_breaker=True),
    ErrorCode.SERVER_ERROR: RetryPolicy(RetryAction.RETRY, BackoffClass.SERVER, trips_breaker=True),
    ErrorCode.SERVER_UNAVAILABLE: RetryPolicy(RetryAction.SNOOZE, BackoffClass.SERVER, trips_breaker=True),
    ErrorCode.INVALID_RESPONSE: RetryPolicy(RetryAction.RETRY, BackoffClass.SERVER, trips_breaker=True),
    ErrorCode.RATE_LIMITED: RetryPolicy(RetryAction.SNOOZE, BackoffClass.RATE_LIMIT),
    ErrorCode.LIBRARY_FULL: RetryPolicy(RetryAction.SNOOZE),
    ErrorCode.UNAUTHENTICATED: RetryPolicy(RetryAction.SNOOZE),
    ErrorCode.RESOURCE_EXHAUSTED: RetryPolicy(RetryAction.SNOOZE),
    ErrorCode.INTERRUPTED: RetryPolicy(RetryAction.SNOOZE),
    ErrorCode.REJECTED: RetryPolicy(RetryAction.DISCARD),
    ErrorCode.TAGS_REJECTED: RetryPolicy(RetryAction.DISCARD),
    ErrorCode.TOO_LARGE: RetryPolicy(RetryAction.DISCARD),
    ErrorCode.EMPTY: RetryPolicy(RetryAction.DISCARD),
    ErrorCode.NOT_AN_IMAGE: RetryPolicy(RetryAction.DISCARD),
    ErrorCode.UNREADABLE: RetryPolicy(RetryAction.DISCARD),
    ErrorCode.NOT_A_FILE: RetryPolicy(RetryAction.DISCARD),
    ErrorCode.EMBEDDING_FAILED: RetryPolicy(RetryAction.DISCARD),
    ErrorCode.UNSUPPORTED: RetryPolicy(RetryAction.SKIP),
    ErrorCode.REMOVED: RetryPolicy(RetryAction.SKIP),
    ErrorCode.CANCELLED: RetryPolicy(RetryAction.SKIP),
    ErrorCode.FILE_MISSING: RetryPolicy(RetryAction.FILE_MISSING),
}
