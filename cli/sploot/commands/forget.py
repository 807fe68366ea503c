"""`sploot forget`: remove files from the queue."""

from sploot.commands.change_request import request_change
from sploot.paths import parse_target
from splootd.protocol import Forget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typer import Typer


def forget(targets: list[str], *, as_json: bool = False) -> int:
    return request_change(Forget(tuple(map(parse_target, targets))), "removed from the queue", as_json=as_json)


def register(app: "Typer") -> None:
    from sploot.typer_options import JsonOption, TargetArguments

    @app.command("forget")
    def command(targets: TargetArguments, as_json: JsonOption = False) -> int:
        """Remove files from the queue, never from the disk or the server."""
        return forget(targets, as_json=as_json)
