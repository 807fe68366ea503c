"""What breaks on the way to a server, as our errors: what httpx and the system raise is known here alone."""

import contextlib
import os
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
    reason = printable(_words(error))
    if exhausted := _exhaustion(error):
        return Exhausted(f"this machine ran out of something: {exhausted}", "sending goes on by itself")
    if isinstance(error, _NOTHING_SENT):
        return Unreachable(f"{server} cannot be reached: {reason}", "sending goes on when it is back")
    return BrokenOff(f"the line to {server} broke: {reason}", "it is asked by hash before anything is sent again")


def _words(error: BaseException) -> str:
    """What happened, in words for people: those of the system where it has any, without numbers and addresses."""
    for cause in _causes(error):
        if isinstance(cause, ConnectionError) and cause.errno:
            return os.strerror(cause.errno).lower()
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return str(error) or "no answer for too long"
    return str(error) or type(error).__name__


def _exhaustion(error: BaseException) -> str | None:
    """The system's words when something ran out, anywhere among the causes."""
    fitting = (each for each in _causes(error) if isinstance(each, OSError) and each.errno in EXHAUSTION)
    return next((each.strerror for each in fitting), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and all that led to it."""
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
