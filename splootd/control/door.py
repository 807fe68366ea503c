"""The control API's door: HTTP and JSON on a Unix socket that only its owner may use.

What is asked is answered in `answers.py`, what streams is in `stream.py`, and `transport.py` sees who comes and keeps
them within bounds. This file turns HTTP into requests of the protocol, and answers and errors back into HTTP.
"""

import asyncio
import json
import os
import secrets
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from splootd import __version__
from splootd.control.answers import Answers
from splootd.control.once import Once
from splootd.control.parts import Parts
from splootd.control.transport import BoundedHttp, Server
from splootd.errors import ConfigError, ItemError, RequestError, ServerError, SplootError
from splootd.logs import logger
from splootd.metrics.exposition import CONTENT_TYPE
from splootd.protocol import API, BODY_BYTES_MAX, REQUESTS, AnyRequest, GetEvents, Problem, Request
from splootd.wire import MalformedError, decode, decode_query, encode

KEEP_ALIVE_S = 30
CLOSE_S = 2  # the time that answers under way have when the daemon ends
BACKLOG = 128
KEY_CHARS_MAX = 200


def bind(path: Path) -> socket.socket:
    """A listening socket at `path`, 0600 in a 0700 folder. The caller holds the lock: what lies there is stale."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    umask = os.umask(0o077)
    try:
        listener.bind(os.fspath(path))
        path.chmod(0o600)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(umask)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


class Control:
    """Serves the control API on `listener` for as long as `run` runs."""

    def __init__(self, listener: socket.socket, parts: Parts) -> None:
        self._listener = listener
        self.answers = Answers(parts)
        headers = [("Sploot-Version", __version__), ("Sploot-Api", API), ("Sploot-Boot-Id", parts.boot)]
        self._server = Server(
            uvicorn.Config(
                _Door(self.answers, Once(parts.arrivals, parts.clock)).app(),
                http=BoundedHttp,
                ws="none",
                lifespan="off",
                interface="asgi3",
                headers=headers,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                log_config=None,
                access_log=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=CLOSE_S,
                backlog=BACKLOG,
            )
        )

    def drain(self) -> None:
        """From now on the status says that the daemon is about to end."""
        self.answers.draining = True

    async def run(self) -> None:
        """Answer until `close`. Cancelled, it closes first: whoever listens is to see an end, not a torn line."""
        async with asyncio.TaskGroup() as group:
            news = group.create_task(self.answers.news.run(), name="news")
            serving = group.create_task(self._server.serve(sockets=[self._listener]), name="control socket")
            try:
                await asyncio.shield(serving)
            finally:
                self.close()
                await serving
                news.cancel()

    def close(self) -> None:
        """Let `run` end: streams end at once, answers under way have `CLOSE_S`."""
        self.answers.news.end()
        self._server.end()


class _Door:
    """The routes, one for each request of the protocol."""

    def __init__(self, answers: Answers, once: Once) -> None:
        self._answers = answers
        self._once = once
        self._log = logger("control")

    def app(self) -> Starlette:
        app = Starlette(
            routes=[Route(kind.path, self._endpoint(kind), methods=[kind.method]) for kind in REQUESTS],
            exception_handlers={HTTPException: self._not_routed},
        )
        app.router.redirect_slashes = False
        return app

    def _endpoint(self, kind: type[Request]) -> Any:
        async def endpoint(http: HttpRequest) -> Response:
            try:
                _refuse_browsers(http)
                return await self._answer(await _read(kind, http), _key(http))
            except ClientDisconnect:
                return Response(status_code=400)
            except Exception as error:  # noqa: BLE001 - the edge of the program: whoever asked gets an answer
                return self._problem(error, kind)

        return endpoint

    async def _answer(self, request: AnyRequest, key: str) -> Response:
        if request.method == "POST":
            return _json(await self._once(f"{request.path} {key}", lambda: self._change(request, key)))
        answer = await self._answers.answer(request, key)
        if isinstance(answer, AsyncIterator):
            return StreamingResponse(answer, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        if isinstance(answer, str):
            return Response(answer, media_type=CONTENT_TYPE)
        return _json(encode(answer))

    async def _change(self, request: AnyRequest, key: str) -> dict[str, Any]:
        return encode(await self._answers.answer(request, key))

    def _problem(self, error: Exception, kind: type[Request]) -> Response:
        problem = problem_of(error)
        if problem.status == 500:
            self._log.error("a request failed", request=kind.__name__, exc_info=error)
        return _json(encode(problem), problem.status)

    async def _not_routed(self, http: HttpRequest, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = {404: "no_such_address", 405: "wrong_method"}.get(error.status_code, "refused")
        title = f"{http.method} {http.url.path[:200]}: {error.detail}"
        return _json(encode(Problem(code, title, error.status_code)), error.status_code, error.headers)


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


def _refuse_browsers(http: HttpRequest) -> None:
    if "origin" in http.headers:
        raise RequestError("origin", "requests of web pages are refused here", status=403)


async def _read(kind: type[Request], http: HttpRequest) -> AnyRequest:
    """The request that `http` carries; MalformedError or RequestError when it carries none."""
    if kind.method == "GET":
        request = decode_query(kind, http.scope["query_string"].decode("ascii", "surrogateescape"))
    else:
        body = await _body(http)
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


async def _body(http: HttpRequest) -> bytes:
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


def _json(body: dict[str, Any], status: int = 200, headers: Any = None) -> Response:
    # Plain ASCII: a file name that is not UTF-8 travels as escaped surrogates.
    media_type = "application/json" if status < 400 else "application/problem+json"
    return Response(json.dumps(body).encode("ascii"), status, headers=headers, media_type=media_type)
