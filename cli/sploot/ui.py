"""`sploot ui`: the way from a terminal to the page."""

import sys
import webbrowser

from sploot import exits
from sploot.reach import client
from sploot.terminal import complain, print_json
from splootd.protocol import OpenPage, PageAddress
from splootd.wire import encode


def ui(*, is_opening: bool, reset: bool, as_json: bool) -> int:
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
    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False
