"""Answers about what is in the library."""

import os
from urllib.parse import quote

from splootd import protocol
from splootd.control.parts import Parts
from splootd.core.item import State
from splootd.remote.answers import Match

SEARCH_MAX = 100


async def search(parts: Parts, request: protocol.Search) -> protocol.Hits:
    """What matches, best first, with the local file where there is one."""
    limit = min(max(request.limit, 1), SEARCH_MAX)
    matches = (await parts.server.search(request.text, limit))[:limit]  # Sploot gives ten at least
    paths = await parts.listing.by_assets([match.asset_id for match in matches])
    hits = tuple(
        protocol.Hit(
            asset_id=match.asset_id,
            score=match.score,
            path=os.fsdecode(paths[match.asset_id]) if match.asset_id in paths else None,
            url=_link(parts, match),
            text=match.text,
        )
        for match in matches
    )
    counts = (await parts.listing.counts()).by_state
    on_the_way = sum(counts.get(state, 0) for state in (State.PENDING, State.UPLOADING, State.EMBEDDING))
    return protocol.Hits(hits, f"{on_the_way:,} more are on their way into the library" if on_the_way else None)


def picture_path(asset_id: str) -> str:
    """Where the page has the picture of an asset."""
    return f"/v1/library/{quote(asset_id, safe='')}/original"


def _link(parts: Parts, match: Match) -> str | None:
    """Where a browser shows it: on the page, if the server itself has it.

    The embedded library is on no network, and any other server may want a token that no browser has.
    """
    is_local, origin = parts.config.is_local, parts.page.origin
    is_public = not is_local and not match.url.startswith(f"{parts.config.server.rstrip('/')}/")
    if origin is None or is_public:
        return None if is_local else match.url
    return f"{origin}{picture_path(match.asset_id)}"
