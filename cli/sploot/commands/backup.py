"""`sploot backup`: copy the queue and the ledger."""

from sploot.commands.change_request import request_and_print
from sploot.paths import absolute
from splootd.protocol import Backup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typer import Typer


def backup(file: str) -> int:
    return request_and_print(Backup(absolute(file)))


def register(app: "Typer") -> None:
    from typing import Annotated

    import typer

    @app.command("backup")
    def command(file: Annotated[str, typer.Argument(metavar="FILE")]) -> int:
        """Copy the queue and the ledger to a file while the daemon runs."""
        return backup(file)
