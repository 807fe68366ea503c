"""What breaks on the way to a server, as our errors: what httpx and the system raise is known here alone."""

import contextlib
from collections.abc import Iterator

import httpx

from splootd.errors import BrokenOff, Exhausted, ItemError, Unreachable
from splootd.remote.answers import printable
from splootd.work.files import EXHAUSTION

_NOTHING_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


@contextlib.contextmanager
def translated(server: str) -> Iterator[None]:
    """Turn it into an error that speaks of the `server` by this name."""
    try:
        yield
    except (httpx.HTTPError, httpx.StreamError, OSError, TimeoutError) as error:
        raise _error_of(error, server) from error


def _error_of(error: Exception, server: str) -> ItemError:
    reason = printable(str(error) or type(error).__name__)
    if exhausted := _exhaustion(error):
        return Exhausted(f"this machine ran out of something: {exhausted}", "sending goes on by itself")
    if isinstance(error, _NOTHING_SENT):
        return Unreachable(f"{server} cannot be reached: {reason}", "sending goes on when it is back")
    return BrokenOff(f"the line to {server} broke: {reason}", "it is asked by hash before anything is sent again")


def _exhaustion(error: BaseException | None) -> str | None:
    """The system's words when something ran out, anywhere among the causes."""
    seen: set[int] = set()
    left = [error]
    while left:
        cause = left.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        if isinstance(cause, OSError) and cause.errno in EXHAUSTION:
            return cause.strerror
        left += [cause.__cause__, cause.__context__]
        left += cause.exceptions if isinstance(cause, BaseExceptionGroup) else ()
    return None
