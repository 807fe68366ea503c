"""Conversion of HTTP to protocol requests, and of replies and errors to HTTP, for the Unix socket and the web UI."""

import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from splootd.codec import MalformedError, decode, decode_query, encode
from splootd.control.handlers import RequestHandlers
from splootd.control.idempotency import IdempotencyCache
from splootd.control.items import JsonLines
from splootd.errors import ConfigError, ItemError, RequestError, ServerError, SplootError
from splootd.logs import get_logger
from splootd.metrics.exposition import CONTENT_TYPE
from splootd.protocol import BODY_BYTES_MAX, AnyRequest, GetEvents, OpenUi, Problem, Request

IDEMPOTENCY_KEY_CHARS_MAX = 200
NEVER_STORED_REQUESTS = frozenset({OpenUi})  # the reply is a one-time secret and must not be stored

HttpHandler = Callable[[HttpRequest], Awaitable[Response]]


class Endpoints:
    """Routes, one per protocol request. A change repeated with the same Idempotency-Key is applied once."""

    def __init__(self, handlers: RequestHandlers, idempotency: IdempotencyCache) -> None:
        self._handlers = handlers
        self._idempotency = idempotency
        self._log = get_logger("control")

    def build_app(self, routes: Iterable[BaseRoute]) -> Starlette:
        """Return an application that reports unknown routes and methods as problems, too."""
        app = Starlette(routes=list(routes), exception_handlers={HTTPException: self._handle_http_exception})
        app.router.redirect_slashes = False
        return app

    def build_routes(self, kinds: Iterable[type[Request]]) -> list[BaseRoute]:
        return [Route(kind.path, self._build_handler(kind), methods=[kind.method]) for kind in kinds]

    def with_error_handling(self, handler: HttpHandler) -> HttpHandler:
        """Wrap `handler` so that its exceptions become problems."""

        async def endpoint(http: HttpRequest) -> Response:
            try:
                return await handler(http)
            except ClientDisconnect:
                return Response(status_code=400)
            except Exception as error:  # noqa: BLE001 - the outermost layer: each request gets a response
                problem = problem_from_error(error)
                if problem.status == 500:
                    self._log.error("request failed", request=f"{http.method} {http.url.path}", exc_info=error)
                return json_response(encode(problem), problem.status)

        return endpoint

    async def run_once(self, http: HttpRequest, operation: Callable[[str], Awaitable[dict[str, Any]]]) -> Response:
        """Return the reply of `operation`, called with the Idempotency-Key, or the stored reply of that key."""
        key = _idempotency_key(http)
        return json_response(await self._idempotency(f"{http.url.path} {key}", lambda: operation(key)))

    def _build_handler(self, kind: type[Request]) -> HttpHandler:
        async def handler(http: HttpRequest) -> Response:
            request = await parse_request(kind, http)
            if kind.method == "GET" or kind in NEVER_STORED_REQUESTS:
                return _to_response(await self._handlers.handle(request, ""))

            async def operation(key: str) -> dict[str, Any]:
                return encode(await self._handlers.handle(request, key))

            return await self.run_once(http, operation)

        return self.with_error_handling(handler)

    async def _handle_http_exception(self, http: HttpRequest, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = {404: "no_such_route", 405: "method_not_allowed"}.get(error.status_code, "rejected")
        title = f"{http.method} {http.url.path[:200]}: {error.detail}"
        return json_response(encode(Problem(code, title, error.status_code)), error.status_code, error.headers)


def _to_response(result: Any) -> Response:
    if isinstance(result, AsyncIterator):
        return StreamingResponse(result, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
    if isinstance(result, JsonLines):
        return StreamingResponse(result.chunks, media_type="application/x-ndjson")
    if isinstance(result, str):
        return Response(result, media_type=CONTENT_TYPE)
    return json_response(encode(result))


def problem_from_error(error: Exception) -> Problem:
    """Convert an exception to a problem: a stable code for scripts, a message for people, an HTTP status."""
    match error:
        case RequestError():
            return Problem(error.code, error.title, error.status, error.hint)
        case MalformedError():
            return Problem("malformed", f"malformed request: {error}", 400)
        case RecursionError() | OverflowError() | UnicodeEncodeError():
            return Problem("malformed", "malformed request: a value is out of range", 400)
        case ItemError():
            return Problem(
                error.error_code.value, error.title, 502 if isinstance(error, ServerError) else 400, error.hint
            )
        case ConfigError():
            return Problem("configuration", error.title, 400, error.hint)
        case SplootError():
            return Problem("unavailable", error.title, 503, error.hint)
        case _:
            return Problem("internal", "internal error in the daemon; see its log", 500, "sploot logs")


async def parse_request(kind: type[Request], http: HttpRequest) -> AnyRequest:
    """Parse a protocol request. Raises MalformedError or RequestError."""
    if kind.method == "GET":
        request = decode_query(kind, http.scope["query_string"].decode("ascii", "surrogateescape"))
    else:
        body = await read_body(http)
        try:
            request = decode(kind, json.loads(body) if body else {})
        except MalformedError:
            raise
        except ValueError as error:
            raise MalformedError(f"the body is not JSON: {error}") from None
    # An EventSource that reconnects repeats its original URL and adds Last-Event-ID (WHATWG HTML, 9.2.4).
    last_event_id = http.headers.get("last-event-id", "")
    if (
        isinstance(request, GetEvents)
        and request.since is None
        and last_event_id.isdecimal()
        and len(last_event_id) < 19
    ):
        request = replace(request, since=int(last_event_id))
    return cast(AnyRequest, request)  # `kind` is one of REQUESTS, which are the members of AnyRequest


async def read_body(http: HttpRequest) -> bytes:
    """Read the whole body. Raises RequestError when it is larger than BODY_BYTES_MAX."""
    # Content-Length is optional (RFC 9112, 6.2: a chunked body has none) and unverified, so the received bytes are
    # counted, too.
    declared = http.headers.get("content-length", "0")
    body = bytearray()
    if not declared.isdecimal() or len(declared) > 18 or int(declared) > BODY_BYTES_MAX:
        raise _body_too_large()
    async for chunk in http.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise _body_too_large()
    return bytes(body)


def _body_too_large() -> RequestError:
    title = f"the request is larger than {BODY_BYTES_MAX} bytes"
    return RequestError("too_large", title, "split the list into several requests", status=413)


def _idempotency_key(http: HttpRequest) -> str:
    key = http.headers.get("idempotency-key") or secrets.token_hex(16)
    if len(key) > IDEMPOTENCY_KEY_CHARS_MAX:
        raise RequestError("malformed", f"the Idempotency-Key is longer than {IDEMPOTENCY_KEY_CHARS_MAX} characters")
    return key


def json_response(body: dict[str, Any], status: int = 200, headers: Any = None) -> Response:
    # ASCII only: a file name that is not UTF-8 is sent as escaped surrogates, which UTF-8 cannot encode.
    media_type = "application/json" if status < 400 else "application/problem+json"
    return Response(json.dumps(body).encode("ascii"), status, headers=headers, media_type=media_type)
