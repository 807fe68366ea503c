"""Why it is slow: the one thing that holds everything up now, named from measurements.

What stands still for a reason is said first. Then the rule is that work piles up in front of the slowest step.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from splootd.core.backlog import BACKLOG_LARGE

BUSY_SHARE = 0.7  # of the connections: from then on they are what everything waits for
HELD_SHARE = 0.5  # of the time of uploads that goes into waiting for the limit
LATENCY_SHARE = 0.3  # of the time of a file that goes into a question without content
WORKING_HANDS = 0.5  # fewer lanes than this at work say nothing


class Cause(enum.StrEnum):
    NOTHING_TO_DO = "nothing_to_do"
    PAUSED = "paused"
    METERED = "metered"
    SIGNED_OUT = "signed_out"
    RATE_LIMITED = "rate_limited"
    UNREACHABLE = "unreachable"  # the breaker is open, or the embedded library does not run
    DELAYED = "delayed"
    EMBEDDING = "embedding"
    LIMIT = "limit"
    SERVER_LATENCY = "server_latency"
    SENDING = "sending"
    READING = "reading"
    STORE = "store"
    NOT_SLOW = "not_slow"


@dataclass(frozen=True, slots=True)
class Measures:
    """What is known when somebody asks. Durations are seconds; hands are lanes at work on average, lately."""

    pending: int = 0
    delayed: int = 0  # of the pending ones
    uploading: int = 0
    embedding: int = 0
    paused: bool = False
    held_for: str | None = None  # why sending waits although nobody is sick
    embedded: bool = False  # the library is the daemon's own
    server_state: str = "ok"  # ok, unreachable, signed_out, rate_limited
    server_detail: str = ""
    retry_in_s: float | None = None
    delayed_until_s: float | None = None  # from now, the first of them
    lanes: int = 3
    lanes_max: int = 3
    sending_hands: float = 0.0
    held_hands: float = 0.0  # of the sending ones, waiting for the limit
    reading_hands: float = 0.0
    writing_hands: float = 0.0
    check_s: float = 0.0
    upload_s: float = 0.0
    embedding_p50_s: float = 0.0
    items_per_s: float = 0.0
    bytes_per_s: float = 0.0
    limit_bytes_per_s: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """The bottleneck in a sentence, what helps, and the numbers that led there."""

    cause: Cause
    because: str
    helps: str
    numbers: Mapping[str, float] = field(default_factory=dict)


def bottleneck(of: Measures) -> Finding:
    """What everything waits for now."""
    if not of.pending + of.uploading + of.embedding:
        return Finding(Cause.NOTHING_TO_DO, "nothing waits: everything that was found has ended", "sploot add PATH")
    return _standstill(of) or _pile(of) or _busy(of)


def _standstill(of: Measures) -> Finding | None:
    """What holds back all of it, whatever it would cost."""
    numbers: dict[str, float] = {"pending": of.pending, "embedding": of.embedding}
    is_sending = of.pending + of.uploading > 0
    if of.paused and is_sending:
        return Finding(Cause.PAUSED, f"sending is paused; not sent yet: {_files(of.pending)}", "sploot resume", numbers)
    if of.retry_in_s is not None:
        numbers["retry_in_s"] = of.retry_in_s
    again = f"; it is tried again in {of.retry_in_s:.0f} s" if of.retry_in_s is not None else ""
    said = f" ({of.server_detail})" if of.server_detail else ""
    match of.server_state:
        case "signed_out":
            return Finding(Cause.SIGNED_OUT, f"the server lets nothing in{said}", "sploot login", numbers)
        case "rate_limited":
            because = f"the server asks for patience{said}{again}"
            return Finding(Cause.RATE_LIMITED, because, "nothing: it goes on by itself", numbers)
        case "unreachable":
            because = f"the server does not answer{said}{again}"
            helps = (
                "patience; if it lasts: sploot logs" if of.embedded else "see that it runs, and where: sploot config"
            )
            return Finding(Cause.UNREACHABLE, because, helps, numbers)
    if of.held_for is not None and is_sending:
        helps = "another network, or: sploot config set metered send"
        return Finding(Cause.METERED, f"sending waits, because {of.held_for}", helps, numbers)
    return None


def _pile(of: Measures) -> Finding | None:
    """Where the work piles up, when that is not in front of the sending."""
    sending = of.pending + of.uploading
    if of.embedding >= BACKLOG_LARGE or not sending:
        numbers: dict[str, float] = {"embedding": of.embedding, "embedding_p50_s": of.embedding_p50_s}
        because = f"the library is still making {_files(of.embedding)} searchable"
        if of.embedding_p50_s:
            because += f", which takes {of.embedding_p50_s:.1f} s for a typical one, its waiting included"
        if of.lanes < of.lanes_max:
            numbers |= {"lanes": of.lanes, "lanes_max": of.lanes_max}
            because += f"; so as not to add to it, {of.lanes} of {of.lanes_max} connections send"
        return Finding(Cause.EMBEDDING, because, "patience, or a faster machine for the library", numbers)
    if of.delayed == sending:
        numbers = {"delayed": of.delayed}
        first = ""
        if of.delayed_until_s is not None:
            numbers["delayed_until_s"] = of.delayed_until_s
            first = f", the first of them in {max(0.0, of.delayed_until_s):.0f} s"
        because = f"what is left, {_files(of.delayed)}, has a time of its own to wait for{first}"
        return Finding(Cause.DELAYED, because, "sploot bump PATH brings one to the front", numbers)
    return None


def _busy(of: Measures) -> Finding:
    """Which step has all hands busy."""
    if of.sending_hands >= BUSY_SHARE * of.lanes:
        return _sending(of)
    numbers = {
        "sending_hands": of.sending_hands,
        "reading_hands": of.reading_hands,
        "writing_hands": of.writing_hands,
        "items_per_s": of.items_per_s,
    }
    idle = f"the connections are idle {1 - min(1.0, of.sending_hands / of.lanes):.0%} of the time"
    if max(of.reading_hands, of.writing_hands) < WORKING_HANDS:
        because = f"nothing stands out: {of.items_per_s:.1f} files/s, and {idle}"
        return Finding(Cause.NOT_SLOW, because, "if it goes on for a while: sploot logs --level warning", numbers)
    if of.reading_hands >= of.writing_hands:
        because = f"reading the files takes longest: {of.reading_hands:.1f} lanes wait for the disk, and {idle}"
        return Finding(Cause.READING, because, "a faster disk, or less else to do for this one", numbers)
    because = f"writing down what was done takes longest: {of.writing_hands:.1f} lanes wait for it, and {idle}"
    return Finding(Cause.STORE, because, "keep Sploot's state on a faster disk (SPLOOT_HOME)", numbers)


def _sending(of: Measures) -> Finding:
    numbers = {"sending_hands": of.sending_hands, "lanes": of.lanes, "bytes_per_s": of.bytes_per_s}
    if of.limit_bytes_per_s is not None and of.held_hands >= HELD_SHARE * of.sending_hands:
        numbers |= {"limit_bytes_per_s": of.limit_bytes_per_s, "held_hands": of.held_hands}
        because = f"the limit of {of.limit_bytes_per_s / 1000:,.0f} kB/s: uploads wait for it most of the time"
        return Finding(Cause.LIMIT, because, "a higher one: sploot config set limit 5M", numbers)
    numbers |= {"check_s": of.check_s, "upload_s": of.upload_s}
    if of.check_s >= LATENCY_SHARE * (of.check_s + of.upload_s):
        because = (
            f"the server's answers: one takes {of.check_s * 1000:,.0f} ms even where nothing is sent,"
            f" and {of.lanes} connections are all it is asked over"
        )
        return Finding(Cause.SERVER_LATENCY, because, "a server that is nearer or less busy", numbers)
    because = (
        f"sending itself: {of.bytes_per_s / 1000:,.0f} kB/s over {of.lanes} connections, {of.upload_s:.1f} s for a"
        f" typical file, where an answer without content takes {of.check_s * 1000:,.0f} ms"
    )
    return Finding(Cause.SENDING, because, "a faster line, or a server that takes files in faster", numbers)


def _files(number: int) -> str:
    return "1 file" if number == 1 else f"{number:,} files"
