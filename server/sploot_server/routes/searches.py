"""Searching."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server import wire
from sploot_server.assets import Filter
from sploot_server.bodies import read_json
from sploot_server.model import Invalid
from sploot_server.routes.values import PAGE_MAX, object_of, owner_of, url_of
from sploot_server.search import Search

QUERY_CHARS_MAX = 500
RESULTS_MIN = 10  # as in Sploot: a page is filled up from below the threshold


class Searches:
    def __init__(self, search: Search) -> None:
        self._search = search

    def routes(self) -> list[BaseRoute]:
        return [Route("/api/search", self.search, methods=["POST"])]

    async def search(self, request: Request) -> Response:
        began = time.perf_counter()
        asked = SearchRequest.of(object_of(await read_json(request, malformed="Missing or invalid query parameter")))
        limit = max(asked.limit, RESULTS_MIN)
        only = replace(asked.only, owner=owner_of(request))
        matches = await self._search.find(asked.query, limit=limit, only=only)
        over = [match for match in matches.matches if match.similarity >= asked.threshold]
        shown = matches.matches[: max(len(over), RESULTS_MIN)]
        body = {
            "results": [
                wire.result(match, url_of(request, match.asset), below=match.similarity < asked.threshold)
                for match in shown
            ],
            "query": asked.query,
            "total": len(shown),
            "limit": limit,
            "requestedLimit": asked.limit,
            "threshold": asked.threshold,
            "requestedThreshold": asked.threshold,
            "processingTime": round((time.perf_counter() - began) * 1000),
            "embeddingModel": matches.model,
            "cached": False,
            "thresholdFallback": len(shown) > len(over),
            "byMeaning": matches.model is not None,
        }
        return JSONResponse(body)


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """The body of POST /api/search; `favorite` and `tagId` are additions."""

    query: str
    limit: int
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
        limit, threshold = body.get("limit", 30), body.get("threshold", 0.2)
        if type(limit) is not int or limit < 1:
            raise Invalid("limit must be a whole number, 1 or more")
        if type(threshold) not in (int, float) or not 0 <= threshold <= 1:
            raise Invalid("threshold must be a number from 0 to 1")
        favorite, tag_id = body.get("favorite"), body.get("tagId")
        if favorite is not None and not isinstance(favorite, bool):
            raise Invalid("favorite must be true or false")
        if tag_id is not None and not isinstance(tag_id, str):
            raise Invalid("tagId must be a string")
        return cls(query, min(limit, PAGE_MAX), float(threshold), Filter(favorite, tag_id))
