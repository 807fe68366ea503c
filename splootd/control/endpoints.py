"""HTTP into requests of the protocol, and answers and errors back into HTTP: the same for every door."""

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

from splootd.control.answers import Answers
from splootd.control.lists import Lines
from splootd.control.once import Once
from splootd.errors import ConfigError, ItemError, RequestError, ServerError, SplootError
from splootd.logs import logger
from splootd.metrics.exposition import CONTENT_TYPE
from splootd.protocol import BODY_BYTES_MAX, AnyRequest, GetEvents, OpenPage, Problem, Request
from splootd.wire import MalformedError, decode, decode_query, encode

KEY_CHARS_MAX = 200
SECRET = frozenset({OpenPage})  # whose answers are not kept, not even for a repeated request

Handler = Callable[[HttpRequest], Awaitable[Response]]


class Endpoints:
    """Routes, one for each request of the protocol. A change that is asked for twice under one key is made once."""

    def __init__(self, answers: Answers, once: Once) -> None:
        self._answers = answers
        self._once = once
        self._log = logger("control")

    def app(self, routes: Iterable[BaseRoute]) -> Starlette:
        """An application that says in JSON, too, what it does not have."""
        app = Starlette(routes=list(routes), exception_handlers={HTTPException: self._not_routed})
        app.router.redirect_slashes = False
        return app

    def routes(self, kinds: Iterable[type[Request]]) -> list[BaseRoute]:
        return [Route(kind.path, self._endpoint(kind), methods=[kind.method]) for kind in kinds]

    def answering(self, handler: Handler) -> Handler:
        """`handler`, whose errors become problems."""

        async def endpoint(http: HttpRequest) -> Response:
            try:
                return await handler(http)
            except ClientDisconnect:
                return Response(status_code=400)
            except Exception as error:  # noqa: BLE001 - the edge of the program: whoever asked gets an answer
                problem = problem_of(error)
                if problem.status == 500:
                    self._log.error("a request failed", request=f"{http.method} {http.url.path}", exc_info=error)
                return as_json(encode(problem), problem.status)

        return endpoint

    async def changed(self, http: HttpRequest, change: Callable[[str], Awaitable[dict[str, Any]]]) -> Response:
        """The answer of `change`, which is told the key of this request, or the one given under that key before."""
        key = _key(http)
        return as_json(await self._once(f"{http.url.path} {key}", lambda: change(key)))

    def _endpoint(self, kind: type[Request]) -> Handler:
        async def handler(http: HttpRequest) -> Response:
            request = await read(kind, http)
            if kind.method == "GET" or kind in SECRET:
                return _answered(await self._answers.answer(request, ""))

            async def change(key: str) -> dict[str, Any]:
                return encode(await self._answers.answer(request, key))

            return await self.changed(http, change)

        return self.answering(handler)

    async def _not_routed(self, http: HttpRequest, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = {404: "no_such_address", 405: "wrong_method"}.get(error.status_code, "refused")
        title = f"{http.method} {http.url.path[:200]}: {error.detail}"
        return as_json(encode(Problem(code, title, error.status_code)), error.status_code, error.headers)


def _answered(answer: Any) -> Response:
    if isinstance(answer, AsyncIterator):
        return StreamingResponse(answer, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
    if isinstance(answer, Lines):
        return StreamingResponse(answer.pieces, media_type="application/x-ndjson")
    if isinstance(answer, str):
        return Response(answer, media_type=CONTENT_TYPE)
    return as_json(encode(answer))


def problem_of(error: Exception) -> Problem:
    """How `error` looks from outside: a stable code for scripts, sentences for people, a status for HTTP."""
    match error:
        case RequestError():
            return Problem(error.code, error.title, error.status, error.hint)
        case MalformedError():
            return Problem("malformed", f"the request cannot be understood: {error}", 400)
        case RecursionError() | OverflowError() | UnicodeEncodeError():
            return Problem("malformed", "the request cannot be understood: a value is out of all bounds", 400)
        case ItemError():
            return Problem(error.fault.value, error.title, 502 if isinstance(error, ServerError) else 400, error.hint)
        case ConfigError():
            return Problem("configuration", error.title, 400, error.hint)
        case SplootError():
            return Problem("unavailable", error.title, 503, error.hint)
        case _:
            return Problem("internal", "the daemon met a fault of its own; its log says more", 500, "sploot logs")


async def read(kind: type[Request], http: HttpRequest) -> AnyRequest:
    """The request that `http` carries; MalformedError or RequestError when it carries none."""
    if kind.method == "GET":
        request = decode_query(kind, http.scope["query_string"].decode("ascii", "surrogateescape"))
    else:
        body = await body_of(http)
        try:
            request = decode(kind, json.loads(body) if body else {})
        except MalformedError:
            raise
        except ValueError as error:
            raise MalformedError(f"the body is not JSON: {error}") from None
    last = http.headers.get("last-event-id", "")
    if isinstance(request, GetEvents) and request.since is None and last.isdecimal() and len(last) < 19:
        request = replace(request, since=int(last))
    return cast(AnyRequest, request)  # `kind` is one of REQUESTS, which are the members of AnyRequest


async def body_of(http: HttpRequest) -> bytes:
    """All of it; RequestError when that is more than any request needs."""
    declared = http.headers.get("content-length", "0")
    body = bytearray()
    if not declared.isdecimal() or len(declared) > 18 or int(declared) > BODY_BYTES_MAX:
        raise _too_large()
    async for piece in http.stream():
        body += piece
        if len(body) > BODY_BYTES_MAX:
            raise _too_large()
    return bytes(body)


def _too_large() -> RequestError:
    title = f"the request is larger than {BODY_BYTES_MAX} bytes"
    return RequestError("too_large", title, "send the list in several requests", status=413)


def _key(http: HttpRequest) -> str:
    key = http.headers.get("idempotency-key") or secrets.token_hex(16)
    if len(key) > KEY_CHARS_MAX:
        raise RequestError("malformed", f"an Idempotency-Key has at most {KEY_CHARS_MAX} characters")
    return key


def as_json(body: dict[str, Any], status: int = 200, headers: Any = None) -> Response:
    # Plain ASCII: a file name that is not UTF-8 travels as escaped surrogates.
    media_type = "application/json" if status < 400 else "application/problem+json"
    return Response(json.dumps(body).encode("ascii"), status, headers=headers, media_type=media_type)
