"""Options and arguments that several commands share."""

from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TargetArguments = Annotated[
    list[str], typer.Argument(metavar="PATH|ID...", help="Files, or ids as printed by `sploot list`.")
]
