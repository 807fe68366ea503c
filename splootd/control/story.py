"""What is going on and what to do about it, in sentences. Pure: the time is an argument."""

import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from splootd.control.keeping import Kept
from splootd.core.fault import Fault
from splootd.core.item import Item, State
from splootd.core.retry import TRIES_MAX
from splootd.protocol import FolderRow, Need

REMEDY: Mapping[Fault, str] = {
    Fault.TOO_LARGE: "make it smaller, or raise the server's limit",
    Fault.EMPTY: "put the right file in its place",
    Fault.NOT_AN_IMAGE: "open it to see what it really is",
    Fault.UNREADABLE: "check its permissions and the disk it is on",
    Fault.NOT_A_FILE: "only files can be sent",
    Fault.EMBEDDING_FAILED: "see that it opens in an image viewer",
    Fault.REFUSED: "the reason is the server's own",
}
"""What to do about a dead letter before it is tried again; the faults that are not here only need another try."""


@dataclass(frozen=True, slots=True)
class Holdup:
    """What holds back all sending: the user, the server (`state`, `retry_at` in epoch seconds), or the network."""

    paused: bool
    state: str
    retry_at: float | None
    held_for: str | None = None  # why sending waits although nobody is sick


def clock_time(at: float, now: float) -> str:
    """`at` as a local time of day, with the date when it is not today's."""
    moment, today = datetime.fromtimestamp(at).astimezone(), datetime.fromtimestamp(now).astimezone()
    return f"{moment:%H:%M:%S}" if moment.date() == today.date() else f"{moment:%Y-%m-%d %H:%M:%S}"


def next_step(item: Item, holdup: Holdup, kept: Kept, now: float) -> str:
    """What happens next to `item`, and when."""
    match item.state:
        case State.PENDING:
            return _pending(item, holdup, now)
        case State.UPLOADING:
            return "It is being sent now."
        case State.EMBEDDING:
            return "The library has it and is making it searchable."
        case State.READY:
            return _ready(item, kept, now)
        case State.DEAD:
            remedy = REMEDY.get(Fault(item.fault)) if item.fault else None
            first = f"{remedy}; then " if remedy else ""
            return f"It needs you and will not be tried again by itself: {first}sploot retry {item.id}"
        case State.GONE:
            return "It will not be tried again, unless the file comes back."
        case State.SKIPPED:
            return _skipped(item)


def _ready(item: Item, kept: Kept, now: float) -> str:
    if kept.removed_at is not None:
        again = f"sploot add --force {shlex.quote(os.fsdecode(item.path))}"
        noticed = clock_time(kept.removed_at, now)
        return (
            f"It was removed in the library since (noticed at {noticed}), and stays removed; to send it again: {again}"
        )
    said = "Nothing: it is searchable."
    if not kept.is_sure:
        said += " The library could not be asked just now whether it still has it."
    if kept.move is not None:
        put = "put into the trash" if kept.move.is_trashed else "moved here"
        said += f" Its file was {put}; to bring it back: sploot undo {item.id}"
    return said


def _pending(item: Item, holdup: Holdup, now: float) -> str:
    if holdup.paused:
        return "It waits, because sending is paused: sploot resume"
    if item.next_at is not None and item.next_at > now:
        at = clock_time(item.next_at, now)
        if item.fault is None:
            return f"It is sent once it has rested, not before {at}."
        return f"It will be tried again at {at}; {item.attempts} of {TRIES_MAX[item.priority]} tries are used up."
    again = f" at {clock_time(holdup.retry_at, now)}" if holdup.retry_at else ""
    match holdup.state:
        case "signed_out":
            return "It waits until you sign in: sploot login"
        case "unreachable":
            return f"It waits until the server can be reached; that is tried again{again or ' soon'}."
        case "rate_limited":
            return f"It waits, because the server asks for patience, and goes on{again or ' soon'}."
        case _ if holdup.held_for:
            return f"It waits, because {holdup.held_for}. To send all the same: sploot config set metered send"
        case _:
            return "It waits for its turn."


def _skipped(item: Item) -> str:
    match item.fault:
        case Fault.REMOVED:
            return "It was removed in the library and stays removed; to send it all the same: sploot add --force PATH"
        case Fault.FORGOTTEN:
            return f"You took it out of the queue; to put it back: sploot retry {item.id}"
        case _:
            return "It will not be sent."


def needs(dead: int, signed_out: str | None, folders: Iterable[FolderRow]) -> list[Need]:
    """What only the user can mend, most urgent first; `signed_out` says why the server lets nothing in, if so."""
    found = []
    if signed_out is not None:
        found.append(Need(signed_out, 1, "sploot login"))
    if dead:
        found.append(Need(f"{dead} {'file' if dead == 1 else 'files'} could not be sent", dead, "sploot failed"))
    for state, one, many in (
        ("missing", "is not there", "are not there"),
        ("unreadable", "cannot be read", "cannot be read"),
    ):
        away = [folder.path for folder in folders if folder.state == state]
        if len(away) == 1:
            found.append(Need(f"the folder {away[0]} {one}", 1, "sploot folders"))
        elif away:
            found.append(Need(f"{len(away)} folders: {away[0]} and others {many}", len(away), "sploot folders"))
    return found
