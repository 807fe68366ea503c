"""X-Forwarded-For and X-Forwarded-Proto of trusted proxies.

Any client can send these headers. A server that trusts them unconditionally lets each request choose its own address,
which defeats every limit per address.
"""

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

TRUST_ALL = "*"
FORWARDED_FOR = b"x-forwarded-for"


def trust_proxies(proxies: str | None, app: ASGIApp) -> ASGIApp:
    """Wrap `app` so that it takes client address and scheme from these proxies; return it unchanged for None."""
    if proxies is None:
        return app
    trusting_app: ASGIApp = ProxyHeadersMiddleware(app, proxies)  # type: ignore[arg-type,assignment]  # own ASGI types
    return LastForwardedFor(trusting_app) if proxies == TRUST_ALL else trusting_app


class LastForwardedFor:
    """ASGI middleware that keeps only the last address of X-Forwarded-For, which the proxy itself appended.

    The addresses before it come from the client and may be forged. With `*`, which a Unix socket requires because its
    peers have no address, uvicorn would use the first one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        values = [value for name, value in scope.get("headers", ()) if name == FORWARDED_FOR]
        if values:
            others = [each for each in scope["headers"] if each[0] != FORWARDED_FOR]
            last = values[-1].rsplit(b",", 1)[-1].strip()
            scope = {**scope, "headers": [*others, (FORWARDED_FOR, last)]}
        await self._app(scope, receive, send)
