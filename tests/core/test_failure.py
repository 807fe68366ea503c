import pytest

from splootd import errors
from splootd.core.failure import HANDLING, Verdict
from splootd.core.fault import Fault


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_has_its_handling(fault: Fault) -> None:
    assert HANDLING[fault].verdict in Verdict


def test_only_the_servers_own_faults_speak_against_it() -> None:
    assert {fault for fault, handling in HANDLING.items() if handling.sick} == {
        *(Fault.UNREACHABLE, Fault.BROKEN_OFF, Fault.SERVER_FAULT, Fault.SERVER_SICK, Fault.BAD_ANSWER),
    }


def test_what_is_not_the_items_fault_costs_it_no_try() -> None:
    blameless = {
        *(Fault.UNREACHABLE, Fault.SERVER_SICK, Fault.RATE_LIMITED, Fault.SIGNED_OUT),
        *(Fault.EXHAUSTED, Fault.DISTURBED),
    }
    assert {fault for fault, handling in HANDLING.items() if handling.verdict is Verdict.WAIT} == blameless


def test_what_is_invalid_is_never_tried_again() -> None:
    invalid = (Fault.REFUSED, Fault.TOO_LARGE, Fault.EMPTY, Fault.NOT_AN_IMAGE, Fault.UNREADABLE, Fault.NOT_A_FILE)
    assert {HANDLING[fault].verdict for fault in invalid} == {Verdict.BURY}


def every_error(kind: type[errors.ItemError] = errors.ItemError) -> list[type[errors.ItemError]]:
    below = [error for child in kind.__subclasses__() for error in every_error(child)]
    return below or [kind]


@pytest.mark.parametrize("error", every_error())
def test_every_error_of_an_item_names_its_fault(error: type[errors.ItemError]) -> None:
    assert error.fault in HANDLING
