"""ASGI middleware that limits the requests in progress: those of one owner, and all.

It runs behind the authentication: only a request whose token is good holds a place.
"""

from collections import Counter
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sploot_server.http.authentication import ADMIN_PATHS, PUBLIC_PATHS, SHARE_PREFIX, is_page_request
from sploot_server.http.errors import error_response, mark_limit
from sploot_server.http.request_body import discard_body

UNLIMITED_PATHS = PUBLIC_PATHS | ADMIN_PATHS
"""Probes and metrics: a busy server must still be told from a broken one."""
RETRY_SOON = {"retry-after": "1"}
HAS_PLACE = "has_place"
"""Key of `scope["state"]`, true while the request holds a place: see `connection_limits.py`."""


class AdmissionMiddleware:
    """Admits at most `requests_max` concurrent requests, and `requests_per_owner_max` of one owner.

    Visitors of share links count as one owner. The owner '', of a library without accounts, may use all places.
    WebSockets and the requests to `streaming_paths` stay open, so they have their own limits and are not counted. Nor
    are the files of the page: a stranger who asks for them holds no place.
    """

    def __init__(
        self, app: ASGIApp, *, requests_max: int, requests_per_owner_max: int, streaming_paths: frozenset[str]
    ) -> None:
        self._app = app
        self._requests_max = requests_max
        self._requests_per_owner_max = requests_per_owner_max
        self._streaming_paths = streaming_paths
        self._active_requests: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" or scope["path"] in UNLIMITED_PATHS or is_page_request(scope):
            await self._app(scope, receive, send)
            return
        owner = _owner_of(scope)
        is_counted = scope["path"] not in self._streaming_paths
        response = self._rejection(scope, owner) if is_counted else None
        if response is not None:
            if not await discard_body(Request(scope, receive)):
                response.headers["connection"] = "close"
            await response(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state[HAS_PLACE] = True
        self._active_requests[owner] += is_counted
        try:
            await self._app(scope, receive, send)
        finally:
            self._active_requests[owner] -= is_counted
            self._active_requests += Counter()  # forgets the owners without requests
            state[HAS_PLACE] = False

    def _rejection(self, scope: Scope, owner: str) -> Response | None:
        if self._active_requests.total() >= self._requests_max:
            mark_limit(scope, "requests")
            message = "The server is busy; retry in one second"
            return error_response(message, HTTPStatus.SERVICE_UNAVAILABLE, RETRY_SOON)
        if owner and self._active_requests[owner] >= self._requests_per_owner_max:
            mark_limit(scope, "requests_per_owner")
            message = f"More than {self._requests_per_owner_max} requests at once; retry in one second"
            return error_response(message, HTTPStatus.TOO_MANY_REQUESTS, RETRY_SOON)
        return None


def _owner_of(scope: Scope) -> str:
    if scope["path"].startswith(SHARE_PREFIX):
        return SHARE_PREFIX
    owner: str = scope.get("state", {}).get("owner", "")
    return owner
