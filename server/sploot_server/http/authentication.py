"""ASGI middleware that authenticates a request by its token or session and checks the scope.

It sets `request.state.owner` to the owner of the library, and `request.state.is_still_authorized` to a function with
which long-lived streams check the token again.
"""

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sploot_server.auth.accounts import AccountStore, Token
from sploot_server.auth.accounts import Scope as TokenScope
from sploot_server.auth.sessions import SessionStore
from sploot_server.auth.tokens import hash_token, matches_digest, parse_token_id, token_from_header
from sploot_server.domain.entities import BackendUnavailable
from sploot_server.http.errors import error_response
from sploot_server.http.guess_guard import GuessGuard, client_address, unauthorized_response
from sploot_server.http.request_body import discard_body
from sploot_server.http.session_cookie import read_session_cookie

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
PUBLIC_PATHS = frozenset({"/api/health", "/api/health/services", "/api/health/live", "/api/health/ready"})
"""Public in Sploot too: their responses contain no data of a user."""
SHARE_PREFIX = "/s/"
"""Share links: the slug in the URL is the credential."""
PAGE_PREFIX = "/static/"
PAGE_PATHS = frozenset({"/", "/share-target"})
SIGN_IN_PATH = "/v1/session"
CSRF_HEADER = "x-sploot-ui"
SAFE_METHODS = frozenset({"GET", "HEAD"})
ADMIN_PATHS = frozenset({"/metrics"})
READ_ONLY_POST_PATHS = frozenset(
    {"/api/search", "/api/upload/check", "/api/upload/check/batch", "/api/assets/batch/embedding-status"}
)
"""POST requests that change nothing."""
LAST_USED_RESOLUTION_MS = 60_000  # resolution of a token's last use; avoids one write per request

logger = structlog.get_logger()


