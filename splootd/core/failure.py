"""What may go wrong with an item, and what follows from it: one table, no ladder of conditions."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from splootd.core.fault import Fault


class Verdict(enum.StrEnum):
    RETRY = "retry"  # the item's own try failed: it counts
    WAIT = "wait"  # not the item's fault: not counted, the gate or the breaker decides when to go on
    BURY = "bury"  # to the dead letters: a person must look
    SKIP = "skip"  # not to be sent, and nobody needs to look
    DROP = "drop"  # the file is gone


class Trouble(enum.StrEnum):
    """Which kind of retry; the number behind it multiplies the delay."""

    RATE_LIMIT = "rate_limit"
    NETWORK = "network"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Handling:
    """What follows from a fault. `sick` says that it speaks against the server, which the breaker counts."""

    verdict: Verdict
    trouble: Trouble = Trouble.SERVER
    sick: bool = False


HANDLING: Mapping[Fault, Handling] = {
    Fault.UNREACHABLE: Handling(Verdict.WAIT, Trouble.NETWORK, sick=True),
    Fault.BROKEN_OFF: Handling(Verdict.RETRY, Trouble.NETWORK, sick=True),
    Fault.SERVER_FAULT: Handling(Verdict.RETRY, Trouble.SERVER, sick=True),
    Fault.SERVER_SICK: Handling(Verdict.WAIT, Trouble.SERVER, sick=True),
    Fault.BAD_ANSWER: Handling(Verdict.RETRY, Trouble.SERVER, sick=True),
    Fault.RATE_LIMITED: Handling(Verdict.WAIT, Trouble.RATE_LIMIT),
    Fault.SIGNED_OUT: Handling(Verdict.WAIT),
    Fault.EXHAUSTED: Handling(Verdict.WAIT),
    Fault.DISTURBED: Handling(Verdict.WAIT),
    Fault.REFUSED: Handling(Verdict.BURY),
    Fault.TOO_LARGE: Handling(Verdict.BURY),
    Fault.EMPTY: Handling(Verdict.BURY),
    Fault.NOT_AN_IMAGE: Handling(Verdict.BURY),
    Fault.UNREADABLE: Handling(Verdict.BURY),
    Fault.NOT_A_FILE: Handling(Verdict.BURY),
    Fault.EMBEDDING_FAILED: Handling(Verdict.BURY),
    Fault.UNSUPPORTED: Handling(Verdict.SKIP),
    Fault.REMOVED: Handling(Verdict.SKIP),
    Fault.FORGOTTEN: Handling(Verdict.SKIP),
    Fault.VANISHED: Handling(Verdict.DROP),
}
