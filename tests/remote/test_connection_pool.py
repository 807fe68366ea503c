"""Rotation of the connection pool: new requests use new connections, requests in progress are not interrupted."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pipeline_fixtures import JumpClock
from scripted_sploot import ScriptedSploot, hold

from splootd.credentials import Credentials
from splootd.remote.client import SplootClient

SHA = bytes(32)


@pytest.fixture
def sploot() -> ScriptedSploot:
    return ScriptedSploot()


@pytest.fixture
async def client(tmp_path: Path, sploot: ScriptedSploot) -> AsyncIterator[SplootClient]:
    async with sploot.serve() as url:
        client = SplootClient(url, credentials=Credentials(tmp_path / "token", JumpClock()), connections=4)
        yield client
        await client.close()


async def wait_for_connections(sploot: ScriptedSploot, count: int) -> None:
    """Wait until the server has `count` open connections."""
    async with asyncio.timeout(30):
        while sploot.connections != count:  # noqa: ASYNC110 - the scripted server has no event for it
            await asyncio.sleep(0)


async def test_a_connection_is_reused(client: SplootClient, sploot: ScriptedSploot) -> None:
    await client.health()
    await client.health()
    assert (sploot.connections, sploot.connections_max) == (1, 1)


async def test_after_a_rotation_no_old_connection_is_used(client: SplootClient, sploot: ScriptedSploot) -> None:
    await client.health()
    assert sploot.connections == 1
    await client.rotate_connections()
    await wait_for_connections(sploot, 0)
    await client.health()
    assert sploot.connections == 1


async def test_requests_in_progress_finish_on_their_old_connection(
    client: SplootClient, sploot: ScriptedSploot
) -> None:
    release = asyncio.Event()
    sploot.script("check", hold(sploot, release))
    checking = asyncio.create_task(client.check(SHA))
    await sploot.until(lambda sploot: sploot.count("check") == 1)
    await client.rotate_connections()
    await client.rotate_connections()
    assert not checking.done()
    assert await client.check(SHA) is None  # on a new connection
    await wait_for_connections(sploot, 2)
    release.set()
    assert await checking is None
    await wait_for_connections(sploot, 1)


async def test_at_most_four_connections_carry_requests_also_during_rotations(
    client: SplootClient, sploot: ScriptedSploot
) -> None:
    release = asyncio.Event()
    sploot.always = dict.fromkeys(("check", "health"), hold(sploot, release))
    tasks: list[asyncio.Task[object]] = []
    for _ in range(3):
        tasks += [asyncio.create_task(client.check(SHA)) for _ in range(4)]
        tasks += [asyncio.create_task(client.health()) for _ in range(2)]
        await sploot.until(lambda sploot: sploot.in_progress == 4)
        await client.rotate_connections()
    for _ in range(100):
        await asyncio.sleep(0)
    release.set()
    await asyncio.gather(*tasks)
    assert sploot.in_progress_max == 4


async def test_uploads_take_all_connections_and_a_control_request_takes_the_first_free_one(
    client: SplootClient, sploot: ScriptedSploot
) -> None:
    releases = [asyncio.Event() for _ in range(client.connections_max)]
    sploot.script("check", *(hold(sploot, release) for release in releases))
    running = [asyncio.create_task(client.check(SHA)) for _ in releases]
    await sploot.until(lambda sploot: sploot.count("check") == client.connections_max == 4)
    waiting = [asyncio.create_task(client.check(SHA)) for _ in range(9)]
    await asyncio.sleep(0)
    control = asyncio.create_task(client.health())
    await asyncio.sleep(0)
    releases[0].set()
    await control
    assert sploot.requests[4].route == "health"
    for release in releases:
        release.set()
    await asyncio.gather(*running, *waiting)
    assert sploot.connections_max == 4


async def test_a_rotation_closes_idle_connections_before_new_ones_open(
    client: SplootClient, sploot: ScriptedSploot
) -> None:
    release = asyncio.Event()
    await asyncio.gather(*(client.check(SHA) for _ in range(4)))
    sploot.script("check", *[hold(sploot, release)] * 4)
    old = asyncio.create_task(client.check(SHA))
    await sploot.until(lambda sploot: sploot.in_progress == 1)
    await client.rotate_connections()
    new = [asyncio.create_task(client.check(SHA)) for _ in range(9)]
    await sploot.until(lambda sploot: sploot.in_progress == 4)
    assert sploot.connections == 4
    release.set()
    await asyncio.gather(old, *new)


async def test_a_cancelled_request_leaves_its_connection_to_the_next(
    client: SplootClient, sploot: ScriptedSploot
) -> None:
    """Else the one that is being opened and that of the next request would exceed the limit for a moment."""
    for steps in range(12):
        checks = [asyncio.create_task(client.check(SHA)) for _ in range(4)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for check in checks:
            check.cancel()
        await asyncio.gather(*checks, return_exceptions=True)
        await asyncio.gather(*(client.check(SHA) for _ in range(4)))
        await client.rotate_connections()
        await wait_for_connections(sploot, 0)
    assert sploot.connections_max == 4
