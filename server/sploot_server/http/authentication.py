"""ASGI middleware that authenticates a request by its token and checks the token's scope.

It sets `request.state.owner` to the owner of the library, and `request.state.is_still_authorized` to a function with
which long-lived streams check the token again.
"""

import math
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sploot_server.auth.accounts import AccountStore, Token
from sploot_server.auth.accounts import Scope as TokenScope
from sploot_server.auth.rate_limit import TokenRateLimiter
from sploot_server.auth.tokens import hash_token, matches_digest, parse_token_id, token_from_header
from sploot_server.domain.entities import BackendUnavailable
from sploot_server.http.errors import error_response
from sploot_server.http.request_body import discard_body

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
PUBLIC_PATHS = frozenset({"/api/health", "/api/health/services", "/api/health/live", "/api/health/ready"})
"""Public in Sploot too: their responses contain no data of a user."""
SHARE_PREFIX = "/s/"
"""Share links: the slug in the URL is the credential."""
ADMIN_PATHS = frozenset({"/metrics"})
READ_ONLY_POST_PATHS = frozenset(
    {"/api/search", "/api/upload/check", "/api/upload/check/batch", "/api/assets/batch/embedding-status"}
)
"""POST requests that change nothing."""
LAST_USED_RESOLUTION_MS = 60_000  # resolution of a token's last use; avoids one write per request


class AuthenticationMiddleware:
    """Authenticates each request by its token and selects the library of the token's user.

    If `required` is false and no token was ever created, the server has no accounts and every request reaches its one
    library. Such a server accepts loopback host names only: in a DNS rebinding attack, a website points its own name
    at 127.0.0.1, and the browser then treats this server as the same origin.
    """

    def __init__(self, app: ASGIApp, *, accounts: AccountStore, required: bool, now_ms: Callable[[], int]) -> None:
        self._app = app
        self._accounts = accounts
        self._required = required
        self._now_ms = now_ms
        self._rate_limiter = TokenRateLimiter(time.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._rejection(scope)
        except BackendUnavailable as error:
            response = error_response(str(error), HTTPStatus.SERVICE_UNAVAILABLE)
        if response is None:
            await self._app(scope, receive, send)
            return
        if scope["type"] == "http" and not await discard_body(Request(scope, receive)):
            response.headers["connection"] = "close"
        await response(scope, receive, send)

    async def _rejection(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not self._required and not await self._accounts.has_tokens():
            if urlsplit(f"//{headers.get('host', '')}").hostname in LOOPBACK_NAMES:
                return None
            return error_response("The server does not serve this host name", HTTPStatus.FORBIDDEN)
        if scope["path"] in PUBLIC_PATHS or scope["path"].startswith(SHARE_PREFIX):
            return None
        presented_token = token_from_header(headers.get("authorization", ""))
        if not presented_token:
            return unauthorized_response("no-token")
        return await self._authenticate(scope, presented_token)

    async def _authenticate(self, scope: Scope, presented_token: str) -> Response | None:
        address = scope["client"][0] if scope.get("client") else ""
        digest, token_id = hash_token(presented_token), parse_token_id(presented_token) or ""
        retry_after_s = self._rate_limiter.retry_after_s(address, token_id, digest)
        if retry_after_s > 0:
            headers = {"retry-after": str(math.ceil(retry_after_s))}
            return error_response("Too many invalid tokens; retry later", HTTPStatus.TOO_MANY_REQUESTS, headers)
        token = await self._accounts.get_token(token_id) if token_id else None
        if token is None or not matches_digest(token, digest):
            self._rate_limiter.record_failure(address, token_id, digest)
            return unauthorized_response("token-unknown")
        self._rate_limiter.record_success(address, digest)
        return await self._authorize(scope, token)

    async def _authorize(self, scope: Scope, token: Token) -> Response | None:
        now_ms = self._now_ms()
        if not token.is_valid(now_ms):
            return unauthorized_response("token-expired" if token.revoked_at_ms is None else "token-revoked")
        required = required_scope(scope.get("method", "GET"), scope["path"])
        if required not in token.scopes:
            return error_response(
                f"The token lacks the scope {required}; create a token that includes it", HTTPStatus.FORBIDDEN
            )
        if token.last_used_at_ms is None or now_ms - token.last_used_at_ms >= LAST_USED_RESOLUTION_MS:
            await self._accounts.record_token_use(token.id, now_ms=now_ms)
        scope.setdefault("state", {}).update(
            owner=token.user_id, is_still_authorized=partial(self._is_still_authorized, token.id)
        )
        return None

    async def _is_still_authorized(self, token_id: str) -> bool:
        """Return True while the token is valid, and while the account store is unavailable.

        An outage of the database must not disconnect every stream; the next check finds a revoked token.
        """
        try:
            token = await self._accounts.get_token(token_id)
        except BackendUnavailable:
            return True
        return token is not None and token.is_valid(self._now_ms())


def unauthorized_response(reason: str) -> Response:
    """Return 401 with the `x-clerk-auth-*` headers, by which clients of Sploot recognise a signed-out user."""
    headers = {"x-clerk-auth-status": "signed-out", "x-clerk-auth-reason": reason, "www-authenticate": "Bearer"}
    return JSONResponse({"error": "Unauthorized"}, HTTPStatus.UNAUTHORIZED, headers)


def required_scope(method: str, path: str) -> TokenScope:
    """Return the scope that a request requires. An unsafe method on an unlisted path requires WRITE."""
    if path in ADMIN_PATHS:
        return TokenScope.ADMIN
    return TokenScope.READ if method in ("GET", "HEAD", "OPTIONS") or path in READ_ONLY_POST_PATHS else TokenScope.WRITE
