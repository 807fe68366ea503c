"""`sploot resume`: continue after `sploot pause`."""

from sploot.commands.change_request import request_and_print
from splootd.protocol import Resume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typer import Typer


def resume() -> int:
    return request_and_print(Resume())


def register(app: "Typer") -> None:
    @app.command("resume")
    def command() -> int:
        """Resume uploads."""
        return resume()
