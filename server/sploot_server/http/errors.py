"""Error responses: JSON with a message, and the connection left in a known state.

A server that answers early and keeps the connection must read the rest of the request body (RFC 9112, section 9.3):
otherwise the rest is parsed as the next request. If it closes the socket with unread data, TCP sends a reset, which can
destroy the response before the client reads it (section 9.6). Handlers therefore discard the body up to a limit, and
close the connection only beyond it.
"""

import errno
import sqlite3
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from sploot_server.domain.entities import (
    BackendUnavailable,
    BodyTimeout,
    ContentMismatch,
    InvalidInput,
    LibraryError,
    NotFound,
    NoThumbnail,
    OriginalMissing,
    OutOfSpace,
    TooLarge,
)
from sploot_server.http.request_body import discard_body

STATUS_BY_ERROR: Mapping[type[LibraryError], HTTPStatus] = {
    InvalidInput: HTTPStatus.BAD_REQUEST,
    NotFound: HTTPStatus.NOT_FOUND,
    NoThumbnail: HTTPStatus.NOT_FOUND,
    OriginalMissing: HTTPStatus.NOT_FOUND,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    OutOfSpace: HTTPStatus.INSUFFICIENT_STORAGE,
    ContentMismatch: HTTPStatus.PRECONDITION_FAILED,
    BodyTimeout: HTTPStatus.REQUEST_TIMEOUT,
    BackendUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
logger = structlog.get_logger()

LIMIT = "limit"
"""Key of `scope["state"]`: the name of the limit that refused the request, for the metrics."""
RETRY_AFTER_S = 2  # default of Retry-After
DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)


def error_response(message: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error as JSON; with status 503, add Retry-After."""
    retry_after = {"retry-after": str(RETRY_AFTER_S)} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return JSONResponse({"success": False, "error": message}, status, {**retry_after, **(headers or {})})


def mark_limit(scope: Scope, limit: str) -> None:
    """Let the metrics count a request as refused by one of `measurements.LIMITS`."""
    scope.setdefault("state", {})[LIMIT] = limit


async def on_library_error(request: Request, error: Exception) -> Response:
    """Answer an error of the library with its status."""
    assert isinstance(error, LibraryError)
    _mark_out_of_space(error, request.scope)
    discarded = not isinstance(error, BodyTimeout) and await discard_body(request)
    return error_response(str(error), STATUS_BY_ERROR[type(error)], None if discarded else {"connection": "close"})


async def on_http_error(request: Request, error: Exception) -> Response:
    """Answer an unknown path or method."""
    assert isinstance(error, HTTPException)
    return error_response(error.detail, error.status_code, error.headers)


async def on_disconnect(request: Request, error: Exception) -> Response:
    """End a request whose client disconnected; the response reaches the metrics only."""
    return error_response("The client disconnected", HTTPStatus.BAD_REQUEST)


EXCEPTION_HANDLERS: Mapping[Any, Any] = {
    LibraryError: on_library_error,
    HTTPException: on_http_error,
    ClientDisconnect: on_disconnect,
}


def describe_error(error: Exception, scope: Scope) -> tuple[str, HTTPStatus]:
    """Return the message and status for an exception of a request; log it unless it is a LibraryError."""
    if isinstance(error, LibraryError):
        _mark_out_of_space(error, scope)
        return str(error), STATUS_BY_ERROR[type(error)]
    logger.error("request failed", method=scope["method"], path=scope["path"], exc_info=error)
    if _is_disk_full(error):
        return "The disk of the library is full; the file was not stored", HTTPStatus.INSUFFICIENT_STORAGE
    return "Internal server error; see the log of the server", HTTPStatus.INTERNAL_SERVER_ERROR


def _mark_out_of_space(error: LibraryError, scope: Scope) -> None:
    if isinstance(error, OutOfSpace):
        mark_limit(scope, error.limit)


def _is_disk_full(error: Exception) -> bool:
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS
