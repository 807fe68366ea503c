"""`sploot top`: everything that goes on, on the whole screen."""

import os
import sys

from sploot import exits
from sploot.terminal import obeys
from splootd.config import Paths
from splootd.errors import RequestError


def top() -> int:
    """Show it until somebody quits; RequestError where there is no screen."""
    if not (sys.stdin.isatty() and obeys(sys.stdout) and obeys(sys.stderr)):
        raise RequestError("bad_terminal", "a whole terminal is needed for this", "sploot status --follow")
    from sploot.topview.app import Top  # noqa: PLC0415 - Textual takes a fifth of a second to import
    from sploot.topview.link import Link  # noqa: PLC0415 - as above

    screen = Top(Link(Paths.find(os.environ)))
    screen.run()
    if screen._exception is not None:  # noqa: SLF001 - Textual keeps it to itself, and would print it
        raise screen._exception  # noqa: SLF001 - as above
    return exits.DONE
