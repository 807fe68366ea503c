"""What may go wrong with an item, and what follows from it: one table, no ladder of conditions."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass


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


class Fault(enum.StrEnum):
    """The stable code of a failure: what `--reason` takes, what metrics count, what the store keeps."""

    UNREACHABLE = "unreachable"  # no connection could be made
    BROKEN_OFF = "broken_off"  # the connection broke or timed out after bytes were sent: the outcome is unknown
    SERVER_FAULT = "server_fault"  # the server answered 5xx for this content
    SERVER_SICK = "server_sick"  # the server answers 5xx to everything
    BAD_ANSWER = "bad_answer"  # the answer cannot be understood
    RATE_LIMITED = "rate_limited"  # the server asks for patience
    SIGNED_OUT = "signed_out"  # the server does not know who we are
    EXHAUSTED = "exhausted"  # this machine ran out of files, sockets, memory or disk
    DISTURBED = "disturbed"  # the daemon stopped, or the file changed while it was read
    REFUSED = "refused"  # the server refuses this file
    TOO_LARGE = "too_large"  # over the server's limit
    EMPTY = "empty"  # nothing in it
    NOT_AN_IMAGE = "not_an_image"  # its first bytes are not those of any image or video
    UNREADABLE = "unreadable"  # the file may not or cannot be read
    NOT_A_FILE = "not_a_file"  # a pipe, a socket, a device
    EMBEDDING_FAILED = "embedding_failed"  # the library has it, but could not make it searchable
    UNSUPPORTED = "unsupported"  # an image or video of a type the server does not take
    REMOVED = "removed"  # removed on the server; it stays removed
    FORGOTTEN = "forgotten"  # the user dropped it from the queue
    VANISHED = "vanished"  # the file is no longer there


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
