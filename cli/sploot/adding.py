"""`sploot add`: name files and folders to the daemon. Without the protocol, for the same reason as `status.py`."""

from __future__ import annotations

import os
from types import SimpleNamespace

from sploot import exits, render
from sploot.paths import absolute, after_word
from sploot.reach import client
from sploot.terminal import complain, print_json
from sploot.text import safe
from splootd.errors import RequestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from sploot.client import Client

PATHS_MAX = 1_000  # in one request: ADD_PATHS_MAX of the protocol
REQUEST_BYTES = 8_000_000  # below the daemon's limit, even if every path is at its longest
ESCAPED_BYTES = 6  # a byte that is not ASCII may travel as `\udcNN`

FINE = frozenset({"queued", "changed", "renamed", "revived", "known", "folder", "file"})
"""Outcomes of a named path that need no word of their own; any other comes with a sentence."""


def add(
    paths: Sequence[str] = (),
    *,
    once: bool = False,
    priority: str = "normal",
    tag: Sequence[str] = (),
    listing: str | None = None,
    null: bool = False,
    dry_run: bool = False,
    force: bool = False,
    after: str = "keep",
    wait: bool = False,
    timeout: float | None = None,
    as_json: bool = False,
) -> int:
    """Add `paths` and what stands in `listing`."""
    if not paths and listing is None:
        raise RequestError("nothing_named", "say what to add", "sploot add PATH..., or --from - for a list")
    if timeout is not None and not wait:
        raise RequestError("bad_option", "--timeout says how long --wait may take", "name both")
    if null and listing is None:
        raise RequestError("bad_option", "--null says how the paths of --from end", "name both")
    how = {"watch": not once, "priority": priority, "tags": [*tag], "force": force, "dry_run": dry_run}
    asking = client()
    total, code = _send(
        asking, _every(paths, listing, by_null=null), {**how, "after": after_word(after)}, as_json=as_json
    )
    if as_json and not wait:
        print_json(total)
    elif not as_json:
        added: Any = SimpleNamespace(**total)
        print(render.added(added, is_dry_run=dry_run))
    if wait and total["add"] is not None:
        from sploot.waiting import wait as it  # noqa: PLC0415 - who does not wait has no time for it

        return max(code, it(asking, total["add"], timeout_s=timeout, as_json=as_json))
    return code


def _every(paths: Iterable[str], listing: str | None, *, by_null: bool) -> Iterator[str]:
    yield from map(absolute, paths)
    if listing is not None:
        from sploot.listing import listed  # noqa: PLC0415 - as above

        yield from listed(listing, by_null=by_null)


def _send(asking: Client, paths: Iterable[str], how: Mapping[str, Any], *, as_json: bool) -> tuple[dict[str, Any], int]:
    """Send all `paths` as parts of one add. The sum of the answers, and the exit code that they call for."""
    total: dict[str, Any] = {"add": None, "counts": {}, "paths": [], "walking": False}
    code = exits.DONE
    for batch in _batches(paths):
        reply = asking.answer("POST", "/v1/add", {**how, "paths": batch, "add": total["add"]})
        code = max(code, _complain_about(reply["paths"]))
        counts = total["counts"] | {name: total["counts"].get(name, 0) + n for name, n in reply["counts"].items()}
        total = {
            "add": reply["add"],
            "counts": {name: number for name, number in counts.items() if number},
            "paths": total["paths"] + (reply["paths"] if as_json else []),
            "walking": total["walking"] or reply["walking"],
        }
    return total, code


def _batches(paths: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size_bytes = 0
    for path in paths:
        length = len(os.fsencode(path)) * ESCAPED_BYTES
        if batch and (len(batch) >= PATHS_MAX or size_bytes + length > REQUEST_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(path)
        size_bytes += length
    if batch:
        yield batch


def _complain_about(outcomes: Iterable[dict[str, Any]]) -> int:
    """Say what went wrong with single paths, or below them; the exit code that it calls for."""
    code = exits.DONE
    for each in outcomes:
        is_fine = each["outcome"] in FINE
        if each["detail"] or not is_fine:
            complain(safe(each["detail"] or f"{each['path']}: {each['outcome']}"))
        code = code if is_fine else exits.NOT_FOUND
    return code
