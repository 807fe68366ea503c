"""ASGI middleware around all others: rejects ambiguous and foreign requests and answers unexpected errors."""

from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sploot_server.http.errors import describe_error, error_response

SINGLE_HEADERS = ("host", "authorization")  # a proxy may believe another one than the server (RFC 9112, section 3.2)
CLOSE = {"connection": "close"}


class RequestGuardMiddleware:
    """Rejects requests of web pages of other origins, and those whose host or token is ambiguous.

    A page of any site can post a form to a loopback port without a CORS preflight; browsers then send `Origin`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                # A browser must not take JSON for a script or a page.
                MutableHeaders(raw=message["headers"]).setdefault("x-content-type-options", "nosniff")
            await send(message)

        response = _rejection(Headers(scope=scope))
        if response is None and scope["type"] == "websocket":
            await self._app(scope, receive, send)
        elif response is None:
            response = await self._run(scope, receive, guarded_send)
        if response is not None:
            await response(scope, receive, guarded_send)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> Response | None:
        """Run the request. Return an error response if it failed before its response started."""
        response_started = False

        async def tracking_send(message: Message) -> None:
            nonlocal response_started
            response_started = True
            await send(message)

        try:
            await self._app(scope, receive, tracking_send)
        except Exception as error:
            error_message, status = describe_error(error, scope)
            if response_started:
                raise  # the status line is sent; uvicorn closes the connection, so the client sees a truncated body
            # The rest of the request body is unread. On a kept connection it would be parsed as the next request.
            return error_response(error_message, status, CLOSE)
        return None


def _rejection(headers: Headers) -> Response | None:
    for name in SINGLE_HEADERS:
        if len(headers.getlist(name)) > 1:
            return error_response(f"The request has more than one {name} header", HTTPStatus.BAD_REQUEST, CLOSE)
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("host", ""):
        return error_response("Requests from other websites are not allowed", HTTPStatus.FORBIDDEN, CLOSE)
    return None
