"""The semaphore never exceeds its total, releases everything, and orders waiters by rank and arrival."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.weighted_semaphore import WeightedSemaphore

TOTAL = 10
operations = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.integers(0, TOTAL), st.integers(0, 2)),
        st.tuples(st.just("release"), st.integers(0, 20), st.just(0)),
        st.tuples(st.just("shrink"), st.integers(0, 20), st.just(0)),
        st.tuples(st.just("cancel"), st.integers(0, 20), st.just(0)),
        st.tuples(st.just("cancel immediately"), st.integers(0, 20), st.just(0)),
    ),
    max_size=60,
)


class Holder:
    """Reserves an amount and holds it until `proceed` is set."""

    def __init__(self, semaphore: WeightedSemaphore, amount: int, rank: int) -> None:
        self.held = 0
        self.proceed = asyncio.Event()
        self.shrinks = False
        self.task = asyncio.create_task(self.run(semaphore, amount, rank))

    async def run(self, semaphore: WeightedSemaphore, amount: int, rank: int) -> None:
        async with semaphore.reserve(amount, rank) as reservation:
            self.held = amount
            try:
                await self.proceed.wait()
                if self.shrinks:
                    self.held //= 2
                    reservation.shrink(self.held)
                    self.proceed.clear()
                    await self.proceed.wait()
            finally:
                self.held = 0


async def run_script(script: list[tuple[str, int, int]]) -> None:
    semaphore, holders = WeightedSemaphore(TOTAL), list[Holder]()
    for operation, number, rank in script:
        holder = holders[number % len(holders)] if holders else None
        match operation:
            case "reserve":
                holders.append(Holder(semaphore, number, rank))
            case "release" if holder:
                holder.proceed.set()
            case "shrink" if holder:
                holder.shrinks = True
                holder.proceed.set()
            case "cancel" | "cancel immediately" if holder:
                holder.task.cancel()
        if operation != "cancel immediately":
            for _ in range(5):
                await asyncio.sleep(0)
            assert semaphore.in_use == sum(each.held for each in holders)
        assert 0 <= semaphore.in_use <= TOTAL
    for holder in holders:
        holder.task.cancel()
    await asyncio.gather(*(holder.task for holder in holders), return_exceptions=True)
    assert semaphore.in_use == 0
    async with asyncio.timeout(10), semaphore.reserve(TOTAL):  # a cancelled waiter does not block the queue
        assert semaphore.in_use == TOTAL


@given(operations)
def test_never_exceeds_the_total_and_releases_everything(script: list[tuple[str, int, int]]) -> None:
    asyncio.run(run_script(script))


async def test_waiters_are_ordered_by_rank_then_arrival() -> None:
    semaphore, order = WeightedSemaphore(1), list[str]()

    async def reserve(name: str, rank: int) -> None:
        async with semaphore.reserve(1, rank):
            order.append(name)
            await asyncio.sleep(0)

    names = [("first", 1), ("normal a", 1), ("background", 2), ("normal b", 1), ("urgent", 0)]
    await asyncio.gather(*(reserve(name, rank) for name, rank in names))
    assert order == ["first", "urgent", "normal a", "normal b", "background"]


async def test_a_large_request_is_not_starved_by_small_ones() -> None:
    semaphore = WeightedSemaphore(10)
    async with contextlib.AsyncExitStack() as held:
        await held.enter_async_context(semaphore.reserve(5))
        large = asyncio.create_task(semaphore.reserve(10).__aenter__())
        await asyncio.sleep(0)
        small = asyncio.create_task(semaphore.reserve(1).__aenter__())
        await asyncio.sleep(0)
        assert not small.done()
    reservation = await large
    assert not small.done()
    reservation.shrink(0)
    await small


@pytest.mark.parametrize("amount", [-1, 11])
async def test_an_amount_that_can_never_fit_raises(amount: int) -> None:
    with pytest.raises(ValueError, match="is not between 0 and 10"):
        await WeightedSemaphore(10).reserve(amount).__aenter__()


async def test_repr_shows_the_usage() -> None:
    async with WeightedSemaphore(3).reserve(2) as reservation:
        assert repr(reservation._semaphore) == "WeightedSemaphore(2 of 3, 0 waiting)"
