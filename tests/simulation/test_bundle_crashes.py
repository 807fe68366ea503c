"""The daemon or the server dies around a bundle. The server stores twice whatever is sent twice: nothing is."""

import asyncio

import pytest
from scripted import Reply, Request
from world import World, checksums_in, simulate

from splootd.core.item import State

FILES = 60


@pytest.mark.parametrize("moment", ["before it arrives", "before it is answered", "after it was answered"])
@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_daemon_that_is_killed_around_a_bundle_sends_nothing_twice(moment: str, number: int) -> None:
    async def story(world: World) -> None:
        dying, bundles = asyncio.Event(), 0

        async def handle(request: Request) -> Reply:
            nonlocal bundles
            bundles += request.route == "bundle"
            is_last = request.route == "bundle" and bundles == number
            if is_last and moment == "before it arrives":
                dying.set()
                await asyncio.Event().wait()  # for ever: what is killed does not get through
            reply = await world.handle(request)
            if is_last:
                dying.set()
                if moment == "before it is answered":
                    await asyncio.Event().wait()
            return reply

        world.network.handle = handle
        world.sploot.work_s = 0.5  # so that the lanes gather
        await world.start()
        await world.add(*world.files(*[f"{each}.jpg" for each in range(FILES)]))
        await dying.wait()
        await world.crash()
        await world.start()
        items = await world.until_ended()
        assert {item.state for item in items} == {State.READY}
        assert sorted(world.books.created.values()) == [1] * FILES
        assert max(len(checksums_in(each)) for each in world.requests if each.route == "bundle") > 1
        await world.stop()

    simulate(story, offers=True, knows_twins=False, seed=number)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_server_that_is_killed_within_a_bundle_is_asked_what_it_has(number: int) -> None:
    """It had taken in some of its files, and nobody was told which."""

    async def story(world: World) -> None:
        bundles, loop = 0, asyncio.get_running_loop()

        def dies() -> None:
            world.crash_server()
            world.start_server(work_s=0.5)

        async def handle(request: Request) -> Reply:
            nonlocal bundles
            if request.route == "bundle" and len(checksums_in(request)) > 1:
                bundles += 1
                if bundles == number:
                    loop.call_later(0.7, dies)  # half a second for each file
            return await world.handle(request)

        world.network.handle = handle
        world.sploot.work_s = 0.5
        await world.start()
        await world.add(*world.files(*[f"{each}.jpg" for each in range(FILES)]))
        items = await world.until_ended()
        assert {(item.state, item.attempts) for item in items} == {(State.READY, 0)}
        assert sorted(world.books.created.values()) == [1] * FILES
        await world.stop()

    simulate(story, offers=True, knows_twins=False, seed=number)
