"""The names of what may go wrong with an item."""

import enum


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
