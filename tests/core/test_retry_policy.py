"""The retry policy of each error code."""

import pytest

from splootd import errors
from splootd.core.error_code import ErrorCode
from splootd.core.retry_policy import RETRY_POLICY, RetryAction


@pytest.mark.parametrize("error_code", ErrorCode)
def test_every_error_code_has_a_policy(error_code: ErrorCode) -> None:
    assert RETRY_POLICY[error_code].action in RetryAction


def test_only_server_errors_count_for_the_circuit_breaker() -> None:
    assert {error_code for error_code, policy in RETRY_POLICY.items() if policy.trips_breaker} == {
        *(
            ErrorCode.UNREACHABLE,
            ErrorCode.CONNECTION_LOST,
            ErrorCode.SERVER_ERROR,
            ErrorCode.SERVER_UNAVAILABLE,
            ErrorCode.INVALID_RESPONSE,
        ),
    }


def test_errors_not_caused_by_the_item_are_snoozed() -> None:
    snoozed = {
        *(ErrorCode.UNREACHABLE, ErrorCode.SERVER_UNAVAILABLE, ErrorCode.RATE_LIMITED, ErrorCode.UNAUTHENTICATED),
        *(ErrorCode.RESOURCE_EXHAUSTED, ErrorCode.INTERRUPTED, ErrorCode.LIBRARY_FULL),
    }
    assert {error_code for error_code, policy in RETRY_POLICY.items() if policy.action is RetryAction.SNOOZE} == snoozed


def test_invalid_files_are_discarded() -> None:
    invalid = (
        ErrorCode.REJECTED,
        ErrorCode.TOO_LARGE,
        ErrorCode.EMPTY,
        ErrorCode.NOT_AN_IMAGE,
        ErrorCode.UNREADABLE,
        ErrorCode.NOT_A_FILE,
    )
    assert {RETRY_POLICY[error_code].action for error_code in invalid} == {RetryAction.DISCARD}


def leaf_errors(kind: type[errors.ItemError] = errors.ItemError) -> list[type[errors.ItemError]]:
    below = [error for child in kind.__subclasses__() for error in leaf_errors(child)]
    return below or [kind]


@pytest.mark.parametrize("error", leaf_errors())
def test_every_item_error_has_a_policy(error: type[errors.ItemError]) -> None:
    assert error.error_code in RETRY_POLICY
