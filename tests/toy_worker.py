"""A worker on `toy_library.picture`s, as a process of its own: python tests/toy_worker.py

The real composition with the toy's embedder, configured by the environment as the real worker is. With TOY_FIFO it
opens that pipe when it has its first picture in hand, and holds on to it for ever.
"""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

from sploot_server.config import Config
from sploot_server.embedding import Reading
from sploot_server.logs import logging_to
from sploot_server.work import work
from toy_library import FakeEmbedder

READING_S = 0.03  # what a picture takes
TEXT_CHARS_MAX = 1000  # of what is written in one, however large it is


class SlowEmbedder(FakeEmbedder):
    async def read(self, picture: Path) -> Reading:
        pipe = os.environ.get("TOY_FIFO")
        if pipe is not None:
            await asyncio.to_thread(Path(pipe).write_text, "in hand")
            await asyncio.Event().wait()
        reading = await super().read(picture)
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(READING_S, taken.set_result, None)
        await taken
        return replace(reading, text=reading.text[:TEXT_CHARS_MAX])


if __name__ == "__main__":
    named = {name: os.environ.get(f"SPLOOT_SERVER_{name.upper()}") for name in ("database", "events", "blobs")}
    with logging_to(None, "info"):
        work(Config(data=Path(), **named), SlowEmbedder())  # type: ignore[arg-type]  # these three are texts
