"""Combine concurrent calls into batch requests, as group commit does with transactions.

The first call is sent alone and without delay. Calls that arrive while its request is in progress form the next batch,
so the batch size adapts to the latency and no timer is needed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")


class RequestBatcher(Generic[A, R]):
    """Sends concurrent calls as batches, with at most `requests_max` requests in progress.

    `acquire_slot` is held during a request; calls that arrive while it is awaited still join the batch.
    `get_batch_size` returns how many of the waiting calls, from the first one on, fit into one request.
    `check_admission` is called for each just before the request is sent; an exception from it is raised in that call.
    `send` returns one result or exception per call; an exception that it raises itself is raised in all calls.
    """

    def __init__(
        self,
        send: Callable[[Sequence[A]], Awaitable[Sequence[R | Exception]]],
        *,
        acquire_slot: Callable[[], AbstractAsyncContextManager[object]],
        get_batch_size: Callable[[Sequence[A]], int],
        check_admission: Callable[[A], None] = lambda _: None,
        requests_max: int = 1,
    ) -> None:
        self._send = send
        self._acquire_slot = acquire_slot
        self._get_batch_size = get_batch_size
        self._check_admission = check_admission
        self._requests_max = requests_max
        self._waiting: list[_Call[A, R]] = []
        self._requests: dict[asyncio.Task[None], list[_Call[A, R]]] = {}

    def __repr__(self) -> str:
        return f"RequestBatcher({len(self._waiting)} waiting, {len(self._requests)} in progress)"

    async def submit(self, argument: A) -> R:
        """Return the result for `argument`."""
        call: _Call[A, R] = _Call(argument)
        self._waiting.append(call)
        self._start_request()
        try:
            return await call.result
        except asyncio.CancelledError:
            self._cancel_call(call)
            raise

    def _start_request(self) -> None:
        """Start one more request for the waiting calls, if the limit allows it."""
        # A request without a batch still awaits its slot and will take all calls that wait by then.
        is_batch_forming = any(not batch for batch in self._requests.values())
        if self._waiting and not is_batch_forming and len(self._requests) < self._requests_max:
            request = asyncio.create_task(self._run_request(), name="batch request")
            self._requests[request] = []
            request.add_done_callback(self._on_request_done)

    def _on_request_done(self, request: "asyncio.Task[None]") -> None:
        for call in self._requests.pop(request):
            call.result.cancel()  # has an effect only if the request was cancelled
        self._start_request()

    async def _run_request(self) -> None:
        request = asyncio.current_task()
        assert request is not None
        async with self._acquire_slot():
            batch = self._requests[request] = self._next_batch()
            self._start_request()  # for the calls that did not fit
            if batch:
                await self._send_batch(batch)

    def _next_batch(self) -> list["_Call[A, R]"]:
        """Remove the next batch from the queue: the first calls that are still admitted, as many as fit."""
        ready = [call for call in self._waiting if self._is_ready(call)]
        count = self._get_batch_size([call.argument for call in ready])
        self._waiting = ready[count:]
        return ready[:count]

    def _is_ready(self, call: "_Call[A, R]") -> bool:
        """Return whether the call may be sent. If admission is refused, the call fails with that exception."""
        if call.result.done():
            return False
        try:
            self._check_admission(call.argument)
        except Exception as error:  # noqa: BLE001 - raised again in the call
            call.resolve(error)
            return False
        return True

    async def _send_batch(self, batch: Sequence["_Call[A, R]"]) -> None:
        try:
            results = await self._send([call.argument for call in batch])
        except Exception as error:  # noqa: BLE001 - raised again in every call of the batch
            results = [error] * len(batch)
        for call, result in zip(batch, results, strict=True):
            call.resolve(result)

    def _cancel_call(self, call: "_Call[A, R]") -> None:
        """Withdraw a cancelled call. A request whose calls are all withdrawn is cancelled."""
        if call.result.done() and not call.result.cancelled():
            call.result.exception()  # retrieve it, or asyncio logs "exception was never retrieved"
        if call in self._waiting:
            self._waiting.remove(call)
        for request, batch in self._requests.items():
            if all(each.result.done() for each in batch) and (call in batch or not (batch or self._waiting)):
                request.cancel()


class _Call(Generic[A, R]):
    """One waiting call and its result."""

    def __init__(self, argument: A) -> None:
        self.argument = argument
        self.result: asyncio.Future[R] = asyncio.get_running_loop().create_future()

    def resolve(self, result: R | Exception) -> None:
        if self.result.done():
            return
        if isinstance(result, Exception):
            self.result.set_exception(result)
        else:
            self.result.set_result(result)