class AuthenticationMiddleware:
    """Authenticates each request by its token or session cookie and selects the library of its user.

    If `required` is false and no user exists, the server has no accounts and every request reaches its one library.
    Such a server accepts loopback host names only: in a DNS rebinding attack, a website points its own name at
    127.0.0.1, and the browser then treats this server as the same origin.

    A cookie, unlike a token, is sent by the browser on its own. Where a browser says that another site caused the
    request, it does not count; and a change needs a header that no page of another site can send without a CORS
    preflight, which this server never grants.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        accounts: AccountStore,
        sessions: SessionStore,
        guesses: GuessGuard,
        required: bool,
        now_ms: Callable[[], int],
    ) -> None:
        self._app = app
        self._accounts = accounts
        self._sessions = sessions
        self._required = required
        self._now_ms = now_ms
        self._guesses = guesses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._rejection(scope)
        except BackendUnavailable as error:
            response = error_response(str(error), HTTPStatus.SERVICE_UNAVAILABLE)
        if response is None:
            await self._app(scope, receive, send)
            return
        # Without a place: see `admission.py`. While it sends its body, the connection may be closed for another one.
        if scope["type"] == "http" and not await discard_body(Request(scope, receive)):
            response.headers["connection"] = "close"
        await response(scope, receive, send)

    async def _rejection(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not self._required and not await self._accounts.has_users():
            if urlsplit(f"//{headers.get('host', '')}").hostname in LOOPBACK_NAMES:
                return None
            return error_response("The server does not serve this host name", HTTPStatus.FORBIDDEN)
        if is_public_request(scope):
            return None
        presented_token = token_from_header(headers.get("authorization", ""))
        if presented_token:
            return await self._authenticate(scope, presented_token)
        cookie = read_session_cookie(scope, headers)
        return await self._authenticate_session(scope, headers, cookie) if cookie else unauthorized_response("no-token")

    async def _authenticate(self, scope: Scope, presented_token: str) -> Response | None:
        digest, token_id = hash_token(presented_token), parse_token_id(presented_token) or ""
        token = await self._accounts.get_token(token_id) if token_id else None
        if token is not None and matches_digest(token, digest):
            return await self._authorize(scope, token)
        return self._guesses.reject(scope, token_id, digest)

    async def _authenticate_session(self, scope: Scope, headers: Headers, cookie: str) -> Response | None:
        if (response := _foreign_rejection(scope, headers)) is not None:
            return response
        digest, session_id = hash_token(cookie), parse_token_id(cookie) or ""
        session = await self._sessions.get(session_id, now_ms=self._now_ms()) if session_id else None
        if session is None or not matches_digest(session, digest):
            return self._guesses.reject(scope, session_id, digest)
        required = required_scope(scope.get("method", "GET"), scope["path"])
        if required not in session.scopes:
            return error_response(f"This session lacks the scope {required}", HTTPStatus.FORBIDDEN)
        if self._now_ms() - session.last_used_at_ms >= LAST_USED_RESOLUTION_MS:
            await self._sessions.record_use(session.id, now_ms=self._now_ms())
        scope.setdefault("state", {}).update(
            owner=session.user_id,
            session=session,
            is_still_authorized=partial(self._is_session_alive, session.id),
        )
        return None

    async def _is_session_alive(self, session_id: str) -> bool:
        """Return True while the session has not ended, and while the session store is unavailable."""
        try:
            return await self._sessions.get(session_id, now_ms=self._now_ms()) is not None
        except BackendUnavailable:
            return True

    async def _authorize(self, scope: Scope, token: Token) -> Response | None:
        now_ms = self._now_ms()
        if not token.is_valid(now_ms):
            return unauthorized_response("token-expired" if token.revoked_at_ms is None else "token-revoked")
        required = required_scope(scope.get("method", "GET"), scope["path"])
        if required not in token.scopes:
            return error_response(
                f"The token lacks the scope {required}; create a token that includes it", HTTPStatus.FORBIDDEN
            )
        if self._guesses.is_first(token.id, client_address(scope)):
            name = await self._accounts.get_user_name(token.user_id)
            logger.info("signed in", user=name, token=token.id, label=token.name, address=client_address(scope))
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


def is_public_request(scope: Scope) -> bool:
    """Return whether a request needs no token: probes, shared pictures, and the page that asks for one."""
    path: str = scope["path"]
    return path in PUBLIC_PATHS or path.startswith(SHARE_PREFIX) or is_page_request(scope)


def is_page_request(scope: Scope) -> bool:
    """Return whether a request is for the files of the page, or signs in. They contain no data of a user."""
    path: str = scope["path"]
    is_sign_in = path == SIGN_IN_PATH and scope.get("method") == "POST"
    return path in PAGE_PATHS or path.startswith(PAGE_PREFIX) or is_sign_in


def _foreign_rejection(scope: Scope, headers: Headers) -> Response | None:
    """Return an error if the page of another site may have caused a request with a cookie."""
    if any(site not in ("same-origin", "none") for site in headers.getlist("sec-fetch-site")):
        return error_response("Requests from other websites are not allowed", HTTPStatus.FORBIDDEN)
    if scope.get("method", "GET") not in SAFE_METHODS and not has_csrf_header(headers):
        return error_response(
            f"A change by cookie requires the header {CSRF_HEADER}: 1 and an Origin", HTTPStatus.FORBIDDEN
        )
    return None


def has_csrf_header(headers: Headers) -> bool:
    """Return whether a page of this origin sent the request; `request_guard.py` compares the Origin with the Host."""
    return headers.getlist(CSRF_HEADER) == ["1"] and "origin" in headers


def required_scope(method: str, path: str) -> TokenScope:
    """Return the scope that a request requires. An unsafe method on an unlisted path requires WRITE."""
    if path in ADMIN_PATHS:
        return TokenScope.ADMIN
    return TokenScope.READ if method in ("GET", "HEAD", "OPTIONS") or path in READ_ONLY_POST_PATHS else TokenScope.WRITE
