"""`sploot resume`: continue after `sploot pause`."""

from sploot.commands.change_request import request_and_print
from splootd.protocol import Resume


def resume() -> int:
    """Resume uploads."""
    return request_and_print(Resume())


COMMANDS = {"resume": resume}
