"""The names that the annotations of commands use."""

from typing import Annotated

from typer import Argument, Option

from sploot.completions import (
    complete_error_code,
    complete_folder,
    complete_key,
    complete_level,
    complete_priority,
    complete_sort,
    complete_state,
)

__all__ = [
    "Annotated",
    "Argument",
    "AssetArguments",
    "JsonLinesOption",
    "JsonOption",
    "KeyArgument",
    "Option",
    "TargetArguments",
    "complete_error_code",
    "complete_folder",
    "complete_key",
    "complete_level",
    "complete_priority",
    "complete_sort",
    "complete_state",
]

JsonOption = Annotated[bool, Option("--json", help="Print JSON.")]
JsonLinesOption = Annotated[bool, Option("--json-lines", help="Print JSON, one object per line.")]
KeyArgument = Annotated[str, Argument(metavar="KEY", autocompletion=complete_key)]
TargetArguments = Annotated[
    list[str], Argument(metavar="PATH|ID...", help="Files, or ids as printed by `sploot list`.")
]
AssetArguments = Annotated[
    list[str],
    Argument(metavar="N|PATH|ID...", help="Numbers of matches of the last search, local files, or ids in the library."),
]
