"""The budget: never over, always back to nothing, in order of rank and arrival."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.budget import Budget

TOTAL = 10
moves = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.integers(0, TOTAL), st.integers(0, 2)),
        st.tuples(st.just("leave"), st.integers(0, 20), st.just(0)),
        st.tuples(st.just("shrink"), st.integers(0, 20), st.just(0)),
        st.tuples(st.just("cancel"), st.integers(0, 20), st.just(0)),
        st.tuples(st.just("cancel at once"), st.integers(0, 20), st.just(0)),
    ),
    max_size=60,
)


class Guest:
    """Takes an amount, and keeps it until told otherwise."""

    def __init__(self, budget: Budget, amount: int, rank: int) -> None:
        self.held = 0
        self.do = asyncio.Event()
        self.shrinks = False
        self.task = asyncio.create_task(self.stay(budget, amount, rank))

    async def stay(self, budget: Budget, amount: int, rank: int) -> None:
        async with budget.reserve(amount, rank) as share:
            self.held = amount
            try:
                await self.do.wait()
                if self.shrinks:
                    self.held //= 2
                    share.shrink(self.held)
                    self.do.clear()
                    await self.do.wait()
            finally:
                self.held = 0


async def play(script: list[tuple[str, int, int]]) -> None:
    budget, guests = Budget(TOTAL), list[Guest]()
    for move, number, rank in script:
        guest = guests[number % len(guests)] if guests else None
        match move:
            case "come":
                guests.append(Guest(budget, number, rank))
            case "leave" if guest:
                guest.do.set()
            case "shrink" if guest:
                guest.shrinks = True
                guest.do.set()
            case "cancel" | "cancel at once" if guest:
                guest.task.cancel()
        if move != "cancel at once":
            for _ in range(5):
                await asyncio.sleep(0)
            assert budget.taken == sum(each.held for each in guests)
        assert 0 <= budget.taken <= TOTAL
    for guest in guests:
        guest.task.cancel()
    await asyncio.gather(*(guest.task for guest in guests), return_exceptions=True)
    assert budget.taken == 0
    async with asyncio.timeout(10), budget.reserve(TOTAL):  # nobody who is gone stands in the way
        assert budget.taken == TOTAL


@given(moves)
def test_never_over_and_always_back_to_nothing(script: list[tuple[str, int, int]]) -> None:
    asyncio.run(play(script))


async def test_the_smallest_rank_goes_first_then_who_came_first() -> None:
    budget, order = Budget(1), list[str]()

    async def come(name: str, rank: int) -> None:
        async with budget.reserve(1, rank):
            order.append(name)
            await asyncio.sleep(0)

    names = [("first", 1), ("normal a", 1), ("background", 2), ("normal b", 1), ("urgent", 0)]
    await asyncio.gather(*(come(name, rank) for name, rank in names))
    assert order == ["first", "urgent", "normal a", "normal b", "background"]


async def test_a_large_request_is_not_starved_by_small_ones() -> None:
    budget = Budget(10)
    async with contextlib.AsyncExitStack() as held:
        await held.enter_async_context(budget.reserve(5))
        large = asyncio.create_task(budget.reserve(10).__aenter__())
        await asyncio.sleep(0)
        small = asyncio.create_task(budget.reserve(1).__aenter__())
        await asyncio.sleep(0)
        assert not small.done()
    share = await large
    assert not small.done()
    share.shrink(0)
    await small


@pytest.mark.parametrize("amount", [-1, 11])
async def test_what_can_never_be_had_is_refused(amount: int) -> None:
    with pytest.raises(ValueError, match="of a budget of 10"):
        await Budget(10).reserve(amount).__aenter__()


async def test_the_budget_says_how_it_stands() -> None:
    async with Budget(3).reserve(2) as share:
        assert repr(share._budget) == "Budget(2 of 3, 0 waiting)"
