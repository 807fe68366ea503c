"""`sploot add`: send paths to the daemon. Like `sploot status` it does not import `splootd.protocol`."""

from __future__ import annotations

import os
from types import SimpleNamespace

from sploot import exit_codes, render
from sploot.daemon_connect import open_client
from sploot.formatting import escape_unprintable
from sploot.paths import absolute, parse_action
from sploot.terminal import print_json, print_stderr
from splootd.errors import RequestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from sploot.client import Client
    from sploot.typer_options import Annotated, Argument, JsonOption, Option, complete_priority

PATHS_PER_REQUEST_MAX = 1_000  # ADD_PATHS_MAX of the protocol, which is not imported here
REQUEST_BYTES_MAX = 8_000_000  # below the daemon's limit even if every path has the maximum length
ESCAPED_BYTES_PER_BYTE = 6  # JSON in ASCII: a byte outside ASCII may be sent as `\udcNN`

SILENT_OUTCOMES = frozenset({"queued", "changed", "renamed", "requeued", "known", "tagged", "folder", "file"})
"""Outcomes of a path that are only counted. Any other is printed."""


def add(
    paths: Annotated[list[str] | None, Argument(metavar="PATH...", help="Files and folders.")] = None,
    *,
    once: Annotated[bool, Option("--once", help="Import folders without watching them.")] = False,
    priority: Annotated[
        str,
        Option(metavar="urgent|normal|background", autocompletion=complete_priority, help="What is uploaded first."),
    ] = "normal",
    tag: Annotated[list[str] | None, Option(metavar="TAG", help="Tag in the library; can be repeated.")] = None,
    paths_from: Annotated[
        str | None, Option("--from", metavar="FILE", help="Read paths from FILE, one per line; - is standard input.")
    ] = None,
    null: Annotated[bool, Option("--null", help="Paths in that list end with a NUL character.")] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Only print what would happen.")] = False,
    force: Annotated[bool, Option("--force", help="Upload again what was deleted in the library.")] = False,
    after_upload: Annotated[
        str,
        Option(
            metavar="keep|trash|move:DIR",
            help="What to do with a file after its upload, once the library has been verified to have it.",
        ),
    ] = "keep",
    wait: Annotated[bool, Option("--wait", help="Wait until all files are finished.")] = False,
    timeout: Annotated[float | None, Option(min=0, metavar="SECONDS", help="Longest time for --wait.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Queue files; import folders and keep watching them."""
    if not paths and paths_from is None:
        raise RequestError("missing_argument", "no path was given", "sploot add PATH..., or --from - to read a list")
    if timeout is not None and not wait:
        raise RequestError("bad_option", "--timeout limits how long --wait may take", "give both options")
    if null and paths_from is None:
        raise RequestError("bad_option", "--null describes the list of --from", "give both options")
    options = {"watch": not once, "priority": priority, "tags": tag or [], "force": force, "dry_run": dry_run}
    client = open_client()
    total, code = _send_in_batches(
        client,
        _all_paths(paths or (), paths_from, by_null=null),
        {**options, "after_upload": parse_action(after_upload), "server": os.environ.get("SPLOOT_SERVER") or None},
        as_json=as_json,
    )
    if as_json and not wait:
        print_json(total)
    elif not as_json:
        added: Any = SimpleNamespace(**total)
        watched = [] if once else [each["path"] for each in total["paths"]]
        print(render.render_added(added, watched, is_dry_run=dry_run))
    if wait and total["import_id"] is not None:
        from sploot.commands.add_wait import wait_for_import  # imports the protocol

        code = max(code, exit_codes.NOT_FOUND if total["counts"].get("removed") else exit_codes.DONE)
        return max(code, wait_for_import(total["import_id"], timeout_s=timeout, as_json=as_json))
    return code


def _all_paths(paths: Iterable[str], paths_from: str | None, *, by_null: bool) -> Iterator[str]:
    yield from map(absolute, paths)
    if paths_from is not None:
        from sploot.path_list import read_paths

        yield from read_paths(paths_from, by_null=by_null)


def _send_in_batches(
    client: Client, paths: Iterable[str], options: Mapping[str, Any], *, as_json: bool
) -> tuple[dict[str, Any], int]:
    """Send all `paths` as one import. Return the sum of the replies and the exit code.

    Of the paths in the replies, only the folders are kept unless the output is JSON: a list may have millions of files.
    """
    total: dict[str, Any] = {"import_id": None, "counts": {}, "paths": [], "scanning": False}
    code = exit_codes.DONE
    for batch in _batches(paths):
        reply = client.request_json("POST", "/v1/add", {**options, "paths": batch, "import_id": total["import_id"]})
        code = max(code, _report_outcomes(reply["paths"]))
        counts = total["counts"] | {name: total["counts"].get(name, 0) + n for name, n in reply["counts"].items()}
        total = {
            "import_id": reply["import_id"],
            "counts": {name: number for name, number in counts.items() if number},
            "paths": total["paths"] + [each for each in reply["paths"] if as_json or each["outcome"] == "folder"],
            "scanning": total["scanning"] or reply["scanning"],
        }
    return total, code


def _batches(paths: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size_bytes = 0
    for path in paths:
        length = len(os.fsencode(path)) * ESCAPED_BYTES_PER_BYTE
        if batch and (len(batch) >= PATHS_PER_REQUEST_MAX or size_bytes + length > REQUEST_BYTES_MAX):
            yield batch
            batch, size_bytes = [], 0
        batch.append(path)
        size_bytes += length
    if batch:
        yield batch


def _report_outcomes(outcomes: Iterable[dict[str, Any]]) -> int:
    """Print what went wrong with single paths or below them; return the exit code."""
    code = exit_codes.DONE
    for each in outcomes:
        is_silent = each["outcome"] in SILENT_OUTCOMES
        if each["detail"] or not is_silent:
            print_stderr(escape_unprintable(each["detail"] or f"{each['path']}: {each['outcome']}"))
        code = code if is_silent else exit_codes.NOT_FOUND
    return code


COMMANDS = {"add": add}
