"""Rejects unknown tokens, sessions and invitations: limits the guesses of a network, and logs each one once."""

import math
import time
from http import HTTPStatus

import structlog
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from sploot_server.auth.rate_limit import LRUDict, TokenRateLimiter, client_network
from sploot_server.http.errors import error_response, mark_limit

logger = structlog.get_logger()


class GuessGuard:
    """Shared by everything that takes a secret: a guess counts wherever it is made."""

    def __init__(self) -> None:
        self._rate_limiter = TokenRateLimiter(time.monotonic)
        self._logged: LRUDict[tuple[str, str], None] = LRUDict()

    def reject(self, scope: Scope, token_id: str, digest: bytes) -> Response:
        """Return the response to an unknown secret: 401, or 429 after too many of them."""
        address = client_address(scope)
        retry_after_s = self._rate_limiter.record_failure(address, token_id, digest)
        if retry_after_s > 0:
            mark_limit(scope, "invalid_tokens")
            headers = {"retry-after": str(math.ceil(retry_after_s)), "connection": "close"}
            return error_response("Too many invalid tokens; retry later", HTTPStatus.TOO_MANY_REQUESTS, headers)
        if self.is_first(digest.hex(), address):
            logger.warning("unknown token", token=token_id, address=address)
        return unauthorized_response("token-unknown")

    def is_first(self, token: str, address: str) -> bool:
        """Return whether this is the first request with a token from a network that this process is to log."""
        key = token, client_network(address)
        is_first = key not in self._logged
        self._logged.put(key, None)
        return is_first


def client_address(scope: Scope) -> str:
    """Return the address of the client; '' on a Unix socket."""
    return scope["client"][0] if scope.get("client") else ""


def unauthorized_response(reason: str) -> Response:
    """Return 401 with the `x-clerk-auth-*` headers, by which clients of Sploot recognise a signed-out user."""
    headers = {
        "x-clerk-auth-status": "signed-out",
        "x-clerk-auth-reason": reason,
        "www-authenticate": "Bearer",
        "connection": "close",
    }
    return JSONResponse({"error": "Unauthorized"}, HTTPStatus.UNAUTHORIZED, headers)
