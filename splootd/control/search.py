"""Handler of `sploot search`."""

import os
from collections.abc import Sequence
from urllib.parse import quote

from splootd import protocol
from splootd.control.context import Context
from splootd.core.item import State
from splootd.errors import RequestError
from splootd.remote.responses import Match

SEARCH_MAX = 100
NEAREST_MAX = 3
TAGS_NAMED_MAX = 20
SORTS = ("best", "newest", "oldest")


async def search_library(context: Context, request: protocol.Search) -> protocol.Hits:
    """Search the library and add the path of the local file to each hit that has one."""
    if request.sort not in SORTS:
        raise RequestError("bad_sort", f"unknown order {request.sort[:40]!r}", f"use one of: {', '.join(SORTS)}")
    limit = min(max(request.limit, 1), SEARCH_MAX)
    filters = await _find_filters(context, request)
    # A server may ignore filters and knows no order, so both are applied here, to as many matches as it returns.
    is_plain = not filters and request.sort == "best"
    matches, nearest = await context.client.search(request.text, limit if is_plain else SEARCH_MAX, filters)
    matches, nearest = ([each for each in found if _is_selected(each, request)] for found in (matches, nearest))
    if request.sort != "best":
        matches.sort(key=lambda match: match.created_at or "", reverse=request.sort == "newest")
    hits = await _find_hits(context, matches[:limit])  # Sploot returns at least ten
    counts = (await context.read_queries.counts()).by_state
    unfinished = sum(counts.get(state, 0) for state in (State.PENDING, State.UPLOADING, State.EMBEDDING))
    note = _incomplete_note(unfinished) if unfinished else None
    return protocol.Hits(hits, note, () if hits else await _find_hits(context, nearest[:NEAREST_MAX]))


async def _find_filters(context: Context, request: protocol.Search) -> dict[str, str | bool]:
    """Return the fields of the request to the server. Raises RequestError for a tag that the library does not have."""
    filters: dict[str, str | bool] = {"favorite": True} if request.favorite else {}
    if request.tag is None:
        return filters
    tags = {tag.name.casefold(): tag for tag, _ in await context.library_client.list_tags()}
    tag = tags.get(request.tag.casefold())
    if tag is None:
        names = ", ".join(sorted(each.name for each in tags.values())[:TAGS_NAMED_MAX])
        hint = f"its tags: {names}" if names else "to add one: sploot tag add TAG N|PATH|ID"
        raise RequestError("not_found", f"the library has no tag {request.tag[:200]!r}", hint, status=404)
    return {**filters, "tagId": tag.id}


def _is_selected(match: Match, request: protocol.Search) -> bool:
    has_tag = request.tag is None or request.tag.casefold() in (name.casefold() for name in match.tags)
    return has_tag and (match.is_favorite or not request.favorite)


async def _find_hits(context: Context, matches: Sequence[Match]) -> tuple[protocol.Hit, ...]:
    """Return the matches with the paths of their local files."""
    paths = await context.read_queries.paths_by_asset_id([match.asset_id for match in matches])
    return tuple(
        protocol.Hit(
            asset_id=match.asset_id,
            score=match.score,
            path=os.fsdecode(paths[match.asset_id]) if match.asset_id in paths else None,
            url=_browser_url(context, match),
            text=match.text,
            reason=match.reason,
            words=match.words,
            tags=match.tags,
            favorite=match.is_favorite,
            created_at=match.created_at,
        )
        for match in matches
    )


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
