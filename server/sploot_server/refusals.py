"""What goes wrong, told to the client: always JSON, always a sentence, always with the connection in a known state."""

import errno
import sqlite3
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sploot_server.bodies import discard
from sploot_server.model import (
    Invalid,
    LibraryError,
    NotAsAnnounced,
    NotFound,
    NoThumbnail,
    TooLarge,
    TooSlow,
    Unreachable,
)

STATUS: Mapping[type[LibraryError], HTTPStatus] = {
    Invalid: HTTPStatus.BAD_REQUEST,
    NotFound: HTTPStatus.NOT_FOUND,
    NoThumbnail: HTTPStatus.NOT_FOUND,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    NotAsAnnounced: HTTPStatus.PRECONDITION_FAILED,
    TooSlow: HTTPStatus.REQUEST_TIMEOUT,
    Unreachable: HTTPStatus.SERVICE_UNAVAILABLE,
}
logger = structlog.get_logger()

AGAIN_S = 2  # when to come back, where nothing better is known
FULL = (errno.ENOSPC, errno.EDQUOT)


def refusal(message: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """The body of every error; what is only for now says when to try again."""
    later = {"retry-after": str(AGAIN_S)} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return JSONResponse({"success": False, "error": message}, status, {**later, **(headers or {})})


async def on_library_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, LibraryError)
    clean = not isinstance(error, TooSlow) and await discard(request)
    return refusal(str(error), STATUS[type(error)], None if clean else {"connection": "close"})


async def on_http_error(request: Request, error: Exception) -> Response:
    """No such path, or a method it does not have."""
    assert isinstance(error, HTTPException)
    return refusal(error.detail, error.status_code, error.headers)


async def on_disconnect(request: Request, error: Exception) -> Response:
    """Nobody is left to hear it."""
    return refusal("The client went away", HTTPStatus.BAD_REQUEST)


HANDLERS: Mapping[Any, Any] = {
    LibraryError: on_library_error,
    HTTPException: on_http_error,
    ClientDisconnect: on_disconnect,
}


class Door:
    """ASGI middleware: who is let in, and what is said when something broke inside.

    At most `requests_max` requests at once. None that a foreign web page has sent: a page on any site may post forms to
    a loopback port, which browsers tell by `Origin`. WebSockets and the paths in `endless` stay open; they have limits
    of their own, and are not counted.
    """

    def __init__(self, app: ASGIApp, *, requests_max: int, endless: frozenset[str]) -> None:
        self._app = app
        self._requests_max = requests_max
        self._endless = endless
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._refused(Headers(scope=scope))
        if answer is None and (scope["type"] == "websocket" or scope["path"] in self._endless):
            await self._app(scope, receive, send)
        elif answer is None:
            answer = await self._let_in(scope, receive, send)
        if answer is not None:
            await answer(scope, receive, send)

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> Response | None:
        """Run the request; the answer that is still to be sent, if it failed before it began to answer."""
        answering = False

        async def watched_send(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        self._running += 1
        try:
            await self._app(scope, receive, watched_send)
        except Exception as error:
            sentence, status = told(error, scope)
            if answering:
                raise
            return refusal(sentence, status, {"connection": "close"})  # what is left of the body is not worth reading
        finally:
            self._running -= 1
        return None

    def _refused(self, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return refusal("Other web sites have no access", HTTPStatus.FORBIDDEN, {"connection": "close"})
        if self._running >= self._requests_max:
            busy = {"connection": "close", "retry-after": "1"}
            return refusal("The server is busy; try again in a second", HTTPStatus.SERVICE_UNAVAILABLE, busy)
        return None


def told(error: Exception, scope: Scope) -> tuple[str, HTTPStatus]:
    """The sentence and the status for whatever went wrong in a request; what is no refusal is logged."""
    if isinstance(error, LibraryError):
        return str(error), STATUS[type(error)]
    logger.error("request failed", method=scope["method"], path=scope["path"], exc_info=error)
    if _is_full(error):
        return "The disk of the library is full; nothing was stored", HTTPStatus.INSUFFICIENT_STORAGE
    return "The library could not do this; its log says why", HTTPStatus.INTERNAL_SERVER_ERROR


def _is_full(error: Exception) -> bool:
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in FULL
