"""The state machine: allowed transitions, reachability and the diagram."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.core.item import State
from splootd.core.lifecycle import (
    FINAL_STATES,
    TRANSITIONS,
    InvalidTransitionError,
    Transition,
    advance,
    render_mermaid,
)

ALLOWED = {(state, transition) for state, transitions in TRANSITIONS.items() for transition in transitions}


@pytest.mark.parametrize(("state", "transition"), list(itertools.product(State, Transition)))
def test_a_transition_is_allowed_or_raises(state: State, transition: Transition) -> None:
    if (state, transition) in ALLOWED:
        assert advance(state, transition) is TRANSITIONS[state][transition]
    else:
        with pytest.raises(InvalidTransitionError, match=f"{transition} is not allowed from state {state}"):
            advance(state, transition)


def test_every_state_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(State)


def reachable(start: State) -> set[State]:
    found, waiting = {start}, [start]
    while waiting:
        for target in TRANSITIONS[waiting.pop()].values():
            if target not in found:
                found.add(target)
                waiting.append(target)
    return found


def test_every_state_can_be_reached() -> None:
    assert reachable(State.PENDING) == set(State)


@pytest.mark.parametrize("state", State)
def test_every_state_can_reach_a_final_state(state: State) -> None:
    assert reachable(state) & FINAL_STATES


@pytest.mark.parametrize("state", [state for state in State if state is not State.READY])
def test_every_state_can_still_become_ready(state: State) -> None:
    assert State.READY in reachable(state)


def test_ready_has_no_transitions() -> None:
    assert TRANSITIONS[State.READY] == {}


def test_only_requeue_and_skip_leave_a_final_state() -> None:
    assert {transition for state in FINAL_STATES for transition in TRANSITIONS[state]} == {
        Transition.REQUEUE,
        Transition.SKIP,
    }


def test_only_a_claim_leads_to_uploading() -> None:
    assert {pair for pair in ALLOWED if advance(*pair) is State.UPLOADING} == {(State.PENDING, Transition.CLAIM)}


@given(st.lists(st.sampled_from(Transition), max_size=30))
def test_no_sequence_uploads_an_accepted_item_again(transitions: list[Transition]) -> None:
    """An accepted item is never claimed again unless it is requeued."""
    state, accepted = State.PENDING, False
    for transition in transitions:
        if (state, transition) not in ALLOWED:
            continue
        state = advance(state, transition)
        accepted = (accepted or transition is Transition.ACCEPT) and transition is not Transition.REQUEUE
        assert not (accepted and state in (State.PENDING, State.UPLOADING))


def test_the_diagram_has_each_transition_once() -> None:
    arrows = [line.strip() for line in render_mermaid().splitlines()[2:]]
    assert sorted(arrows) == sorted(
        f"{state} --> {advance(state, transition)}: {transition}" for state, transition in ALLOWED
    )


def test_the_diagram_in_the_architecture_page_is_current() -> None:
    page = Path(__file__).parents[2] / "ARCHITECTURE.md"
    assert render_mermaid() in page.read_text("utf-8")
