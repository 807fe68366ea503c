"""`sploot top`: the terminal UI."""

import os
import sys

from sploot import exit_codes
from sploot.terminal import supports_ansi
from splootd.config import Paths
from splootd.errors import RequestError


def top() -> int:
    """Show a live full-screen view of the uploads and the queue."""
    if not (sys.stdin.isatty() and supports_ansi(sys.stdout) and supports_ansi(sys.stderr)):
        raise RequestError("bad_terminal", "sploot top needs a terminal", "sploot status --follow")
    from sploot.tui.app import TopApp  # Textual takes a fifth of a second to import
    from sploot.tui.daemon_link import DaemonLink

    app = TopApp(DaemonLink(Paths.from_environ(os.environ)))
    app.run()
    # run() prints the traceback of an unexpected error and returns normally; `main` prints one sentence instead.
    if app._exception is not None:  # noqa: SLF001 - Textual has no public attribute for it
        raise app._exception  # noqa: SLF001 - as above
    return exit_codes.DONE


COMMANDS = {"top": top}
