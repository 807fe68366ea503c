"""`sploot pause`: stop uploading until `sploot resume`."""

from sploot.commands.change_request import request_and_print
from splootd.protocol import Pause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typer import Typer


def pause() -> int:
    return request_and_print(Pause())


def register(app: "Typer") -> None:
    @app.command("pause")
    def command() -> int:
        """Pause uploads (stays paused after a restart)."""
        return pause()
