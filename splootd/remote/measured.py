"""Measures the questions to the server: each method that asks one is wrapped once."""

import functools
import time
from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from splootd.errors import ItemError
from splootd.metrics.calls import Calls

P = ParamSpec("P")
T = TypeVar("T")
CANCELLED = "cancelled"  # nobody waited for the answer any more


class _Measuring(Protocol):
    calls: Calls


S = TypeVar("S", bound=_Measuring)
_Question = Callable[Concatenate[S, P], Awaitable[T]]


def measured(question: _Question[S, P, T]) -> _Question[S, P, T]:
    """Count the calls of `question` under its name, and how each ended: `ok`, or the fault of the error."""
    name = question.__name__

    @functools.wraps(question)
    async def asked(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        outcome, started_at = CANCELLED, time.perf_counter()
        try:
            answer = await question(self, *args, **kwargs)
            outcome = "ok"
        except ItemError as error:
            outcome = str(error.fault)
            raise
        else:
            return answer
        finally:
            self.calls.observe(name, outcome, time.perf_counter() - started_at)

    return asked
