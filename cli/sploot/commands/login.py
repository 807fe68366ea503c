"""`sploot login`: store a token, or the command that prints one."""

from __future__ import annotations

import sys

from sploot.commands.change_request import request_and_print
from splootd.errors import RequestError
from splootd.protocol import Login

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import Annotated, Option

TOKEN_CHARS_MAX = 65_536


def login(
    *,
    token_stdin: Annotated[bool, Option("--token-stdin", help="Read the token from standard input.")] = False,
    token_command: Annotated[str, Option(metavar="CMD", help="Run CMD for a token whenever one is needed.")] = "",
) -> int:
    """Store a token for the server."""
    if token_command:
        return request_and_print(Login(token_command=token_command))
    if not token_stdin and not sys.stdin.isatty():
        raise RequestError(
            "no_token",
            "cannot prompt for a token: standard input is not a terminal",
            "use --token-stdin or --token-command",
        )
    from getpass import getpass

    token = sys.stdin.readline(TOKEN_CHARS_MAX) if token_stdin else getpass("Token (not shown): ")
    return request_and_print(Login(token=token.strip()))


COMMANDS = {"login": login}
