"""`sploot backup`: copy the queue and the ledger."""

from __future__ import annotations

from sploot.commands.change_request import request_and_print
from sploot.paths import absolute
from splootd.protocol import Backup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import Annotated, Argument


def backup(file: Annotated[str, Argument(metavar="FILE")]) -> int:
    """Copy the queue and the ledger to a file while the daemon runs."""
    return request_and_print(Backup(absolute(file)))


COMMANDS = {"backup": backup}
