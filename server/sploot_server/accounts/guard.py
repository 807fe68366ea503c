"""ASGI middleware that finds out who is asking, and lets in who may.

It puts the owner of the library that a request is about into `request.state`; and for what goes on for long, a way to
ask whether he is still let in.
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

from sploot_server.accounts import AccountStore, Token
from sploot_server.accounts import Scope as TokenScope
from sploot_server.accounts.guesses import Guesses
from sploot_server.accounts.tokens import digest_of, id_of, is_same, shown
from sploot_server.bodies import discard
from sploot_server.model import Unreachable
from sploot_server.refusals import refusal

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
OPEN = frozenset({"/api/health", "/api/health/services", "/api/health/live", "/api/health/ready"})
"""As in Sploot: they say nothing of anybody."""
SHARED = "/s/"
"""Links to pictures: whoever has one is meant to see it."""
FIGURES = frozenset({"/metrics"})
READING = frozenset(
    {"/api/search", "/api/upload/check", "/api/upload/check/batch", "/api/assets/batch/embedding-status"}
)
"""What is asked by POST and changes nothing."""
USED_EVERY_MS = 60_000  # how exactly the last use of a token is noted


class Guard:
    """Lets in who shows a token, each to his own library.

    Where nobody has to (`required` is false) and no token was ever made, there are no accounts: everybody is let in to
    the one library, but over the names of this machine only, since any web site may let its own name point here.
    """

    def __init__(self, app: ASGIApp, *, accounts: AccountStore, required: bool, now_ms: Callable[[], int]) -> None:
        self._app = app
        self._accounts = accounts
        self._required = required
        self._now_ms = now_ms
        self._guesses = Guesses(time.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._refused(scope)
        except Unreachable as error:
            answer = refusal(str(error), HTTPStatus.SERVICE_UNAVAILABLE)
        if answer is None:
            await self._app(scope, receive, send)
            return
        if scope["type"] == "http" and not await discard(Request(scope, receive)):
            answer.headers["connection"] = "close"
        await answer(scope, receive, send)

    async def _refused(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not self._required and not await self._accounts.has_tokens():
            if urlsplit(f"//{headers.get('host', '')}").hostname in LOOPBACK_NAMES:
                return None
            return refusal("This host name is not served here", HTTPStatus.FORBIDDEN)
        if scope["path"] in OPEN or scope["path"].startswith(SHARED):
            return None
        shown_token = shown(headers.get("authorization", ""))
        if not shown_token:
            return signed_out("no-token")
        return await self._tried(scope, shown_token)

    async def _tried(self, scope: Scope, shown_token: str) -> Response | None:
        address = scope["client"][0] if scope.get("client") else ""
        digest, token_id = digest_of(shown_token), id_of(shown_token) or ""
        wait_s = self._guesses.wait_s(address, token_id, digest)
        if wait_s > 0:
            later = {"retry-after": str(math.ceil(wait_s))}
            return refusal("Too many wrong tokens; try again later", HTTPStatus.TOO_MANY_REQUESTS, later)
        token = await self._accounts.token(token_id) if token_id else None
        if token is None or not is_same(token, digest):
            self._guesses.wrong(address, token_id, digest)
            return signed_out("token-unknown")
        self._guesses.right(address, digest)
        return await self._let_in(scope, token)

    async def _let_in(self, scope: Scope, token: Token) -> Response | None:
        now_ms = self._now_ms()
        if not token.is_valid(now_ms):
            return signed_out("token-expired" if token.revoked_at_ms is None else "token-revoked")
        needed = scope_needed(scope.get("method", "GET"), scope["path"])
        if needed not in token.scopes:
            return refusal(f"This token has not the scope {needed}; make one that has it", HTTPStatus.FORBIDDEN)
        if token.last_used_at_ms is None or now_ms - token.last_used_at_ms >= USED_EVERY_MS:
            await self._accounts.used(token.id, now_ms=now_ms)
        scope.setdefault("state", {}).update(owner=token.user_id, let_in=partial(self._is_let_in, token.id))
        return None

    async def _is_let_in(self, token_id: str) -> bool:
        """Whether a token that was good when its request began still is; so it is while that cannot be found out."""
        try:
            token = await self._accounts.token(token_id)
        except Unreachable:
            return True
        return token is not None and token.is_valid(self._now_ms())


def signed_out(reason: str) -> Response:
    """The answer, with the header by which clients of Sploot tell it from every other failure."""
    headers = {"x-clerk-auth-status": "signed-out", "x-clerk-auth-reason": reason, "www-authenticate": "Bearer"}
    return JSONResponse({"error": "Unauthorized"}, HTTPStatus.UNAUTHORIZED, headers)


def scope_needed(method: str, path: str) -> TokenScope:
    """What a token must be good for. A path that is not known here changes something, unless it is only looked at."""
    if path in FIGURES:
        return TokenScope.ADMIN
    return TokenScope.READ if method in ("GET", "HEAD", "OPTIONS") or path in READING else TokenScope.WRITE
