"""The request batcher: which calls share a request, which results they get, and what a cancelled call leaves."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest

from splootd.upload.request_batcher import RequestBatcher

LIMIT_S = 10.0


@dataclass
class Backend:
    """Sends numbers, and returns ten times each once it is released."""

    batches: list[list[int]] = field(default_factory=list)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: int = 0

    async def send(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(numbers))
        self.started.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return [ValueError(number) if number < 0 else 10 * number for number in numbers]


def create_batcher(backend: Backend, *, batch_max: int = 100, requests_max: int = 1) -> RequestBatcher[int, int]:
    return RequestBatcher(
        backend.send,
        acquire_slot=contextlib.nullcontext,
        get_batch_size=lambda each: min(len(each), batch_max),
        requests_max=requests_max,
    )


async def _quiet() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_calls_during_a_request_share_the_next_one() -> None:
    backend = Backend()
    batcher = create_batcher(backend)
    calls = []
    for number in range(8):
        calls.append(asyncio.create_task(batcher.submit(number)))
        await _quiet()
    assert backend.batches == [[0]], "the first call is sent alone"
    backend.release.set()
    assert await asyncio.gather(*calls) == [10 * number for number in range(8)]
    assert backend.batches == [[0], [1, 2, 3, 4, 5, 6, 7]]
    assert repr(batcher) == "RequestBatcher(0 waiting, 0 in progress)"


async def test_calls_that_do_not_fit_are_sent_with_the_following_request() -> None:
    backend = Backend()
    backend.release.set()
    batcher = create_batcher(backend, batch_max=3)
    assert await asyncio.gather(*map(batcher.submit, range(8))) == [10 * number for number in range(8)]
    assert backend.batches == [[0, 1, 2], [3, 4, 5], [6, 7]]


async def test_the_number_of_concurrent_requests_is_limited() -> None:
    backend = Backend()
    batcher = create_batcher(backend, batch_max=1, requests_max=2)
    calls = [asyncio.create_task(batcher.submit(number)) for number in range(4)]
    await _quiet()
    assert backend.batches == [[0], [1]]
    backend.release.set()
    await asyncio.gather(*calls)


async def test_calls_that_arrive_while_the_slot_is_awaited_join_the_batch() -> None:
    backend, slot = Backend(), asyncio.Lock()
    backend.release.set()
    batcher = RequestBatcher(backend.send, acquire_slot=lambda: slot, get_batch_size=len)
    async with slot:
        calls = [asyncio.create_task(batcher.submit(number)) for number in range(3)]
        await _quiet()
        assert backend.batches == []
    await asyncio.gather(*calls)
    assert backend.batches == [[0, 1, 2]]


async def test_an_exception_result_is_raised_in_its_call_only() -> None:
    backend = Backend()
    backend.release.set()
    results = await asyncio.gather(*map(create_batcher(backend).submit, [1, -2, 3]), return_exceptions=True)
    assert [results[0], results[2]] == [10, 30]
    assert isinstance(results[1], ValueError)


async def test_a_failed_request_is_raised_in_all_its_calls_and_in_no_other() -> None:
    class Fails(Backend):
        async def send(self, numbers: Sequence[int]) -> list[int | Exception]:
            if len(self.batches) == 1:
                self.batches.append(list(numbers))
                raise OSError("broken")
            return await super().send(numbers)

    backend = Fails()
    backend.release.set()
    batcher = create_batcher(backend, batch_max=2)
    results = await asyncio.gather(*map(batcher.submit, range(6)), return_exceptions=True)
    assert [isinstance(each, OSError) for each in results] == [False, False, True, True, False, False]
    assert results[2] is results[3]


async def test_a_call_that_is_no_longer_admitted_raises_and_the_others_are_sent() -> None:
    def hold_back(number: int) -> None:
        if number == 1:
            raise PermissionError

    backend = Backend()
    batcher = RequestBatcher(
        backend.send, acquire_slot=contextlib.nullcontext, get_batch_size=len, check_admission=hold_back
    )
    first = asyncio.create_task(batcher.submit(0))
    await _quiet()
    stopped = asyncio.create_task(batcher.submit(1))
    going = asyncio.create_task(batcher.submit(2))
    backend.release.set()
    assert await asyncio.gather(first, going) == [0, 20]
    with pytest.raises(PermissionError):
        await stopped
    assert backend.batches == [[0], [2]]


async def test_a_cancelled_call_is_withdrawn() -> None:
    backend = Backend()
    batcher = create_batcher(backend)
    first, second, third = (asyncio.create_task(batcher.submit(number)) for number in range(3))
    await backend.started.wait()
    later = asyncio.create_task(batcher.submit(3))
    await _quiet()
    second.cancel()
    later.cancel()
    backend.release.set()
    assert await asyncio.gather(first, third) == [0, 20]
    assert backend.cancelled == 0, "the other calls still wait for the request"
    assert backend.batches == [[0, 1, 2]]
    assert repr(batcher) == "RequestBatcher(0 waiting, 0 in progress)"


async def test_a_request_whose_calls_are_all_cancelled_is_cancelled() -> None:
    backend = Backend()
    batcher = create_batcher(backend)
    calls = [asyncio.create_task(batcher.submit(number)) for number in range(3)]
    await backend.started.wait()
    for each in calls:
        each.cancel()
    await asyncio.wait(calls)
    await _quiet()
    assert backend.cancelled == 1
    assert repr(batcher) == "RequestBatcher(0 waiting, 0 in progress)"
    backend.release.set()
    assert await batcher.submit(7) == 70


async def test_a_slot_is_not_awaited_for_cancelled_calls() -> None:
    backend, slot = Backend(), asyncio.Lock()
    waiting = 0

    @contextlib.asynccontextmanager
    async def counted() -> AsyncIterator[None]:
        nonlocal waiting
        waiting += 1
        try:
            async with slot:
                yield
        finally:
            waiting -= 1

    batcher = RequestBatcher(backend.send, acquire_slot=counted, get_batch_size=len)
    async with slot:
        calls = asyncio.create_task(batcher.submit(1))
        await _quiet()
        assert waiting == 1
        calls.cancel()
        await _quiet()
        assert waiting == 0
    assert backend.batches == []
