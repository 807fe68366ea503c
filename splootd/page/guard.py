"""Who may ask what at the page's door, and what every answer forbids the browser to do with it.

Any page that the user has open can make the browser send requests to this port, and can point a name of its own at it.
So it counts who is asked for (Host), who asks (Origin, Sec-Fetch-Site), and whether that is one of ours (the cookie);
and a change needs a header that no foreign page can have sent without being asked for permission, which is never given.
"""

from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from splootd.control.endpoints import as_json
from splootd.protocol import Problem
from splootd.wire import encode

HOST = "127.0.0.1"
ENTRANCE = "/enter"
CHANGE_HEADER = "x-sploot-page"
READING = frozenset({"GET", "HEAD"})

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""On every answer that does not say it otherwise itself."""

_SORRY = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Sploot</title>
<h1>Sploot</h1><p>{sentence}</p><p>Run this in a terminal: <code>sploot ui</code></p></html>
"""


def refusal(method: str, path: str, headers: Headers, *, port: int, knows: Callable[[str], bool]) -> Problem | None:
    """Why a request is refused, or None. `knows` says whether a Cookie header holds a good cookie."""
    hosts, origins = headers.getlist("host"), headers.getlist("origin")
    own = (f"{HOST}:{port}", f"localhost:{port}")
    if len(hosts) != 1 or hosts[0].lower() not in own:
        return Problem("misdirected", "this is not the host that was asked for", 421)
    if any(origin != f"http://{hosts[0].lower()}" for origin in origins):
        return Problem("origin", "requests of other pages are refused here", 403)
    if any(site not in ("same-origin", "none") for site in headers.getlist("sec-fetch-site")):
        return Problem("origin", "requests from other sites are refused here; open the address by itself", 403)
    if path == ENTRANCE:
        return None
    if not any(knows(cookie) for cookie in headers.getlist("cookie")):
        return Problem("not_entered", "this browser has not been let in, or not for a long time", 401, "sploot ui")
    if method not in READING and (not origins or headers.getlist(CHANGE_HEADER) != ["1"]):
        return Problem("no_header", f"a change needs the header {CHANGE_HEADER}: 1, and an Origin", 403)
    return None


def sorry(problem: Problem) -> Response:
    """The same for whoever looks at it in a browser."""
    return HTMLResponse(_SORRY.format(sentence=f"{problem.title[:1].upper()}{problem.title[1:]}."), problem.status)


def refused(problem: Problem, headers: Headers) -> Response:
    """A page for people, a problem for programs. What else was sent with the request is not waited for."""
    wants_page = "text/html" in headers.get("accept", "")
    answer = sorry(problem) if wants_page else as_json(encode(problem), problem.status)
    answer.headers["connection"] = "close"
    return answer


def guarded(app: ASGIApp, *, port: int, knows: Callable[[str], bool]) -> ASGIApp:
    """`app` for those who may ask."""

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_bounded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        problem = refusal(scope["method"], scope["path"], headers, port=port, knows=knows)
        await (app if problem is None else refused(problem, headers))(scope, receive, send_bounded)

    return guard
