"""`sploot tag`: add and remove tags of pictures in the library."""

from __future__ import annotations

from sploot.commands.asset_request import edit_assets
from splootd.protocol import EditAssets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import Annotated, Argument, AssetArguments, JsonOption


def add_tag(
    tag: Annotated[str, Argument(metavar="TAG")], targets: AssetArguments, *, as_json: JsonOption = False
) -> int:
    """Add a tag to pictures in the library."""
    return edit_assets(EditAssets(tuple(targets), add_tags=(tag,)), as_json=as_json)


def remove_tag(
    tag: Annotated[str, Argument(metavar="TAG")], targets: AssetArguments, *, as_json: JsonOption = False
) -> int:
    """Remove a tag from pictures in the library."""
    return edit_assets(EditAssets(tuple(targets), remove_tags=(tag,)), as_json=as_json)


COMMANDS = {"tag add": add_tag, "tag remove": remove_tag}
