"""Failure attribution: the cause of a failure, decided from the errors alone."""

import pytest

from splootd.core.circuit_breaker import FAILURE_THRESHOLD, CircuitState
from splootd.errors import (
    ConnectionLost,
    FileMissing,
    InternalServerError,
    InvalidResponse,
    ItemError,
    ResourceExhausted,
    Unreachable,
)
from splootd.upload.failure_attribution import Attribution, FailureAttribution, FailureCause


def attribute(
    attribution: FailureAttribution, error: ItemError, number: int, circuit: CircuitState = CircuitState.CLOSED
) -> Attribution:
    return attribution.attribute(error, item_id=number, content=b"%08d" % number, circuit=circuit)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (FileMissing("gone"), FailureCause.FILE),
        (InternalServerError("500"), FailureCause.CONTENT),
        (InvalidResponse("no JSON"), FailureCause.CONTENT),
        (ConnectionLost("broke"), FailureCause.CONTENT),
        (Unreachable("refused"), FailureCause.SERVER),
        (ResourceExhausted("no files left"), FailureCause.MACHINE),
    ],
)
def test_each_error_has_one_cause(error: ItemError, cause: FailureCause) -> None:
    assert attribute(FailureAttribution(), error, 1).cause is cause


def test_files_of_one_failed_request_have_one_number_and_each_request_its_own() -> None:
    attribution, refused = FailureAttribution(), Unreachable("refused")
    assert len({attribute(attribution, refused, number).failure for number in range(9)}) == 1
    assert len({attribute(attribution, Unreachable("refused"), number).failure for number in range(9)}) == 9


@pytest.mark.parametrize("error", [InternalServerError("500"), ConnectionLost("broke")])
def test_the_server_is_suspect_after_many_contents_and_each_late_failure_is_refunded(error: ItemError) -> None:
    attribution = FailureAttribution()
    causes = [attribute(attribution, error, number).cause for number in range(FAILURE_THRESHOLD)]
    assert causes == [FailureCause.CONTENT] * (FAILURE_THRESHOLD - 1) + [FailureCause.CONTENTS]
    assert attribution.take_refunds(Attribution(FailureCause.CONTENTS), ()) == set(range(FAILURE_THRESHOLD))
    late = attribute(attribution, error, 99, CircuitState.HALF_OPEN)
    assert late == Attribution(FailureCause.CONTENTS), "the server has responded all along"


def test_contents_that_opened_the_breaker_are_at_fault_once_another_image_is_uploaded() -> None:
    attribution, error = FailureAttribution(), InternalServerError("500")
    for number in range(FAILURE_THRESHOLD):
        attribute(attribution, error, number)
    attribution.take_refunds(Attribution(FailureCause.CONTENTS), ())
    attribution.record_success()
    causes = {attribute(attribution, error, number).cause for number in range(FAILURE_THRESHOLD)}
    assert causes == {FailureCause.CONTENT}


def test_a_content_failure_after_an_unreachable_server_shows_that_it_responds() -> None:
    attribution = FailureAttribution()
    number = attribute(attribution, Unreachable("refused"), 1).failure
    assert attribution.take_refunds(Attribution(FailureCause.SERVER), [number]) == {1}
    probe = attribute(attribution, InternalServerError("500"), 2, CircuitState.HALF_OPEN)
    assert probe == Attribution(FailureCause.CONTENT, server_responds=True)
