"""Measures the time from an embedding on the server to its appearance in `sploot status --follow`."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from live_library import live_library
from temp_home import Home, home_in
from toy_library import END, picture

LIMIT_S = 60


class Turnstile:
    """An event that releases one waiter at a time."""

    def __init__(self) -> None:
        self._permits = asyncio.Semaphore(0)

    async def wait(self) -> None:
        await self._permits.acquire()

    def release(self) -> None:
        self._permits.release()


async def measure_lags(folder: Path, *, count: int) -> list[float]:
    """Return the seconds from the end of each of `count` embeddings to the output that shows it."""
    measured = []
    async with live_library(folder / "library", tcp=True) as library:
        turnstile: Any = Turnstile()  # the embedder only calls `wait`
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
                    turnstile.release()
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
    """Read the output until it contains these counts."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            shown = json.loads(await screen.readline())
            if push in (None, shown["server"]["push"]) and all(shown["items"][k] == n for k, n in counts.items()):
                return
