"""`sploot retry`: put failed files back in the queue."""

from collections.abc import Sequence

from sploot.commands.change_request import request_change
from splootd.protocol import Retry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typer import Typer


def retry(
    ids: Sequence[int] = (), *, error_code: str | None = None, retry_all: bool = False, as_json: bool = False
) -> int:
    return request_change(Retry(tuple(ids), error_code, retry_all), "back in the queue", as_json=as_json)


def register(app: "Typer") -> None:
    from typing import Annotated

    import typer

    from sploot.typer_options import JsonOption

    @app.command("retry")
    def command(
        ids: Annotated[list[int] | None, typer.Argument(metavar="ID...")] = None,
        error_code: Annotated[
            str | None, typer.Option("--error", metavar="CODE", help="Retry all that failed with this error code.")
        ] = None,
        retry_all: Annotated[bool, typer.Option("--all", help="Retry all failed files.")] = False,
        as_json: JsonOption = False,
    ) -> int:
        """Put failed files back in the queue, ahead of all others."""
        return retry(ids or [], error_code=error_code, retry_all=retry_all, as_json=as_json)
