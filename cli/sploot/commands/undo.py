"""`sploot undo`: restore files that were moved or trashed after upload."""

from __future__ import annotations

from sploot import exit_codes
from sploot.daemon_connect import open_client
from sploot.formatting import escape_unprintable, format_path
from sploot.terminal import print_json, print_stderr
from splootd.codec import encode
from splootd.protocol import Undo, UndoReply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import Annotated, Argument, JsonOption, Option


def undo(
    ids: Annotated[list[int] | None, Argument(metavar="ID...")] = None,
    *,
    last: Annotated[bool, Option("--last", help="Restore the file that was moved or trashed last.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Restore files that were moved or trashed after upload."""
    undone = open_client().request(Undo(tuple(ids or ()), last), UndoReply)
    if as_json:
        print_json(encode(undone))
    not_restored = [each for each in undone.paths if each.outcome != "restored"]
    for each in undone.paths:
        if each in not_restored:
            print_stderr(escape_unprintable(each.detail or f"{each.path}: {each.outcome}"))
        elif not as_json:
            print(f"Restored {format_path(each.path)}.")
    return exit_codes.NOT_FOUND if not_restored else exit_codes.DONE


COMMANDS = {"undo": undo}
