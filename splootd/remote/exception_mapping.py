"""Map exceptions of httpx and the operating system to the daemon's errors. No other module interprets them."""

import contextlib
import os
import socket
import ssl
from collections.abc import Iterator

import httpx

from splootd.errors import ConnectionLost, ItemError, ResourceExhausted, Unreachable
from splootd.file_reader import RESOURCE_ERRNOS
from splootd.remote.network_environment import Proxy
from splootd.text import printable

# Raised before the first byte of the request left this machine, so the server cannot have received the file. Any other
# error leaves the outcome unknown: the server may have stored the file although its response never arrived.
_NOTHING_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    socket.gaierror,
)


@contextlib.contextmanager
def map_exceptions(server_name: str) -> Iterator[None]:
    """Convert exceptions raised in the block to `ItemError`s whose messages contain `server_name`."""
    try:
        yield
    except (httpx.HTTPError, httpx.StreamError, OSError, TimeoutError) as error:
        raise _map_exception(error, server_name) from error


def blame_proxy(proxy: Proxy, error: httpx.TransportError) -> httpx.TransportError:
    """Return the error of connecting through `proxy` as one of the proxy, unless TLS failed behind it."""
    causes = list(_iter_causes(error))
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return error
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return httpx.ProxyError(f"the proxy {proxy} refuses the connection")
    return httpx.ProxyError(f"the proxy {proxy} does not connect: {_format_cause(error)}")


def _map_exception(error: Exception, server_name: str) -> ItemError:
    message = printable(_format_cause(error))
    if resource_error := _find_resource_error(error):
        return ResourceExhausted(f"this machine is out of resources: {resource_error}", "uploads resume automatically")
    if isinstance(error, _NOTHING_SENT):
        return Unreachable(f"{server_name} cannot be reached: {message}", "uploads resume when it is back")
    return ConnectionLost(
        f"the connection to {server_name} was lost: {message}", "the file is looked up by hash before it is sent again"
    )


def _format_cause(error: BaseException) -> str:
    """Describe the error for people: in the system's words if it has any, without error numbers and addresses."""
    for cause in _iter_causes(error):
        if isinstance(cause, httpx.ProxyError):
            return str(cause)
        if isinstance(cause, socket.gaierror):
            return f"its name cannot be resolved ({str(cause.strerror).lower()})"
        if isinstance(cause, ConnectionError | FileNotFoundError) and cause.errno:
            return os.strerror(cause.errno).lower()
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return str(error) or "timed out"
    return str(error) or type(error).__name__


def _find_resource_error(error: BaseException) -> str | None:
    """Return the system's message if any cause of the error is an exhausted resource."""
    fitting = (each for each in _iter_causes(error) if isinstance(each, OSError) and each.errno in RESOURCE_ERRNOS)
    return next((each.strerror for each in fitting), None)


def _iter_causes(error: BaseException) -> Iterator[BaseException]:
    """Iterate over the error and all its causes, each one once."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        cause = left.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        left += [cause.__cause__, cause.__context__]
        left += cause.exceptions if isinstance(cause, BaseExceptionGroup) else ()
