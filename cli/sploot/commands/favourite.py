"""`sploot favourite`: mark pictures in the library as favourites."""

from __future__ import annotations

from sploot.commands.asset_request import edit_assets
from splootd.protocol import EditAssets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import Annotated, AssetArguments, JsonOption, Option


def favourite(
    targets: AssetArguments,
    *,
    remove: Annotated[bool, Option("--remove", help="Remove the mark.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Mark pictures in the library as favourites."""
    return edit_assets(EditAssets(tuple(targets), favorite=not remove), as_json=as_json)


COMMANDS = {"favourite": favourite}
