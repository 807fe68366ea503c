"""URLs of servers: validate them, compare their origins, and recognise the same server behind a redirect. Pure."""

from urllib.parse import SplitResult, urljoin, urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
API_PREFIX = "/api/"


def check_server_url(text: str) -> None:
    """Raise ValueError, with what is wrong, unless `text` is the base URL of a server."""
    parts = urlsplit(text)
    if parts.scheme not in DEFAULT_PORTS:
        raise ValueError("it does not start with http:// or https://")
    if any(char.isspace() or not char.isprintable() for char in text):
        raise ValueError("it contains a space or an invisible character")
    if not parts.hostname:
        raise ValueError("it has no host name")
    if "@" in parts.netloc:
        raise ValueError("it contains a user name; to sign in, use `sploot login`")
    if "?" in text or "#" in text:
        raise ValueError("it has a query or a fragment, after ? or #")
    check_port(parts)


def check_port(parts: SplitResult) -> None:
    """Raise ValueError if there is a port outside 1 to 65535."""
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0 or (port is None and parts.netloc.endswith(":")):
        raise ValueError("its port is not between 1 and 65535")


def get_origin(url: str) -> str:
    """Return scheme, host and port (RFC 6454, 4) of a server URL; `local` is its own origin."""
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS:
        return url
    host = (parts.hostname or "").lower()
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{_port(parts)}"


def find_moved_base(requested: str, location: str) -> str | None:
    """Return the new base URL of a server that redirects the request for the URL `requested` to `location`.

    It is the same server only if the path of the API is unchanged after a new prefix, and the origin differs by no more
    than an upgrade to https or a leading `www.`. Anything else may be another host on the way, which must not get the
    user's files: None.
    """
    try:
        before, after = urlsplit(requested), urlsplit(urljoin(requested, location))
        if before == after:
            return None
        api_path = before.path[before.path.index(API_PREFIX) :]
        base = f"{after.scheme}://{after.netloc}{after.path.removesuffix(api_path)}"
        check_server_url(base)
    except ValueError:
        return None
    is_upgrade = (before.scheme, after.scheme) == ("http", "https")
    is_same_port = before.scheme == after.scheme and _port(before) == _port(after)
    is_same_server = _strip_www(before) == _strip_www(after) and (is_upgrade or is_same_port)
    return base if is_same_server and after.path.endswith(api_path) else None


def _port(parts: SplitResult) -> int:
    return parts.port or DEFAULT_PORTS[parts.scheme]


def _strip_www(parts: SplitResult) -> str:
    return (parts.hostname or "").removeprefix("www.")
