"""Routes of search and similar images."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.domain.asset_query import AssetFilter
from sploot_server.domain.entities import InvalidInput
from sploot_server.http import serializers
from sploot_server.http.request_body import read_object
from sploot_server.http.routes.params import (
    PAGE_MAX,
    get_owner,
    original_url,
    parse_filter,
    parse_flag,
    parse_whole_number,
)
from sploot_server.library.search import Match, Search

QUERY_CHARS_MAX = 500
OFFSET_MAX = 1000
THRESHOLD_DEFAULT = 0.2  # as in Sploot
RESULTS_MIN = 10  # as in Sploot: results below the threshold fill the first page up to this number


class SearchRoutes:
    """Routes of search."""

    def __init__(self, search: Search) -> None:
        self._search = search

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/search", self.search, methods=["POST"]),
            Route("/api/assets/{id}/similar", self.similar, methods=["GET"]),
        ]

    async def search(self, request: Request) -> Response:
        began = time.perf_counter()
        parsed = SearchRequest.from_json(await read_object(request, malformed="Missing or invalid query parameter"))
        limit = max(parsed.limit, RESULTS_MIN)
        asset_filter = replace(parsed.filter, owner=get_owner(request))
        matches = await self._search.search(parsed.query, limit=limit, asset_filter=asset_filter, offset=parsed.offset)
        above_threshold = [match for match in matches.matches if parsed.accepts(match)]
        below_threshold = [match for match in matches.matches if not parsed.accepts(match)]
        filler = below_threshold[: max(RESULTS_MIN - len(above_threshold), 0)] if parsed.offset == 0 else []
        shown = [*above_threshold, *filler]
        threshold = THRESHOLD_DEFAULT if parsed.threshold is None else parsed.threshold
        body = {
            "results": _matches_to_json(request, above_threshold)
            + _matches_to_json(request, filler, below_threshold=True),
            "query": parsed.query,
            "total": len(shown),
            "limit": limit,
            "requestedLimit": parsed.limit,
            "offset": parsed.offset,
            "hasMore": matches.has_more and bool(above_threshold),
            "threshold": threshold,
            "requestedThreshold": threshold,
            "processingTime": round((time.perf_counter() - began) * 1000),
            "embeddingModel": matches.model,
            "cached": False,
            "thresholdFallback": bool(filler),
            "byMeaning": matches.model is not None,
        }
        return JSONResponse(body)

    async def similar(self, request: Request) -> Response:
        """Return near-duplicates with a similarity of 1 first, then assets with a similar embedding."""
        limit = min(max(parse_whole_number(request.query_params, "limit", 30), 1), PAGE_MAX)
        matches = await self._search.find_similar(request.path_params["id"], limit=limit, owner=get_owner(request))
        results = _matches_to_json(request, matches.matches)
        return JSONResponse({"results": results, "total": len(results), "limit": limit, "hasMore": matches.has_more})


def _matches_to_json(
    request: Request, matches: Sequence[Match], *, below_threshold: bool = False
) -> list[dict[str, Any]]:
    return [
        serializers.match_to_json(match, original_url(request, match.asset), below_threshold=below_threshold)
        for match in matches
    ]


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """Body of POST /api/search. `offset` and the filters extend Sploot's API.

    Filters: `favorite`, a boolean, and those of `parse_filter`. `offset` skips the best matches, for paging; `hasMore`
    in the response is true if another page exists. Without a `threshold`, the results are those that are close to the
    query (`library/search.py`); `belowThreshold` marks the others.
    """

    query: str
    limit: int
    offset: int
    threshold: float | None
    filter: AssetFilter

    def accepts(self, match: Match) -> bool:
        """Return whether an asset is a result, and not merely one of the nearest."""
        return match.is_close if self.threshold is None else match.similarity >= self.threshold

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "SearchRequest":
        """Parse a body. Raise InvalidInput."""
        query = body.get("query")
        if not isinstance(query, str) or not query.strip():
            raise InvalidInput("Missing or invalid query parameter")
        if len(query) > QUERY_CHARS_MAX:
            raise InvalidInput(f"Query text too long (max {QUERY_CHARS_MAX} characters)")
        limit, offset, threshold = body.get("limit", 30), body.get("offset", 0), body.get("threshold")
        if type(limit) is not int or limit < 1:
            raise InvalidInput("limit must be a whole number, 1 or more")
        if type(offset) is not int or not 0 <= offset <= OFFSET_MAX:
            raise InvalidInput(f"offset must be a whole number from 0 to {OFFSET_MAX}")
        if threshold is not None and (type(threshold) not in (int, float) or not 0 <= threshold <= 1):
            raise InvalidInput("threshold must be a number from 0 to 1")
        asset_filter = replace(parse_filter(body), favorite=parse_flag(body, "favorite"))
        return cls(query, min(limit, PAGE_MAX), offset, threshold, asset_filter)
