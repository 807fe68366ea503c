"""Searching."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server import wire
from sploot_server.assets import Filter
from sploot_server.bodies import read_json
from sploot_server.model import Invalid
from sploot_server.routes.values import PAGE_MAX, object_of, owner_of, time_ms, url_of, whole_number
from sploot_server.search import Match, Search

QUERY_CHARS_MAX = 500
OFFSET_MAX = 1000
RESULTS_MIN = 10  # as in Sploot: a page is filled up from below the threshold


class Searches:
    def __init__(self, search: Search) -> None:
        self._search = search

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/search", self.search, methods=["POST"]),
            Route("/api/assets/{id}/similar", self.similar, methods=["GET"]),
        ]

    async def search(self, request: Request) -> Response:
        began = time.perf_counter()
        asked = SearchRequest.of(object_of(await read_json(request, malformed="Missing or invalid query parameter")))
        limit = max(asked.limit, RESULTS_MIN)
        only = replace(asked.only, owner=owner_of(request))
        matches = await self._search.find(asked.query, limit=limit, only=only, offset=asked.offset)
        over = [match for match in matches.matches if match.similarity >= asked.threshold]
        shown = matches.matches[: max(len(over), RESULTS_MIN if asked.offset == 0 else 0)]
        body = {
            "results": _results(request, shown, asked.threshold),
            "query": asked.query,
            "total": len(shown),
            "limit": limit,
            "requestedLimit": asked.limit,
            "offset": asked.offset,
            "hasMore": matches.more and len(over) == len(matches.matches),
            "threshold": asked.threshold,
            "requestedThreshold": asked.threshold,
            "processingTime": round((time.perf_counter() - began) * 1000),
            "embeddingModel": matches.model,
            "cached": False,
            "thresholdFallback": len(shown) > len(over),
            "byMeaning": matches.model is not None,
        }
        return JSONResponse(body)

    async def similar(self, request: Request) -> Response:
        """Near-duplicates first, with a similarity of 1; then what means or shows the like."""
        limit = min(max(whole_number(request.query_params, "limit", 30), 1), PAGE_MAX)
        matches = await self._search.similar(request.path_params["id"], limit=limit, owner=owner_of(request))
        results = _results(request, matches.matches, 0.0)
        return JSONResponse({"results": results, "total": len(results), "limit": limit, "hasMore": matches.more})


def _results(request: Request, matches: Sequence[Match], threshold: float) -> list[dict[str, Any]]:
    return [wire.result(match, url_of(request, match.asset), below=match.similarity < threshold) for match in matches]


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """The body of POST /api/search. Additions of ours: `offset`, and the filters.

    `favorite`: true or false; `tagId`: the id of a tag; `mime`: as `image/png`; `createdAfter` and `createdBefore`: ISO
    8601 times, UTC where none is said, the first of them included. `offset`: how many of the best to leave out, for
    pages; `hasMore` in the answer says whether there is a next one.
    """

    query: str
    limit: int
    offset: int
    threshold: float
    only: Filter

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "SearchRequest":
        """Raises Invalid."""
        query = body.get("query")
        if not isinstance(query, str) or not query.strip():
            raise Invalid("Missing or invalid query parameter")
        if len(query) > QUERY_CHARS_MAX:
            raise Invalid(f"Query text too long (max {QUERY_CHARS_MAX} characters)")
        limit, offset, threshold = body.get("limit", 30), body.get("offset", 0), body.get("threshold", 0.2)
        if type(limit) is not int or limit < 1:
            raise Invalid("limit must be a whole number, 1 or more")
        if type(offset) is not int or not 0 <= offset <= OFFSET_MAX:
            raise Invalid(f"offset must be a whole number from 0 to {OFFSET_MAX}")
        if type(threshold) not in (int, float) or not 0 <= threshold <= 1:
            raise Invalid("threshold must be a number from 0 to 1")
        return cls(query, min(limit, PAGE_MAX), offset, float(threshold), _filter(body))


def _filter(body: Mapping[str, Any]) -> Filter:
    favorite = body.get("favorite")
    if favorite is not None and not isinstance(favorite, bool):
        raise Invalid("favorite must be true or false")
    for name in ("tagId", "mime"):
        if not isinstance(body.get(name), str | None):
            raise Invalid(f"{name} must be a string")
    return Filter(
        favorite=favorite,
        tag_id=body.get("tagId"),
        mime=body.get("mime"),
        created_from_ms=time_ms(body, "createdAfter"),
        created_before_ms=time_ms(body, "createdBefore"),
    )
