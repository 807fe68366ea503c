"""`sploot links`: list the share links."""

from __future__ import annotations

from sploot import exit_codes
from sploot.daemon_connect import open_client
from sploot.formatting import escape_unprintable, format_time
from sploot.terminal import print_json, print_stderr
from splootd.codec import encode
from splootd.protocol import GetShareLinks, SharedAssets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import JsonOption


def links(*, as_json: JsonOption = False) -> int:
    """List the pictures that you share, newest first, with their links."""
    shared = open_client().request(GetShareLinks(), SharedAssets).assets
    if as_json:
        print_json([encode(each) for each in shared])
        return exit_codes.DONE
    for each in shared:
        since = f"  since {format_time(each.created_at)[:10]}" if each.created_at else ""
        print(f"{escape_unprintable(each.url or '')}  {escape_unprintable(each.name)}{since}")
    if not shared:
        print_stderr("You share no pictures. To share one: sploot share N|PATH|ID")
    return exit_codes.DONE


COMMANDS = {"links": links}
