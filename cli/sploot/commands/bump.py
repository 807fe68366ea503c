"""`sploot bump`: move files to the front of the queue."""

from __future__ import annotations

from sploot.commands.change_request import request_change
from sploot.paths import parse_target
from splootd.protocol import Bump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import JsonOption, TargetArguments


def bump(targets: TargetArguments, *, as_json: JsonOption = False) -> int:
    """Move files to the front of the queue."""
    return request_change(Bump(tuple(map(parse_target, targets))), "moved to the front of the queue", as_json=as_json)


COMMANDS = {"bump": bump}
