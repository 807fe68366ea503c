"""The session cookie: not readable by scripts, not sent with requests that another site causes.

Over TLS its name has the prefix `__Host-`: the browser accepts it only with Secure, for this host alone and all paths.
Without TLS the name has the port: a browser sends its cookies to every port of a host (RFC 6265, section 8.5), and two
servers must not overwrite each other's.
"""

from starlette.datastructures import Headers
from starlette.types import Scope

SECURE_NAME = "__Host-sploot"
COOKIE_AGE_S = 400 * 86_400  # the most that browsers allow; the server ends unused sessions earlier
COOKIE_CHARS_MAX = 200


def read_session_cookie(scope: Scope, headers: Headers) -> str:
    """Return the value of the session cookie; '' if there is none."""
    name = _cookie_name(scope, headers)
    for header in headers.getlist("cookie"):
        for pair in header.split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name and 0 < len(value) <= COOKIE_CHARS_MAX:
                return value
    return ""


def set_cookie_header(scope: Scope, value: str) -> str:
    """Return the `Set-Cookie` header that stores a value; '' deletes the cookie."""
    secure = "; Secure" if _is_secure(scope) else ""
    age_s = COOKIE_AGE_S if value else 0
    name = _cookie_name(scope, Headers(scope=scope))
    return f"{name}={value}; Max-Age={age_s}; Path=/; HttpOnly; SameSite=Strict{secure}"


def _cookie_name(scope: Scope, headers: Headers) -> str:
    if _is_secure(scope):
        return SECURE_NAME
    port = headers.get("host", "").rpartition(":")[2]
    return f"sploot_{port if port.isdecimal() else 80}"


def _is_secure(scope: Scope) -> bool:
    return scope.get("scheme") in ("https", "wss")
