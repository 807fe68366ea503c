"""`sploot failed`: list failed files."""

from __future__ import annotations

from sploot import exit_codes, render
from sploot.commands.list import NO_LIMIT, list_items, stream_items
from sploot.terminal import get_style, print_stderr
from splootd.protocol import ListItems

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import JsonLinesOption, JsonOption

FAILED_SHOWN_MAX = 100


def failed(*, as_json: JsonOption = False, as_json_lines: JsonLinesOption = False) -> int:
    """List failed files, each with its error and its remedy."""
    if as_json or as_json_lines:
        return list_items(state="failed", limit=NO_LIMIT, as_json=as_json, as_json_lines=as_json_lines)
    failed_items = list(stream_items(ListItems(state="failed", limit=FAILED_SHOWN_MAX)))
    for line in render.render_failed(failed_items, get_style()):
        print(line)
    if failed_items:
        print_stderr(
            "Once the causes are mended: sploot retry --all. To remove a file from the queue: sploot forget ID"
        )
    else:
        print_stderr("No failed files.")
    return exit_codes.DONE


COMMANDS = {"failed": failed}
