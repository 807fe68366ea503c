"""`sploot retry`: put failed files back in the queue."""

from __future__ import annotations

from sploot.commands.change_request import request_change
from splootd.protocol import Retry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import Annotated, Argument, JsonOption, Option, complete_error_code


def retry(
    ids: Annotated[list[int] | None, Argument(metavar="ID...")] = None,
    *,
    error_code: Annotated[
        str | None,
        Option(
            "--error",
            metavar="CODE",
            autocompletion=complete_error_code,
            help="Retry all that ended with this error code.",
        ),
    ] = None,
    retry_all: Annotated[
        bool, Option("--all", help="Retry all failed files except those that must change first.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Put failed files back in the queue, ahead of all others."""
    return request_change(Retry(tuple(ids or ()), error_code, retry_all), "back in the queue", as_json=as_json)


COMMANDS = {"retry": retry}
