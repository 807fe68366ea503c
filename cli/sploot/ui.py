"""`sploot ui`: the way from a terminal to the page."""

import sys

from sploot import exits
from sploot.reach import client
from sploot.terminal import complain, print_json
from splootd.protocol import OpenPage, PageAddress
from splootd.wire import encode


def ui(*, is_opening: bool = True, reset: bool = False, as_json: bool = False) -> int:
    """Say where the page is, and open it."""
    address = client().ask(OpenPage(reset), PageAddress)
    if as_json:
        print_json(encode(address))
    else:
        print(address.url)
    sys.stdout.flush()
    if is_opening and not _open(address.url):
        complain("No browser could be opened. Open that address yourself: it is good once, for a minute.")
    return exits.DONE


def _open(url: str) -> bool:
    import webbrowser  # noqa: PLC0415 - a command that opens nothing is quicker without

    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False
