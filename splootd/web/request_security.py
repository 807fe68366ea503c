"""Request checks and security headers of the web UI.

Any open web page can make the browser send requests to this port, and can resolve its own host name to it (DNS
rebinding). Therefore Host, Origin, Sec-Fetch-Site and the session cookie are checked. A change also needs a custom
header, which a cross-origin page can only send after a CORS preflight, and preflights are never answered.
"""

import base64
import hashlib
import html
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from splootd.codec import encode
from splootd.control.endpoints import json_response
from splootd.protocol import Problem

HOST = "127.0.0.1"
LOGIN_PATH = "/login"
CSRF_HEADER = "x-sploot-ui"
SAFE_METHODS = frozenset({"GET", "HEAD"})

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self'; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Headers of each response that does not set them itself."""

_ERROR_STYLE = """
:root { color-scheme: light dark; background: light-dark(#f7f7f9, #141419); color: light-dark(#1c1c24, #ececf1); }
body { display: grid; min-height: 100vh; margin: 0; place-content: center; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 30rem; margin: 16px; padding: 24px 28px; border: 1px solid light-dark(#e0e0e6, #33333d);
  border-radius: 8px; background: light-dark(#ffffff, #1b1b21); }
h1 { margin: 0; font-size: 20px; }
p { margin: 12px 0 0; overflow-wrap: anywhere; }
code { padding: 2px 6px; border-radius: 4px; background: light-dark(#f0f0f4, #26262e); }
"""
_ERROR_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Sploot</title>
<meta name="color-scheme" content="light dark"><style>{style}</style>
<main><h1>Sploot</h1><p>{message}</p><p>Run <code>sploot ui</code> in a terminal.</p></main></html>
"""
_ERROR_STYLE_HASH = base64.b64encode(hashlib.sha256(_ERROR_STYLE.encode()).digest()).decode()
_ERROR_HEADERS = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_ERROR_STYLE_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
}
"""The page is for browsers without a session, which cannot load the style sheets: its own is allowed by its hash."""


def check_request(
    method: str, path: str, headers: Headers, *, port: int, has_valid_cookie: Callable[[str], bool]
) -> Problem | None:
    """Return the problem of a request that must be rejected, or None."""
    hosts, origins = headers.getlist("host"), headers.getlist("origin")
    own_hosts = (f"{HOST}:{port}", f"localhost:{port}")
    if len(hosts) != 1 or hosts[0].lower() not in own_hosts:
        return Problem("misdirected", "the Host header does not name this server", 421)
    if any(origin != f"http://{hosts[0].lower()}" for origin in origins):
        return Problem("origin_not_allowed", "requests from other web pages are not allowed", 403)
    if any(site not in ("same-origin", "none") for site in headers.getlist("sec-fetch-site")):
        message = "requests from other sites are not allowed; open the address directly"
        return Problem("origin_not_allowed", message, 403)
    if path == LOGIN_PATH:
        return None
    if not any(has_valid_cookie(cookie) for cookie in headers.getlist("cookie")):
        message = "this browser is not connected yet, or its session has expired"
        return Problem("no_session", message, 401, "sploot ui")
    if method not in SAFE_METHODS and (not origins or headers.getlist(CSRF_HEADER) != ["1"]):
        message = f"a change requires the header {CSRF_HEADER}: 1 and an Origin header"
        return Problem("csrf_header_missing", message, 403)
    return None


def error_page(problem: Problem) -> Response:
    """Render a problem as an HTML page for people."""
    message = f"{problem.title[:1].upper()}{problem.title[1:]}."
    page = _ERROR_PAGE.format(style=_ERROR_STYLE, message=html.escape(message))
    return HTMLResponse(page, problem.status, _ERROR_HEADERS)


def rejection_response(problem: Problem, headers: Headers) -> Response:
    """Return an HTML page for browsers and a problem for programs, and close the connection.

    A server that does not read the whole request body must close the connection (RFC 9112, 9.3).
    """
    wants_html = "text/html" in headers.get("accept", "")
    response = error_page(problem) if wants_html else json_response(encode(problem), problem.status)
    response.headers["connection"] = "close"
    return response


def with_request_security(app: ASGIApp, *, port: int, has_valid_cookie: Callable[[str], bool]) -> ASGIApp:
    """Wrap `app` so that only allowed requests reach it, and each response has the security headers."""

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        problem = check_request(scope["method"], scope["path"], headers, port=port, has_valid_cookie=has_valid_cookie)
        await (app if problem is None else rejection_response(problem, headers))(scope, receive, send_with_headers)

    return guard
