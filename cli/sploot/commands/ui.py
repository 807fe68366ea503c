"""`sploot ui`: open the web UI."""

from __future__ import annotations

import sys

from sploot import exit_codes
from sploot.daemon_connect import open_client
from sploot.terminal import print_json, print_stderr
from splootd.codec import encode
from splootd.protocol import OpenUi, UiUrl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import Annotated, JsonOption, Option


def ui(
    *,
    open_browser: Annotated[bool, Option(" /--no-open", help="Only print the URL.")] = True,
    reset: Annotated[bool, Option("--reset", help="Sign out all browsers that were connected before.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Open the web UI, with the queue and the library, in a browser."""
    address = open_client().request(OpenUi(reset), UiUrl)
    if as_json:
        print_json(encode(address))
    else:
        print(address.url)
    sys.stdout.flush()
    if open_browser and not _open_in_browser(address.url):
        print_stderr("No browser could be opened. Open the URL yourself; it is valid once, for one minute.")
    return exit_codes.DONE


def _open_in_browser(url: str) -> bool:
    import webbrowser

    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False


COMMANDS = {"ui": ui}
