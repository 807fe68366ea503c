"""`sploot login`: store a token, or the command that prints one."""

import sys

from sploot.commands.change_request import request_and_print
from splootd.errors import RequestError
from splootd.protocol import Login

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typer import Typer

TOKEN_CHARS_MAX = 65_536


def login(*, token_stdin: bool, token_command: str) -> int:
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


def register(app: "Typer") -> None:
    from typing import Annotated

    import typer

    @app.command("login")
    def command(
        token_stdin: Annotated[bool, typer.Option("--token-stdin", help="Read the token from standard input.")] = False,
        token_command: Annotated[
            str, typer.Option(metavar="CMD", help="Run CMD for a token whenever one is needed.")
        ] = "",
    ) -> int:
        """Store a token for the server."""
        return login(token_stdin=token_stdin, token_command=token_command)
