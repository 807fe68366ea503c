"""`sploot logout`: delete the stored token."""

from sploot.commands.change_request import request_and_print
from splootd.protocol import Logout


def logout() -> int:
    """Delete the stored token."""
    return request_and_print(Logout())


COMMANDS = {"logout": logout}
