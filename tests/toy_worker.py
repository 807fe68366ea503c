"""A worker process that uses `toy_library.FakeEmbedder`: python tests/toy_worker.py

Everything else is the real worker, configured by the environment. With TOY_FIFO it writes to that pipe when it has
claimed its first image, and never completes it.
"""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

from sploot_server.config import Config
from sploot_server.domain.embedding import ImageAnalysis
from sploot_server.logs import configure_logging
from sploot_server.worker_app import run_worker
from toy_library import FakeEmbedder

ANALYZE_S = 0.03  # per image
TEXT_CHARS_MAX = 1000


class SlowEmbedder(FakeEmbedder):
    async def analyze_image(self, path: Path) -> ImageAnalysis:
        pipe = os.environ.get("TOY_FIFO")
        if pipe is not None:
            await asyncio.to_thread(Path(pipe).write_text, "claimed")
            await asyncio.Event().wait()
        analysis = await super().analyze_image(path)
        elapsed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(ANALYZE_S, elapsed.set_result, None)
        await elapsed
        return replace(analysis, text=analysis.text[:TEXT_CHARS_MAX])


if __name__ == "__main__":
    named = {name: os.environ.get(f"SPLOOT_SERVER_{name.upper()}") for name in ("database", "events", "blobs")}
    with configure_logging(None, "info"):
        run_worker(Config(data=Path(), **named), SlowEmbedder())  # type: ignore[arg-type]  # these three are texts
