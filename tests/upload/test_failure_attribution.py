"""Failure attribution: whose fault a failure was, decided from the errors alone."""

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
from splootd.upload.failure_attribution import FailureAttribution, Fault, Verdict


def attribute(
    attribution: FailureAttribution, error: ItemError, number: int, circuit: CircuitState = CircuitState.CLOSED
) -> Verdict:
    return attribution.attribute(error, item_id=number, content=b"%08d" % number, circuit=circuit)


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (FileMissing("gone"), Fault.FILE),
        (InternalServerError("500"), Fault.CONTENT),
        (InvalidResponse("no JSON"), Fault.CONTENT),
        (ConnectionLost("broke"), Fault.SERVER),
        (Unreachable("refused"), Fault.SERVER),
        (ResourceExhausted("no files left"), Fault.MACHINE),
    ],
)
def test_each_error_has_one_fault(error: ItemError, fault: Fault) -> None:
    assert attribute(FailureAttribution(), error, 1).fault is fault


def test_files_of_one_failed_request_have_one_number_and_lost_connections_one_per_content() -> None:
    attribution, refused, lost = FailureAttribution(), Unreachable("refused"), ConnectionLost("broke")
    assert len({attribute(attribution, refused, number).failure for number in range(9)}) == 1
    assert len({attribute(attribution, lost, number).failure for number in range(9)}) == 9


def test_the_server_is_at_fault_after_many_contents_and_a_probe_at_once() -> None:
    attribution, error = FailureAttribution(), InternalServerError("500")
    faults = [attribute(attribution, error, number).fault for number in range(FAILURE_THRESHOLD)]
    assert faults == [Fault.CONTENT] * (FAILURE_THRESHOLD - 1) + [Fault.CONTENTS]
    assert attribution.take_refunds(Verdict(Fault.CONTENTS), ()) == set(range(FAILURE_THRESHOLD))
    verdict = attribute(attribution, error, 99, CircuitState.HALF_OPEN)
    assert verdict == Verdict(Fault.CONTENTS), "the breaker was opened by contents: the server has responded all along"


def test_a_content_failure_after_an_unreachable_server_shows_that_it_responds() -> None:
    attribution = FailureAttribution()
    number = attribute(attribution, Unreachable("refused"), 1).failure
    assert attribution.take_refunds(Verdict(Fault.SERVER), [number]) == {1}
    verdict = attribute(attribution, InternalServerError("500"), 2, CircuitState.HALF_OPEN)
    assert verdict == Verdict(Fault.CONTENT, server_responds=True)
