"""The names that the annotations of commands use."""

from typing import Annotated

from typer import Argument, Option

__all__ = ("Annotated", "Argument", "JsonOption", "Option", "TargetArguments")

JsonOption = Annotated[bool, Option("--json", help="Print JSON.")]
TargetArguments = Annotated[
    list[str], Argument(metavar="PATH|ID...", help="Files, or ids as printed by `sploot list`.")
]
