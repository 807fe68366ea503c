"""Crashes of the daemon or the server around a bundle. The server stores repeated uploads twice: there are none."""

import asyncio

import pytest
from scripted_sploot import Reply, Request
from simulated_machine import World, checksums_in, simulate

from splootd.core.item import State

FILES = 60


@pytest.mark.parametrize("moment", ["before it arrives", "before the response", "after the response"])
@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_daemon_killed_around_a_bundle_uploads_nothing_twice(moment: str, number: int) -> None:
    async def story(world: World) -> None:
        crash, bundles = asyncio.Event(), 0

        async def handle(request: Request) -> Reply:
            nonlocal bundles
            bundles += request.route == "bundle"
            is_last = request.route == "bundle" and bundles == number
            if is_last and moment == "before it arrives":
                crash.set()
                await asyncio.Event().wait()  # forever: the killed request does not arrive
            reply = await world.handle(request)
            if is_last:
                crash.set()
                if moment == "before the response":
                    await asyncio.Event().wait()
            return reply

        world.network.handle = handle
        world.sploot.work_s = 0.5  # so that the workers form bundles
        await world.start()
        await world.add(*world.files(*[f"{each}.jpg" for each in range(FILES)]))
        await crash.wait()
        await world.crash()
        await world.start()
        items = await world.wait_until_finished()
        assert {item.state for item in items} == {State.READY}
        assert sorted(world.summary.created.values()) == [1] * FILES
        assert max(len(checksums_in(each)) for each in world.requests if each.route == "bundle") > 1
        await world.stop()

    simulate(story, has_batch_api=True, detects_duplicates=False, seed=number)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_after_a_server_crash_within_a_bundle_the_daemon_checks_what_is_stored(number: int) -> None:
    """The server has stored some of the files, and the daemon received no response."""

    async def story(world: World) -> None:
        bundles, loop = 0, asyncio.get_running_loop()

        def restart() -> None:
            world.crash_server()
            world.start_server(work_s=0.5)

        async def handle(request: Request) -> Reply:
            nonlocal bundles
            if request.route == "bundle" and len(checksums_in(request)) > 1:
                bundles += 1
                if bundles == number:
                    loop.call_later(0.7, restart)  # half a second for each file
            return await world.handle(request)

        world.network.handle = handle
        world.sploot.work_s = 0.5
        await world.start()
        await world.add(*world.files(*[f"{each}.jpg" for each in range(FILES)]))
        items = await world.wait_until_finished()
        assert {(item.state, item.attempts) for item in items} == {(State.READY, 0)}
        assert sorted(world.summary.created.values()) == [1] * FILES
        await world.stop()

    simulate(story, has_batch_api=True, detects_duplicates=False, seed=number)
