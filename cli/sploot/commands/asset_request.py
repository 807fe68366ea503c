"""Sends a change of pictures in the library to the daemon and prints the result."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sploot import exit_codes
from sploot.asset_targets import parse_asset_target
from sploot.daemon_connect import open_client
from sploot.formatting import escape_unprintable
from sploot.terminal import print_json, print_stderr
from splootd.codec import encode
from splootd.protocol import EditAssets, EditedAsset, EditedAssets


def edit_assets(request: EditAssets, *, as_json: bool) -> int:
    """Send `request`, whose targets are as the user typed them, and print each picture as it is now."""
    asked = {parse_asset_target(each): each for each in request.targets}
    reply = open_client().request(replace(request, targets=tuple(asked)), EditedAssets)
    if as_json:
        print_json([encode(each) for each in reply.assets])
    else:
        for each in reply.assets:
            print(_describe(each))
    return report_missing(reply.not_found, asked) if reply.not_found else exit_codes.DONE


def report_missing(not_found: Sequence[str], asked: Mapping[str, str]) -> int:
    """Print the targets that the library does not have, as the user typed them; return the exit code."""
    for target in not_found:
        print_stderr(f"{escape_unprintable(asked[target])} is not in the library")
    return exit_codes.NOT_FOUND


def _describe(asset: EditedAsset) -> str:
    favourite = ", a favourite" if asset.favorite else ""
    tags = ", ".join(escape_unprintable(tag) for tag in asset.tags)
    return f"{escape_unprintable(asset.name)}{favourite}: {f'tags {tags}' if tags else 'no tags'}"
