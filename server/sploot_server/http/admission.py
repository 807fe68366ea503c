"""ASGI middleware that limits concurrent requests, rejects foreign web pages and answers unexpected errors."""

from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sploot_server.http.errors import describe_error, error_response


class AdmissionMiddleware:
    """Admits at most `requests_max` concurrent requests, and none from web pages of other origins.

    A page of any site can post a form to a loopback port without a CORS preflight; browsers then send `Origin`.
    WebSockets and the requests to `streaming_paths` stay open, so they have their own limits and are not counted.
    """

    def __init__(self, app: ASGIApp, *, requests_max: int, streaming_paths: frozenset[str]) -> None:
        self._app = app
        self._requests_max = requests_max
        self._streaming_paths = streaming_paths
        self._active_requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = self._rejection(Headers(scope=scope))
        if response is None and (scope["type"] == "websocket" or scope["path"] in self._streaming_paths):
            await self._app(scope, receive, send)
        elif response is None:
            response = await self._run(scope, receive, send)
        if response is not None:
            await response(scope, receive, send)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> Response | None:
        """Run the request. Return an error response if it failed before its response started."""
        response_started = False

        async def tracking_send(message: Message) -> None:
            nonlocal response_started
            response_started = True
            await send(message)

        self._active_requests += 1
        try:
            await self._app(scope, receive, tracking_send)
        except Exception as error:
            error_message, status = describe_error(error, scope)
            if response_started:
                raise  # the status line is sent; uvicorn closes the connection, so the client sees a truncated body
            # The rest of the request body is unread. On a kept connection it would be parsed as the next request.
            return error_response(error_message, status, {"connection": "close"})
        finally:
            self._active_requests -= 1
        return None

    def _rejection(self, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return error_response(
                "Requests from other websites are not allowed", HTTPStatus.FORBIDDEN, {"connection": "close"}
            )
        if self._active_requests >= self._requests_max:
            busy = {"connection": "close", "retry-after": "1"}
            return error_response("The server is busy; retry in one second", HTTPStatus.SERVICE_UNAVAILABLE, busy)
        return None
