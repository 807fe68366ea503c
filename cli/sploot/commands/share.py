"""`sploot share`: create or revoke links that show a picture to anyone who has them."""

from __future__ import annotations

from urllib.parse import urlsplit

from sploot import exit_codes
from sploot.asset_targets import parse_asset_target
from sploot.commands.asset_request import report_missing
from sploot.daemon_connect import open_client
from sploot.formatting import escape_unprintable
from sploot.terminal import print_json, print_stderr
from splootd.codec import encode
from splootd.protocol import Share, SharedAssets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import Annotated, AssetArguments, JsonOption, Option

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")


def share(
    targets: AssetArguments,
    *,
    stop: Annotated[bool, Option("--stop", help="Revoke the links.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Print a link to a picture that opens for anyone who has it, without an account."""
    asked = {parse_asset_target(each): each for each in targets}
    reply = open_client().request(Share(tuple(asked), stop), SharedAssets)
    if as_json:
        print_json([encode(each) for each in reply.assets])
    for each in () if as_json else reply.assets:
        if each.url is None:
            print(f"{escape_unprintable(each.name)} is no longer shared.")
        else:
            print(escape_unprintable(each.url))
    hosts = {urlsplit(each.url).hostname for each in reply.assets if each.url}
    if hosts & {*LOOPBACK_HOSTS}:
        print_stderr("note: the server's address is this computer's own, so the link opens only here")
    return report_missing(reply.not_found, asked) if reply.not_found else exit_codes.DONE


COMMANDS = {"share": share}
