"""State machine of an item. Everything that may change a state must be defined in this file.

`TRANSITIONS` maps each state and transition to the next state; a missing entry is not allowed. The schema enforces the
same rules with a trigger, and a test compares both for every pair of states.
"""

import enum
from collections.abc import Mapping

from splootd.core.item import State


class Transition(enum.StrEnum):
    """Named step from one state to another."""

    CLAIM = "claim"  # an upload worker leases the item
    ACCEPT = "accept"  # the library has the bytes (201 or 409)
    FINISH = "finish"  # searchable
    RETRY = "retry"  # a failed attempt that is counted
    SNOOZE = "snooze"  # released, or failed through no fault of the item: not counted
    DISCARD = "discard"  # moved to the dead-letter queue
    FILE_MISSING = "file_missing"  # the file no longer exists
    SKIP = "skip"  # not to be uploaded
    REQUEUE = "requeue"  # reset by the user, or because the file reappeared


TRANSITIONS: Mapping[State, Mapping[Transition, State]] = {
    State.PENDING: {
        Transition.CLAIM: State.UPLOADING,
        Transition.FILE_MISSING: State.MISSING,
        Transition.SKIP: State.SKIPPED,
    },
    State.UPLOADING: {
        Transition.ACCEPT: State.EMBEDDING,
        Transition.FINISH: State.READY,
        Transition.RETRY: State.PENDING,
        Transition.SNOOZE: State.PENDING,
        Transition.DISCARD: State.FAILED,
        Transition.FILE_MISSING: State.MISSING,
        Transition.SKIP: State.SKIPPED,
    },
    State.EMBEDDING: {Transition.FINISH: State.READY, Transition.DISCARD: State.FAILED, Transition.SKIP: State.SKIPPED},
    State.READY: {},
    State.FAILED: {Transition.REQUEUE: State.PENDING, Transition.SKIP: State.SKIPPED},
    State.MISSING: {Transition.REQUEUE: State.PENDING, Transition.SKIP: State.SKIPPED},
    State.SKIPPED: {Transition.REQUEUE: State.PENDING},
}

FINAL_STATES = frozenset({State.READY, State.FAILED, State.MISSING, State.SKIPPED})
"""States that only the user or a change of the file can leave."""


class InvalidTransitionError(Exception):
    """A transition that is not allowed from this state: a bug in the program, never a problem with a file."""


def advance(state: State, transition: Transition) -> State:
    """Return the state after `transition`. Raises InvalidTransitionError."""
    try:
        return TRANSITIONS[state][transition]
    except KeyError:
        raise InvalidTransitionError(f"transition {transition} is not allowed from state {state}") from None


def render_mermaid() -> str:
    """Render the state machine as a Mermaid diagram, for ARCHITECTURE.md."""
    arrows = (
        f"    {state} --> {target}: {transition}"
        for state, transitions in TRANSITIONS.items()
        for transition, target in transitions.items()
    )
    return "\n".join(["stateDiagram-v2", "    [*] --> pending", *arrows])
