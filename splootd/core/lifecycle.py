"""The law of an item's life. Everything that may change a state stands in this file, and nowhere else.

`NEXT` says which step leads from a state to which other one; a step that is missing there is not allowed. The schema
says the same law a second time as a trigger, and a test walks every pair of states and demands that both agree.
"""

import enum
from collections.abc import Mapping

from splootd.core.item import State


class Step(enum.StrEnum):
    CLAIM = "claim"  # a lane takes it
    ACCEPT = "accept"  # the library has the bytes (201 or 409)
    FINISH = "finish"  # searchable
    RETRY = "retry"  # a fault that counts as one of its tries
    WAIT = "wait"  # not the item's fault, or handed back: not counted
    BURY = "bury"  # to the dead letters
    VANISH = "vanish"  # the file is no longer there
    SKIP = "skip"  # not to be sent
    REVIVE = "revive"  # the user, or the file's return, gives it a fresh start


NEXT: Mapping[State, Mapping[Step, State]] = {
    State.PENDING: {Step.CLAIM: State.UPLOADING, Step.VANISH: State.GONE, Step.SKIP: State.SKIPPED},
    State.UPLOADING: {
        Step.ACCEPT: State.EMBEDDING,
        Step.FINISH: State.READY,
        Step.RETRY: State.PENDING,
        Step.WAIT: State.PENDING,
        Step.BURY: State.DEAD,
        Step.VANISH: State.GONE,
        Step.SKIP: State.SKIPPED,
    },
    State.EMBEDDING: {Step.FINISH: State.READY, Step.BURY: State.DEAD, Step.SKIP: State.SKIPPED},
    State.READY: {},
    State.DEAD: {Step.REVIVE: State.PENDING, Step.SKIP: State.SKIPPED},
    State.GONE: {Step.REVIVE: State.PENDING, Step.SKIP: State.SKIPPED},
    State.SKIPPED: {Step.REVIVE: State.PENDING},
}

ENDED = frozenset({State.READY, State.DEAD, State.GONE, State.SKIPPED})
"""States in which nothing more happens by itself."""


class NotAllowedError(Exception):
    """A step that the law does not know from this state: a fault in the program, never in a file."""


def advance(state: State, step: Step) -> State:
    """The state that `step` leads to; NotAllowedError if there is none."""
    try:
        return NEXT[state][step]
    except KeyError:
        raise NotAllowedError(f"an item that is {state} cannot {step}") from None


def mermaid() -> str:
    """The law as a Mermaid state diagram, for the architecture page."""
    arrows = (f"    {state} --> {target}: {step}" for state, steps in NEXT.items() for step, target in steps.items())
    return "\n".join(["stateDiagram-v2", "    [*] --> pending", *arrows])
