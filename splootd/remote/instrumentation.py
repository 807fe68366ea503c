"""A decorator that records count, outcome and latency of the API calls."""

import functools
import time
from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from splootd.errors import ItemError
from splootd.metrics.api_calls import ApiCalls

P = ParamSpec("P")
T = TypeVar("T")
CANCELLED = "cancelled"  # the caller no longer waits for the result


class _HasCalls(Protocol):
    calls: ApiCalls


S = TypeVar("S", bound=_HasCalls)
_ApiMethod = Callable[Concatenate[S, P], Awaitable[T]]


def instrument(method: _ApiMethod[S, P, T]) -> _ApiMethod[S, P, T]:
    """Record each call of `method` under its name, with the outcome `ok` or the error code."""
    name = method.__name__

    @functools.wraps(method)
    async def wrapper(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        outcome, started_at = CANCELLED, time.perf_counter()
        try:
            result = await method(self, *args, **kwargs)
            outcome = "ok"
        except ItemError as error:
            outcome = str(error.error_code)
            raise
        else:
            return result
        finally:
            self.calls.observe(name, outcome, time.perf_counter() - started_at)

    return wrapper
