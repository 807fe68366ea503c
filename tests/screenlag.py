"""How long after an embedding is made at the server it is on the screen of `sploot status --follow`."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from homes import Home, home_in
from livekit import live_library
from toy_library import END, picture

LIMIT_S = 60


class Turnstile:
    """Lets one reading after the other go on, when told to: an event that is set once for each that waits."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(0)

    async def wait(self) -> None:
        await self._places.acquire()

    def let_one_pass(self) -> None:
        self._places.release()


async def lags(folder: Path, *, count: int) -> list[float]:
    """Seconds from the end of each of `count` embeddings to the line of the screen that shows it."""
    measured = []
    async with live_library(folder / "library", tcp=True) as library:
        turnstile: Any = Turnstile()  # as much of an event as the embedder asks for
        library.embedder.hold = turnstile
        memes = folder / "memes"
        memes.mkdir()
        for number in range(count):
            (memes / f"{number}.jpg").write_bytes(picture(f"the meme {number}") + END)
        with home_in(folder / "home", SPLOOT_SERVER=library.url) as home:
            await asyncio.to_thread(home.ok, "add", str(memes))
            async with _screen(home) as screen:
                await _until(screen, embedding=count, push="websocket")
                for number in range(count):
                    turnstile.let_one_pass()
                    made_at = time.perf_counter()
                    await _until(screen, ready=number + 1)
                    measured.append(time.perf_counter() - made_at)
            await asyncio.to_thread(home.run, "daemon", "stop")
    return measured


@contextlib.asynccontextmanager
async def _screen(home: Home) -> AsyncIterator[asyncio.StreamReader]:
    command = [*home.command("status", "--follow", "--json")]
    following = await asyncio.create_subprocess_exec(
        *command, env=home.variables(), cwd=home.folder, stdout=asyncio.subprocess.PIPE
    )
    assert following.stdout is not None
    try:
        yield following.stdout
    finally:
        following.terminate()
        await following.wait()


async def _until(screen: asyncio.StreamReader, *, push: str | None = None, **counts: int) -> None:
    """Read until the screen shows these counts."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            shown = json.loads(await screen.readline())
            if push in (None, shown["server"]["push"]) and all(shown["items"][k] == n for k, n in counts.items()):
                return
