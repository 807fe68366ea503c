"""Group commit on a line: who travels together, who hears what, and what a stopped lane leaves behind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest

from splootd.remote.gathering import Gathering

LIMIT_S = 10.0


@dataclass
class Post:
    """Carries numbers, and answers each with ten times as much, once it is released."""

    carried: list[list[int]] = field(default_factory=list)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    given_up: int = 0

    async def carry(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.carried.append(list(numbers))
        self.left.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        return [ValueError(number) if number < 0 else 10 * number for number in numbers]


def gathering(post: Post, *, most: int = 100, requests_max: int = 1) -> Gathering[int, int]:
    return Gathering(
        post.carry, line=contextlib.nullcontext, fitting=lambda each: min(len(each), most), requests_max=requests_max
    )


async def _quiet() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_who_asks_while_a_request_is_under_way_goes_into_the_next_one() -> None:
    post = Post()
    gathered = gathering(post)
    asking = []
    for number in range(8):
        asking.append(asyncio.create_task(gathered.ask(number)))
        await _quiet()
    assert post.carried == [[0]], "nobody waits for company"
    post.release.set()
    assert await asyncio.gather(*asking) == [10 * number for number in range(8)]
    assert post.carried == [[0], [1, 2, 3, 4, 5, 6, 7]]
    assert repr(gathered) == "Gathering(0 waiting, 0 under way)"


async def test_what_does_not_fit_goes_with_the_request_after() -> None:
    post = Post()
    post.release.set()
    gathered = gathering(post, most=3)
    assert await asyncio.gather(*map(gathered.ask, range(8))) == [10 * number for number in range(8)]
    assert post.carried == [[0, 1, 2], [3, 4, 5], [6, 7]]


async def test_so_many_requests_are_under_way_at_once_and_no_more() -> None:
    post = Post()
    gathered = gathering(post, most=1, requests_max=2)
    asking = [asyncio.create_task(gathered.ask(number)) for number in range(4)]
    await _quiet()
    assert post.carried == [[0], [1]]
    post.release.set()
    await asyncio.gather(*asking)


async def test_who_comes_while_the_line_is_waited_for_comes_along() -> None:
    post, line = Post(), asyncio.Lock()
    post.release.set()
    gathered = Gathering(post.carry, line=lambda: line, fitting=len)
    async with line:
        asking = [asyncio.create_task(gathered.ask(number)) for number in range(3)]
        await _quiet()
        assert post.carried == []
    await asyncio.gather(*asking)
    assert post.carried == [[0, 1, 2]]


async def test_a_bad_one_among_them_harms_only_itself() -> None:
    post = Post()
    post.release.set()
    outcomes = await asyncio.gather(*map(gathering(post).ask, [1, -2, 3]), return_exceptions=True)
    assert [outcomes[0], outcomes[2]] == [10, 30]
    assert isinstance(outcomes[1], ValueError)


async def test_a_request_that_fails_fails_for_all_in_it_and_for_nobody_else() -> None:
    class Fails(Post):
        async def carry(self, numbers: Sequence[int]) -> list[int | Exception]:
            if len(self.carried) == 1:
                self.carried.append(list(numbers))
                raise OSError("broken")
            return await super().carry(numbers)

    post = Fails()
    post.release.set()
    gathered = gathering(post, most=2)
    outcomes = await asyncio.gather(*map(gathered.ask, range(6)), return_exceptions=True)
    assert [isinstance(each, OSError) for each in outcomes] == [False, False, True, True, False, False]
    assert outcomes[2] is outcomes[3]


async def test_who_may_not_go_any_more_hears_why_and_the_others_go() -> None:
    post = Post()
    gathered = gathering(post)
    first = asyncio.create_task(gathered.ask(0))
    await _quiet()

    def held() -> None:
        raise PermissionError

    stopped = asyncio.create_task(gathered.ask(1, may_go=held))
    going = asyncio.create_task(gathered.ask(2))
    post.release.set()
    assert await asyncio.gather(first, going) == [0, 20]
    with pytest.raises(PermissionError):
        await stopped
    assert post.carried == [[0], [2]]


async def test_a_lane_that_is_stopped_takes_its_question_back() -> None:
    post = Post()
    gathered = gathering(post)
    first, second, third = (asyncio.create_task(gathered.ask(number)) for number in range(3))
    await post.left.wait()
    later = asyncio.create_task(gathered.ask(3))
    await _quiet()
    second.cancel()
    later.cancel()
    post.release.set()
    assert await asyncio.gather(first, third) == [0, 20]
    assert post.given_up == 0, "others waited for its answer"
    assert post.carried == [[0, 1, 2]]
    assert repr(gathered) == "Gathering(0 waiting, 0 under way)"


async def test_a_request_that_nobody_waits_for_is_given_up() -> None:
    post = Post()
    gathered = gathering(post)
    asking = [asyncio.create_task(gathered.ask(number)) for number in range(3)]
    await post.left.wait()
    for each in asking:
        each.cancel()
    await asyncio.wait(asking)
    await _quiet()
    assert post.given_up == 1
    assert repr(gathered) == "Gathering(0 waiting, 0 under way)"
    post.release.set()
    assert await gathered.ask(7) == 70


async def test_a_wait_for_the_line_that_nobody_needs_any_more_ends() -> None:
    post, line = Post(), asyncio.Lock()
    waiting = 0

    @contextlib.asynccontextmanager
    async def counted() -> AsyncIterator[None]:
        nonlocal waiting
        waiting += 1
        try:
            async with line:
                yield
        finally:
            waiting -= 1

    gathered = Gathering(post.carry, line=counted, fitting=len)
    async with line:
        asking = asyncio.create_task(gathered.ask(1))
        await _quiet()
        assert waiting == 1
        asking.cancel()
        await _quiet()
        assert waiting == 0
    assert post.carried == []
