import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.core.item import State
from splootd.core.lifecycle import ENDED, NEXT, NotAllowedError, Step, advance, mermaid

ALLOWED = {(state, step) for state, steps in NEXT.items() for step in steps}


@pytest.mark.parametrize(("state", "step"), list(itertools.product(State, Step)))
def test_a_step_is_in_the_law_or_refused(state: State, step: Step) -> None:
    if (state, step) in ALLOWED:
        assert advance(state, step) is NEXT[state][step]
    else:
        with pytest.raises(NotAllowedError, match=f"an item that is {state} cannot {step}"):
            advance(state, step)


def test_the_law_speaks_of_every_state() -> None:
    assert set(NEXT) == set(State)


def reachable(start: State) -> set[State]:
    found, waiting = {start}, [start]
    while waiting:
        for target in NEXT[waiting.pop()].values():
            if target not in found:
                found.add(target)
                waiting.append(target)
    return found


def test_every_state_can_be_reached() -> None:
    assert reachable(State.PENDING) == set(State)


@pytest.mark.parametrize("state", State)
def test_every_item_can_still_end(state: State) -> None:
    assert reachable(state) & ENDED


@pytest.mark.parametrize("state", [state for state in State if state is not State.READY])
def test_whatever_happened_an_item_can_still_become_ready(state: State) -> None:
    assert State.READY in reachable(state)


def test_what_is_searchable_stays_so() -> None:
    assert NEXT[State.READY] == {}


def test_only_the_user_or_the_files_return_moves_what_has_ended() -> None:
    assert {step for state in ENDED for step in NEXT[state]} == {Step.REVIVE, Step.SKIP}


def test_only_a_claim_leads_to_uploading() -> None:
    assert {pair for pair in ALLOWED if advance(*pair) is State.UPLOADING} == {(State.PENDING, Step.CLAIM)}


@given(st.lists(st.sampled_from(Step), max_size=30))
def test_no_walk_through_the_law_sends_what_the_library_has(steps: list[Step]) -> None:
    """Once it was accepted, an item is not claimed again unless the user revives it."""
    state, accepted = State.PENDING, False
    for step in steps:
        if (state, step) not in ALLOWED:
            continue
        state = advance(state, step)
        accepted = (accepted or step is Step.ACCEPT) and step is not Step.REVIVE
        assert not (accepted and state in (State.PENDING, State.UPLOADING))


def test_the_diagram_shows_every_arrow_once() -> None:
    arrows = [line.strip() for line in mermaid().splitlines()[2:]]
    assert sorted(arrows) == sorted(f"{state} --> {advance(state, step)}: {step}" for state, step in ALLOWED)


def test_the_diagram_on_the_architecture_page_is_this_law() -> None:
    page = Path(__file__).parents[2] / "ARCHITECTURE.md"
    assert mermaid() in page.read_text("utf-8")
