"""Whom a proxy says that it speaks for, and what of that is believed."""

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

EVERYBODY = "*"
FORWARDED_FOR = b"x-forwarded-for"


def behind(proxies: str | None, app: ASGIApp) -> ASGIApp:
    """`app`, which takes a request to come from where the proxies at these addresses say; from nowhere else if None."""
    if proxies is None:
        return app
    believing: ASGIApp = ProxyHeadersMiddleware(app, proxies)  # type: ignore[arg-type,assignment]  # types of its own
    return LastHop(believing) if proxies == EVERYBODY else believing


class LastHop:
    """ASGI middleware: of the addresses in X-Forwarded-For it leaves the last, which the proxy itself has seen.

    Those before it are what the client has said. uvicorn takes the first where it is to believe everybody, as it must
    on a Unix socket, whose peers have no address.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        said = [value for name, value in scope.get("headers", ()) if name == FORWARDED_FOR]
        if said:
            others = [each for each in scope["headers"] if each[0] != FORWARDED_FOR]
            last = said[-1].rsplit(b",", 1)[-1].strip()
            scope = {**scope, "headers": [*others, (FORWARDED_FOR, last)]}
        await self._app(scope, receive, send)
