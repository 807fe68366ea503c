"""Routes to sign a browser in and out, and to list and end the sessions of a member."""

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.auth.accounts import AccountStore, Token
from sploot_server.auth.sessions import Session, SessionStore
from sploot_server.auth.tokens import hash_token, matches_digest, parse_token_id
from sploot_server.domain.entities import InvalidInput, NotFound
from sploot_server.http.authentication import SIGN_IN_PATH, has_csrf_header
from sploot_server.http.guess_guard import GuessGuard, client_address
from sploot_server.http.request_body import read_object
from sploot_server.http.routes.params import get_owner
from sploot_server.http.serializers import format_time
from sploot_server.http.session_cookie import set_cookie_header
from sploot_server.library.service import now_ms

SECRET_CHARS_MAX = 200
DEVICE_INVITATION_MS = 15 * 60_000

logger = structlog.get_logger()


class SessionRoutes:
    """Routes of sessions."""

    def __init__(self, accounts: AccountStore, sessions: SessionStore, guesses: GuessGuard) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._guesses = guesses

    def routes(self) -> list[BaseRoute]:
        return [
            Route(SIGN_IN_PATH, self.sign_in, methods=["POST"]),
            Route(SIGN_IN_PATH, self.current, methods=["GET"]),
            Route(SIGN_IN_PATH, self.sign_out, methods=["DELETE"]),
            Route("/v1/sessions", self.list, methods=["GET"]),
            Route("/v1/sessions", self.end_all, methods=["DELETE"]),
            Route("/v1/sessions/{id}", self.end, methods=["DELETE"]),
            Route("/v1/invitations", self.invite, methods=["POST"]),
        ]

    async def sign_in(self, request: Request) -> Response:
        """Exchange a token or an invitation for a session cookie."""
        if not has_csrf_header(request.headers):
            raise InvalidInput("Sign in with the page of this server")
        body = await read_object(request)
        secret = body.get("secret")
        if not isinstance(secret, str) or not 0 < len(secret) <= SECRET_CHARS_MAX:
            raise InvalidInput("secret must be a token or an invitation")
        digest, secret_id = hash_token(secret), parse_token_id(secret) or ""
        token = await self._find_token(secret_id, digest)
        user_id = token.user_id if token else await self._sessions.redeem(secret_id, digest, now_ms=now_ms())
        if user_id is None:
            return self._guesses.reject(request.scope, secret_id, digest)
        user_agent = request.headers.get("user-agent", "")
        cookie = await self._sessions.begin(user_id, token, user_agent=user_agent, now_ms=now_ms())
        session = await self._sessions.get(parse_token_id(cookie) or "", now_ms=now_ms())
        if session is None:  # the token was revoked meanwhile
            return self._guesses.reject(request.scope, secret_id, digest)
        logger.info("signed in", user=session.user_name, session=session.id, address=client_address(request.scope))
        headers = {"set-cookie": set_cookie_header(request.scope, cookie)}
        return JSONResponse({"member": {"name": session.user_name}}, headers=headers)

    async def _find_token(self, token_id: str, digest: bytes) -> Token | None:
        token = await self._accounts.get_token(token_id) if token_id else None
        is_good = token is not None and matches_digest(token, digest) and token.is_valid(now_ms())
        return token if is_good else None

    async def current(self, request: Request) -> Response:
        """Return the member; None in a library without accounts."""
        session = _session_of(request)
        return JSONResponse({"member": None if session is None else {"name": session.user_name}})

    async def sign_out(self, request: Request) -> Response:
        session = required_session(request)
        await self._sessions.end(session.user_id, session.id)
        return _signed_out(request, 1)

    async def list(self, request: Request) -> Response:
        this = required_session(request)
        found = await self._sessions.list_of_user(get_owner(request), now_ms=now_ms())
        sessions = [
            {
                "id": each.id,
                "user_agent": each.user_agent,
                "created_at": format_time(each.created_at_ms),
                "last_used_at": format_time(each.last_used_at_ms),
                "is_this": each.id == this.id,
            }
            for each in found
        ]
        return JSONResponse({"sessions": sessions, "is_admin": this.is_admin})

    async def end(self, request: Request) -> Response:
        session = required_session(request)
        if not await self._sessions.end(session.user_id, request.path_params["id"]):
            raise NotFound
        return JSONResponse({"ended": 1})

    async def end_all(self, request: Request) -> Response:
        """Sign the member out everywhere, this browser included; unused invitations end, too."""
        return _signed_out(request, await self._sessions.end(required_session(request).user_id))

    async def invite(self, request: Request) -> Response:
        """Return an invitation for another device of the member."""
        session = required_session(request)
        now = now_ms()
        secret = await self._sessions.invite(session.user_id, now_ms=now, ttl_ms=DEVICE_INVITATION_MS)
        return JSONResponse({"secret": secret, "expires_at": format_time(now + DEVICE_INVITATION_MS)})


def _signed_out(request: Request, ended: int) -> Response:
    return JSONResponse({"ended": ended}, headers={"set-cookie": set_cookie_header(request.scope, "")})


def _session_of(request: Request) -> Session | None:
    session: Session | None = getattr(request.state, "session", None)
    return session


def required_session(request: Request) -> Session:
    """Return the session of the request. Raise NotFound if it has none, but a token or nothing."""
    session = _session_of(request)
    if session is None:
        raise NotFound
    return session
