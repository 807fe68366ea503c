"""Group commit on a line: what is asked while a request is under way goes into the next one, together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")


class Gathering(Generic[A, R]):
    """Answers each `ask` by a request that carries several of them, of which at most `requests_max` are under way.

    Nobody waits for company: who finds no request under way goes at once, alone. `line` is held during a request, and
    whoever comes while it is waited for still comes along. `fitting` says how many of those that wait, from the first
    on, fit into one request. `carry` gives an answer for each, or an exception that is raised there; one that it
    raises itself is raised everywhere.
    """

    def __init__(
        self,
        carry: Callable[[Sequence[A]], Awaitable[Sequence[R | Exception]]],
        *,
        line: Callable[[], AbstractAsyncContextManager[object]],
        fitting: Callable[[Sequence[A]], int],
        requests_max: int = 1,
    ) -> None:
        self._carry = carry
        self._line = line
        self._fitting = fitting
        self._requests_max = requests_max
        self._waiting: list[_Asker[A, R]] = []
        self._requests: dict[asyncio.Task[None], list[_Asker[A, R]]] = {}

    def __repr__(self) -> str:
        return f"Gathering({len(self._waiting)} waiting, {len(self._requests)} under way)"

    async def ask(self, what: A, *, may_go: Callable[[], None] = lambda: None) -> R:
        """The answer for `what`. `may_go` is called at the last moment: what it raises is raised here instead."""
        asker: _Asker[A, R] = _Asker(what, may_go)
        self._waiting.append(asker)
        self._start()
        try:
            return await asker.answer
        except asyncio.CancelledError:
            self._abandon(asker)
            raise

    def _start(self) -> None:
        """Send one more request for those who wait, if there may be one."""
        is_one_gathering = any(not aboard for aboard in self._requests.values())
        if self._waiting and not is_one_gathering and len(self._requests) < self._requests_max:
            request = asyncio.create_task(self._request(), name="gathered request")
            self._requests[request] = []
            request.add_done_callback(self._ended)

    def _ended(self, request: "asyncio.Task[None]") -> None:
        for asker in self._requests.pop(request):
            asker.answer.cancel()  # only where the request was cancelled
        self._start()

    async def _request(self) -> None:
        request = asyncio.current_task()
        assert request is not None
        async with self._line():
            aboard = self._requests[request] = self._depart()
            self._start()  # for those who did not fit
            if aboard:
                await self._answer(aboard)

    def _depart(self) -> list["_Asker[A, R]"]:
        """Those who go now: all that fit, of those who still may."""
        ready = [asker for asker in self._waiting if asker.is_ready()]
        count = self._fitting([asker.what for asker in ready])
        self._waiting = ready[count:]
        return ready[:count]

    async def _answer(self, aboard: Sequence["_Asker[A, R]"]) -> None:
        try:
            answers = await self._carry([asker.what for asker in aboard])
        except Exception as error:  # noqa: BLE001 - it is raised where the answers are awaited
            answers = [error] * len(aboard)
        for asker, answer in zip(aboard, answers, strict=True):
            asker.hear(answer)

    def _abandon(self, asker: "_Asker[A, R]") -> None:
        """Its lane was stopped. A request for which nobody waits any more is given up."""
        if asker.answer.done() and not asker.answer.cancelled():
            asker.answer.exception()  # it came in the same moment, and is of no interest any more
        if asker in self._waiting:
            self._waiting.remove(asker)
        for request, aboard in self._requests.items():
            if all(each.answer.done() for each in aboard) and (asker in aboard or not (aboard or self._waiting)):
                request.cancel()


class _Asker(Generic[A, R]):
    def __init__(self, what: A, may_go: Callable[[], None]) -> None:
        self.what = what
        self.answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._may_go = may_go

    def is_ready(self) -> bool:
        if self.answer.done():
            return False
        try:
            self._may_go()
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
            self.hear(error)
            return False
        return True

    def hear(self, answer: R | Exception) -> None:
        if self.answer.done():
            return
        if isinstance(answer, Exception):
            self.answer.set_exception(answer)
        else:
            self.answer.set_result(answer)
