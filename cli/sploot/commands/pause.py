"""`sploot pause`: stop uploading until `sploot resume`."""

from sploot.commands.change_request import request_and_print
from splootd.protocol import Pause


def pause() -> int:
    """Pause uploads (stays paused after a restart)."""
    return request_and_print(Pause())


COMMANDS = {"pause": pause}
