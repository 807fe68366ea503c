"""`sploot logout`: delete the stored token."""

from sploot.commands.change_request import request_and_print
from splootd.protocol import Logout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typer import Typer


def logout() -> int:
    return request_and_print(Logout())


def register(app: "Typer") -> None:
    @app.command("logout")
    def command() -> int:
        """Delete the stored token."""
        return logout()
