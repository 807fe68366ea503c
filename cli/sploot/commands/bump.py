"""`sploot bump`: move files to the front of the queue."""

from sploot.commands.change_request import request_change
from sploot.paths import parse_target
from splootd.protocol import Bump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typer import Typer


def bump(targets: list[str], *, as_json: bool = False) -> int:
    return request_change(Bump(tuple(map(parse_target, targets))), "moved to the front of the queue", as_json=as_json)


def register(app: "Typer") -> None:
    from sploot.typer_options import JsonOption, TargetArguments

    @app.command("bump")
    def command(targets: TargetArguments, as_json: JsonOption = False) -> int:
        """Move files to the front of the queue."""
        return bump(targets, as_json=as_json)
