"""`sploot folders`: list watched folders, or stop watching one."""

from sploot import exit_codes, render
from sploot.commands.change_request import request_and_print
from sploot.daemon_connect import open_client
from sploot.paths import absolute
from sploot.terminal import get_style, print_json
from splootd.codec import encode
from splootd.protocol import Folders, GetFolders, RemoveFolder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typer import Typer


def folders(*, as_json: bool = False) -> int:
    rows = open_client().request(GetFolders(), Folders).folders
    if as_json:
        print_json([encode(row) for row in rows])
    else:
        print("\n".join(render.render_folders(rows, get_style())))
    return exit_codes.DONE


def remove_folder(path: str) -> int:
    return request_and_print(RemoveFolder(absolute(path)))


def register(app: "Typer") -> None:
    from typing import Annotated

    import typer

    from sploot.typer_options import JsonOption

    group = typer.Typer(help="List the watched folders and their health.", rich_markup_mode=None)
    app.add_typer(group, name="folders", invoke_without_command=True)

    @group.callback()
    def command(context: typer.Context, as_json: JsonOption = False) -> int:
        return exit_codes.DONE if context.invoked_subcommand is not None else folders(as_json=as_json)

    @group.command("remove")
    def remove(path: Annotated[str, typer.Argument(metavar="PATH")]) -> int:
        """Stop watching a folder; its queued files stay queued."""
        return remove_folder(path)
