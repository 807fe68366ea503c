"""`sploot login`: store a token, or the command that prints one."""

from __future__ import annotations

import os
import sys

from sploot import exit_codes
from sploot.daemon_connect import open_client, restart_if_running
from sploot.terminal import print_stderr
from splootd.config import Paths
from splootd.errors import RequestError
from splootd.protocol import Login, MessageReply

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
        return _sign_in(Login(token_command=token_command))
    if not token_stdin and not sys.stdin.isatty():
        raise RequestError(
            "no_token",
            "cannot prompt for a token: standard input is not a terminal",
            "use --token-stdin or --token-command",
        )
    from getpass import getpass

    token = sys.stdin.readline(TOKEN_CHARS_MAX) if token_stdin else getpass("Token (not shown): ")
    return _sign_in(Login(token=token.strip()))


def _sign_in(request: Login) -> int:
    """Send `request`, and restart the daemon if it opens the queue of another account."""
    reply = open_client().request(request, MessageReply)
    print(reply.message)
    if reply.restart and restart_if_running(Paths.from_environ(os.environ)):
        print_stderr("The daemon restarted with the queue of this account.")
    return exit_codes.DONE


COMMANDS = {"login": login}
