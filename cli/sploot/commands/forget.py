"""`sploot forget`: remove files from the queue."""

from __future__ import annotations

from sploot.commands.change_request import request_change
from sploot.paths import parse_target
from splootd.protocol import Forget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import JsonOption, TargetArguments


def forget(targets: TargetArguments, *, as_json: JsonOption = False) -> int:
    """Remove files from the queue, never from the disk or the server."""
    return request_change(Forget(tuple(map(parse_target, targets))), "removed from the queue", as_json=as_json)


COMMANDS = {"forget": forget}
