"""`sploot folders`: list watched folders, or stop watching one."""

from __future__ import annotations

from sploot import exit_codes, render
from sploot.commands.change_request import request_and_print
from sploot.daemon_connect import open_client
from sploot.paths import absolute
from sploot.terminal import get_style, print_json
from splootd.codec import encode
from splootd.protocol import Folders, GetFolders, RemoveFolder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import Annotated, Argument, JsonOption, complete_folder


def folders(*, as_json: JsonOption = False) -> int:
    rows = open_client().request(GetFolders(), Folders).folders
    if as_json:
        print_json([encode(row) for row in rows])
    else:
        print("\n".join(render.render_folders(rows, get_style())))
    return exit_codes.DONE


def remove_folder(path: Annotated[str, Argument(metavar="PATH", autocompletion=complete_folder)]) -> int:
    """Stop watching a folder; its queued files stay queued."""
    return request_and_print(RemoveFolder(absolute(path)))


COMMANDS = {"folders": folders, "folders remove": remove_folder}
