"""`sploot list`: list items."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace

from sploot import exit_codes, render
from sploot.client import ATTEMPTS_MAX
from sploot.connection import ConnectionLostError
from sploot.daemon_connect import open_client
from sploot.paths import absolute
from sploot.terminal import get_style
from splootd.codec import decode
from splootd.errors import SplootError
from splootd.protocol import ItemRow, ListItems

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import (
        Annotated,
        JsonLinesOption,
        JsonOption,
        Option,
        complete_error_code,
        complete_folder,
        complete_state,
    )

NO_LIMIT = (1 << 63) - 1


def stream_json_lines(request: ListItems) -> Iterator[str]:
    """Yield up to `request.limit` items as JSON while they arrive.

    If the daemon dies in between, the list continues with the next daemon after the last row that arrived: the list is
    paged by key, so nothing is skipped or repeated.
    """
    remaining, before = request.limit, request.before
    for _ in range(ATTEMPTS_MAX):
        line = ""
        try:
            with closing(open_client()) as client:
                for line in client.stream_lines(replace(request, lines=True, before=before, limit=remaining)):
                    yield line
                    remaining -= 1
        except ConnectionLostError:
            before = json.loads(line)["id"] if line else before
        else:
            return
        if not remaining:
            return
    raise SplootError(f"the daemon closed the connection in the middle of a list, {ATTEMPTS_MAX} times", "sploot logs")


def stream_items(request: ListItems) -> Iterator[ItemRow]:
    return (decode(ItemRow, json.loads(line)) for line in stream_json_lines(request))


def print_json_rows(rows: Iterable[str], *, as_lines: bool) -> None:
    """Print encoded rows as they arrive: one per line, or as one array."""
    if as_lines:
        for row in rows:
            print(row)
        return
    print("[", end="")
    for nth, row in enumerate(rows):
        print(",\n " if nth else "", row, sep="", end="")
    print("]")


def list_items(
    *,
    state: Annotated[
        str | None,
        Option(
            metavar="STATE",
            autocompletion=complete_state,
            help="Only this state: pending, uploading, embedding, ready, failed, missing or skipped.",
        ),
    ] = None,
    folder: Annotated[
        str | None, Option(metavar="PATH", autocompletion=complete_folder, help="Only files of this watched folder.")
    ] = None,
    error_code: Annotated[
        str | None,
        Option("--error", metavar="CODE", autocompletion=complete_error_code, help="Only files with this error code."),
    ] = None,
    limit: Annotated[int, Option(min=1, help="Maximum number of items.")] = 100,
    as_json: JsonOption = False,
    as_json_lines: JsonLinesOption = False,
) -> int:
    """List items, newest first."""
    request = ListItems(state, absolute(folder) if folder is not None else None, error_code, None, limit)
    if as_json or as_json_lines:
        print_json_rows(stream_json_lines(request), as_lines=as_json_lines)
    else:
        style = get_style()
        for row in stream_items(request):
            print(render.render_item(row, style))
    return exit_codes.DONE


COMMANDS = {"list": list_items}
