"""Proxy and certificates that the environment configures. What cannot work is reported by the name of its variable.

The daemon keeps the environment of the command that started it, so each remedy ends with a restart.
"""

import os
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from splootd.errors import Unreachable
from splootd.server_url import check_port

_SYSTEM_SETTINGS = "the system's settings"
_RESTART = "then: sploot daemon restart"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy and the variable that names it. As text it hides the user name and the password."""

    url: str
    variable: str

    def __str__(self) -> str:
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2].rstrip('/')} ({self.variable})"


def find_proxy(server_url: str) -> Proxy | None:
    """Return the proxy for a server; None without one, or if NO_PROXY exempts the server."""
    proxies, parts = getproxies(), urlsplit(server_url)
    kind = next((kind for kind in (parts.scheme, "all") if proxies.get(kind)), None)
    if kind is None or proxy_bypass(parts.netloc):
        return None
    url = proxies[kind]
    return Proxy(url if "://" in url else f"http://{url}", _find_variable(f"{kind}_proxy"))


def create_proxy_transport(proxy: Proxy, limits: httpx.Limits, ssl_context: ssl.SSLContext) -> httpx.AsyncHTTPTransport:
    """Return a transport of httpx through `proxy`. Raises Unreachable if the proxy is of a kind that cannot be used."""
    try:
        check_port(urlsplit(proxy.url))
        return httpx.AsyncHTTPTransport(proxy=proxy.url, limits=limits, verify=ssl_context)
    except ImportError as error:
        raise Unreachable(
            f"{proxy} is a SOCKS proxy, which needs another package: unset {proxy.variable}, or"
            f" pip install 'sploot[socks]'; {_RESTART}"
        ) from error
    except (ValueError, httpx.InvalidURL) as error:
        raise Unreachable(
            f"{proxy} is not an http://, https:// or socks5:// proxy: correct or unset {proxy.variable}; {_RESTART}"
        ) from error


def create_ssl_context() -> ssl.SSLContext:
    """Return the trusted certificates: those of SSL_CERT_FILE or SSL_CERT_DIR, else httpx's. Raises Unreachable."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:  # ssl.SSLError is one
        variable = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), None)
        source = f"{os.environ[variable]} ({variable})" if variable else "certifi's list"
        remedy = f"correct or unset {variable}" if variable else "reinstall sploot"
        raise Unreachable(
            f"the trusted certificates in {source} cannot be loaded: {error.strerror or error}: {remedy}; {_RESTART}"
        ) from error


def _find_variable(name: str) -> str:
    """Return the variable as the environment spells it; lower case precedes, as in `getproxies`."""
    spellings = [each for each in os.environ if each.lower() == name and os.environ[each]]
    return max(spellings, key=str.islower, default=_SYSTEM_SETTINGS)
