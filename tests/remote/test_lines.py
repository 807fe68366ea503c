"""Lines are exchanged for fresh ones, and what is under way on the old ones is not broken off."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from scripted import Scripted, held
from walkkit import JumpClock

from splootd.credentials import Credentials
from splootd.remote.api import Server

SHA = bytes(32)


@pytest.fixture
def sploot() -> Scripted:
    return Scripted()


@pytest.fixture
async def server(tmp_path: Path, sploot: Scripted) -> AsyncIterator[Server]:
    async with sploot.serving() as url:
        server = Server(url, credentials=Credentials(tmp_path / "token", JumpClock()), connections=4)
        yield server
        await server.close()


async def lines_are(sploot: Scripted, count: int) -> None:
    """Wait until the server sees so many lines."""
    async with asyncio.timeout(30):
        while sploot.lines != count:  # noqa: ASYNC110 - the scripted server has no bell for it
            await asyncio.sleep(0)


async def test_a_line_is_used_again_while_it_is_good(server: Server, sploot: Scripted) -> None:
    await server.health()
    await server.health()
    assert (sploot.lines, sploot.lines_max) == (1, 1)


async def test_after_a_sleep_no_old_line_is_used(server: Server, sploot: Scripted) -> None:
    await server.health()
    await server.check(SHA)
    assert sploot.lines == 2
    await server.renew()
    await lines_are(sploot, 0)
    await server.health()
    assert sploot.lines == 1


async def test_what_is_under_way_is_finished_on_its_old_line(server: Server, sploot: Scripted) -> None:
    release = asyncio.Event()
    sploot.script("check", held(sploot, release))
    asking = asyncio.create_task(server.check(SHA))
    await sploot.until(lambda sploot: sploot.count("check") == 1)
    await server.renew()
    await server.renew()
    assert not asking.done()
    assert await server.check(SHA) is None  # on a fresh one
    await lines_are(sploot, 2)
    release.set()
    assert await asking is None
    await lines_are(sploot, 1)


async def test_a_question_aside_does_not_wait_behind_uploads(server: Server, sploot: Scripted) -> None:
    release = asyncio.Event()
    sploot.script("check", *[held(sploot, release)] * server.uploads_max)
    waiting = [asyncio.create_task(server.check(SHA)) for _ in range(server.uploads_max)]
    await sploot.until(lambda sploot: sploot.count("check") == server.uploads_max)
    assert await server.check(SHA, aside=True) is None
    release.set()
    await asyncio.gather(*waiting)
