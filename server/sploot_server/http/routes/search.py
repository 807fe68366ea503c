"""Routes of search and similar images."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.domain.entities import InvalidInput
from sploot_server.http import serializers
from sploot_server.http.request_body import read_json
from sploot_server.http.routes.params import (
    PAGE_MAX,
    get_owner,
    original_url,
    parse_object,
    parse_time_ms,
    parse_whole_number,
)
from sploot_server.library.search import Match, Search
from sploot_server.storage.interfaces import AssetFilter

QUERY_CHARS_MAX = 500
OFFSET_MAX = 1000
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
        parsed = SearchRequest.from_json(
            parse_object(await read_json(request, malformed="Missing or invalid query parameter"))
        )
        limit = max(parsed.limit, RESULTS_MIN)
        asset_filter = replace(parsed.filter, owner=get_owner(request))
        matches = await self._search.search(parsed.query, limit=limit, asset_filter=asset_filter, offset=parsed.offset)
        above_threshold = [match for match in matches.matches if match.similarity >= parsed.threshold]
        shown = matches.matches[: max(len(above_threshold), RESULTS_MIN if parsed.offset == 0 else 0)]
        body = {
            "results": _matches_to_json(request, shown, parsed.threshold),
            "query": parsed.query,
            "total": len(shown),
            "limit": limit,
            "requestedLimit": parsed.limit,
            "offset": parsed.offset,
            "hasMore": matches.has_more and len(above_threshold) == len(matches.matches),
            "threshold": parsed.threshold,
            "requestedThreshold": parsed.threshold,
            "processingTime": round((time.perf_counter() - began) * 1000),
            "embeddingModel": matches.model,
            "cached": False,
            "thresholdFallback": len(shown) > len(above_threshold),
            "byMeaning": matches.model is not None,
        }
        return JSONResponse(body)

    async def similar(self, request: Request) -> Response:
        """Return near-duplicates with a similarity of 1 first, then assets with a similar embedding."""
        limit = min(max(parse_whole_number(request.query_params, "limit", 30), 1), PAGE_MAX)
        matches = await self._search.find_similar(request.path_params["id"], limit=limit, owner=get_owner(request))
        results = _matches_to_json(request, matches.matches, 0.0)
        return JSONResponse({"results": results, "total": len(results), "limit": limit, "hasMore": matches.has_more})


def _matches_to_json(request: Request, matches: Sequence[Match], threshold: float) -> list[dict[str, Any]]:
    return [
        serializers.match_to_json(
            match, original_url(request, match.asset), below_threshold=match.similarity < threshold
        )
        for match in matches
    ]


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """Body of POST /api/search. `offset` and the filters extend Sploot's API.

    Filters: `favorite`, a boolean; `tagId`, the id of a tag; `mime`, for example `image/png`; `createdAfter`
    (inclusive) and `createdBefore`, ISO 8601 times in UTC unless they have an offset. `offset` skips the best matches,
    for paging; `hasMore` in the response is true if another page exists.
    """

    query: str
    limit: int
    offset: int
    threshold: float
    filter: AssetFilter

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "SearchRequest":
        """Parse a body. Raise InvalidInput."""
        query = body.get("query")
        if not isinstance(query, str) or not query.strip():
            raise InvalidInput("Missing or invalid query parameter")
        if len(query) > QUERY_CHARS_MAX:
            raise InvalidInput(f"Query text too long (max {QUERY_CHARS_MAX} characters)")
        limit, offset, threshold = body.get("limit", 30), body.get("offset", 0), body.get("threshold", 0.2)
        if type(limit) is not int or limit < 1:
            raise InvalidInput("limit must be a whole number, 1 or more")
        if type(offset) is not int or not 0 <= offset <= OFFSET_MAX:
            raise InvalidInput(f"offset must be a whole number from 0 to {OFFSET_MAX}")
        if type(threshold) not in (int, float) or not 0 <= threshold <= 1:
            raise InvalidInput("threshold must be a number from 0 to 1")
        return cls(query, min(limit, PAGE_MAX), offset, float(threshold), _parse_filter(body))


def _parse_filter(body: Mapping[str, Any]) -> AssetFilter:
    favorite = body.get("favorite")
    if favorite is not None and not isinstance(favorite, bool):
        raise InvalidInput("favorite must be true or false")
    for name in ("tagId", "mime"):
        if not isinstance(body.get(name), str | None):
            raise InvalidInput(f"{name} must be a string")
    return AssetFilter(
        favorite=favorite,
        tag_id=body.get("tagId"),
        mime=body.get("mime"),
        created_from_ms=parse_time_ms(body, "createdAfter"),
        created_before_ms=parse_time_ms(body, "createdBefore"),
    )
