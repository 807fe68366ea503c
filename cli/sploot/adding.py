"""`sploot add`: name files and folders to the daemon, and wait for them if asked to."""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain

from sploot import exits, render
from sploot.client import Client, LostError
from sploot.paths import absolute, listed
from sploot.progress import Meter, Screen, ending
from sploot.reach import NoDaemonError, client
from sploot.terminal import complain, print_json, style
from sploot.text import safe
from splootd.errors import RequestError
from splootd.protocol import ADD_PATHS_MAX, Add, Added, GetProgress, GetStatus, PathOutcome, Progress, Status
from splootd.wire import decode, encode

REQUEST_BYTES = 8_000_000  # below the daemon's limit, even if every path is at its longest
ESCAPED_BYTES = 6  # a byte that is not ASCII may travel as `\udcNN`
REDRAW_S = 0.25
STALLED_S = 3.0  # without any progress, before the daemon is asked what is the matter

FINE = frozenset({"queued", "changed", "renamed", "revived", "known", "folder", "file"})
"""Outcomes of a named path that need no word of their own; any other comes with a sentence."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How to go about it. `timeout_s` is None for as long as it takes."""

    is_waiting: bool = False
    timeout_s: float | None = None
    as_json: bool = False


def add(paths: list[str], listing: str | None, *, by_null: bool, request: Add, wish: Wish) -> int:
    """Add `paths` and what stands in `listing`; `request` says how, without paths."""
    if not paths and listing is None:
        raise RequestError("nothing_named", "say what to add", "sploot add PATH..., or --from - for a list")
    if wish.timeout_s is not None and not wish.is_waiting:
        raise RequestError("bad_option", "--timeout says how long --wait may take", "name both")
    if by_null and listing is None:
        raise RequestError("bad_option", "--null says how the paths of --from end", "name both")
    every = chain(map(absolute, paths), listed(listing, by_null=by_null) if listing is not None else ())
    asking = client()
    total, code = _send(asking, every, request, wish)
    if wish.as_json and not wish.is_waiting:
        print_json(encode(total))
    elif not wish.as_json:
        print(render.added(total, is_dry_run=request.dry_run))
    if wish.is_waiting and total.add is not None:
        return max(code, _wait(asking, total.add, wish))
    return code


def _send(asking: Client, paths: Iterable[str], request: Add, wish: Wish) -> tuple[Added, int]:
    """Send all `paths` as parts of one add. The sum of the answers, and the exit code that they call for."""
    total, code = Added(None, {}, (), walking=False), exits.DONE
    for batch in _batches(paths):
        reply = asking.ask(replace(request, paths=batch, add=total.add), Added)
        code = max(code, _complain_about(reply.paths))
        total = Added(
            reply.add,
            dict(Counter(total.counts) + Counter(reply.counts)),
            total.paths + (reply.paths if wish.as_json else ()),
            walking=total.walking or reply.walking,
        )
    return total, code


def _batches(paths: Iterable[str]) -> Iterator[tuple[str, ...]]:
    batch: list[str] = []
    size_bytes = 0
    for path in paths:
        length = len(os.fsencode(path)) * ESCAPED_BYTES
        if batch and (len(batch) >= ADD_PATHS_MAX or size_bytes + length > REQUEST_BYTES):
            yield tuple(batch)
            batch, size_bytes = [], 0
        batch.append(path)
        size_bytes += length
    if batch:
        yield tuple(batch)


def _complain_about(outcomes: Iterable[PathOutcome]) -> int:
    """Say what went wrong with single paths, or below them; the exit code that it calls for."""
    code = exits.DONE
    for each in outcomes:
        is_fine = each.outcome in FINE
        if each.detail or not is_fine:
            complain(safe(each.detail or f"{each.path}: {each.outcome}"))
        code = code if is_fine else exits.NOT_FOUND
    return code


def _wait(asking: Client, add: int, wish: Wish) -> int:
    """Show the progress of `add` until it has ended; the exit code."""
    ends_at = time.monotonic() + wish.timeout_s if wish.timeout_s is not None else float("inf")
    try:
        with Screen(style(sys.stderr), is_quiet=wish.as_json) as screen:
            last = _watch(asking, add, ends_at, screen)
    except KeyboardInterrupt:
        complain("Interrupted. The daemon goes on with what is queued: sploot status")
        return exits.INTERRUPTED
    if last is None or not last.ended:
        complain("The time is up. The daemon goes on with what is queued: sploot status")
        return exits.TIMEOUT
    if wish.as_json:
        print_json(encode(last))
    else:
        print("\n".join(ending(last)))
    return exits.NOT_FOUND if last.states.get("dead") or last.states.get("gone") else exits.DONE


def _watch(asking: Client, add: int, ends_at: float, screen: Screen) -> Progress | None:
    """Draw how far it has come; the last that was seen of it, when it has ended or the time is up."""
    meter, note, last = Meter(), "", None
    for snapshot in _snapshots(add, ends_at):
        if snapshot is not None:
            last = snapshot
            meter.note(last, time.monotonic())
            note = _stalled(asking, meter)
        if last is not None:
            screen.draw(meter, note)
            if last.ended:
                break
    return last


def _snapshots(add: int, ends_at: float) -> Iterator[Progress | None]:
    """How far it has come, again and again, None whenever it is time to draw without anything new.

    It goes on until `ends_at`, over the death of a daemon too, but not when the user has stopped it.
    """
    while time.monotonic() < ends_at:
        try:
            with closing(client()) as following:
                for entry in following.follow(GetProgress(add, follow=True), _until(ends_at)):
                    yield decode(Progress, entry[1]) if entry is not None else None
                    if time.monotonic() >= ends_at:
                        return
        except LostError:
            continue
        raise NoDaemonError("the daemon was stopped; what is queued waits until it runs again", "sploot daemon start")


def _until(ends_at: float) -> Callable[[], float]:
    return lambda: min(REDRAW_S, ends_at - time.monotonic())


def _stalled(asking: Client, meter: Meter) -> str:
    """Why nothing moves, when nothing has moved for a while. RequestError when only the user can change that."""
    if meter.still_s(time.monotonic()) < STALLED_S:
        return ""
    now = asking.ask(GetStatus(), Status)
    if now.server.state == "signed_out":
        raise RequestError("signed_out", "the server does not know you; what is queued waits", "sploot login")
    if now.daemon.state == "paused":
        return "sending is paused: sploot resume"
    if now.server.state != "ok":
        return safe(now.server.detail or f"the server is {now.server.state.replace('_', ' ')}")
    return ""
