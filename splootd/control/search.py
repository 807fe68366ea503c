"""Handler of `sploot search`."""

import os
from urllib.parse import quote

from splootd import protocol
from splootd.control.context import Context
from splootd.core.item import State
from splootd.remote.responses import Match

SEARCH_MAX = 100


async def search_library(context: Context, request: protocol.Search) -> protocol.Hits:
    """Search the library and add the path of the local file to each hit that has one. Best hits come first."""
    limit = min(max(request.limit, 1), SEARCH_MAX)
    matches = (await context.client.search(request.text, limit))[:limit]  # Sploot returns at least ten
    paths = await context.read_queries.paths_by_asset_id([match.asset_id for match in matches])
    hits = tuple(
        protocol.Hit(
            asset_id=match.asset_id,
            score=match.score,
            path=os.fsdecode(paths[match.asset_id]) if match.asset_id in paths else None,
            url=_browser_url(context, match),
            text=match.text,
        )
        for match in matches
    )
    counts = (await context.read_queries.counts()).by_state
    unfinished = sum(counts.get(state, 0) for state in (State.PENDING, State.UPLOADING, State.EMBEDDING))
    return protocol.Hits(hits, _incomplete_note(unfinished) if unfinished else None)


def _incomplete_note(unfinished: int) -> str:
    files = "1 file is" if unfinished == 1 else f"{unfinished:,} files are"
    return f"{files} still being processed, so results are incomplete"


def image_path(asset_id: str) -> str:
    """Return the path of an asset's image in the web UI."""
    return f"/v1/library/{quote(asset_id, safe='')}/original"


def _browser_url(context: Context, match: Match) -> str | None:
    """Return the URL that shows a match in a browser: in the web UI, unless the image has a public URL.

    The local server is not reachable over the network, and a remote server requires a token that no browser has.
    """
    is_local, origin = context.config.is_local, context.web_ui.origin
    is_public = not is_local and not match.url.startswith(f"{context.config.server.rstrip('/')}/")
    if origin is None or is_public:
        return None if is_local else match.url
    return f"{origin}{image_path(match.asset_id)}"
