"""Run a `sploot-server` that stores files of any size without analysing them, to measure storing alone.

It takes the same arguments.
"""

import asyncio
import sys
from pathlib import Path

from sploot_server.cli import main
from sploot_server.domain.embedding import ImageAnalysis
from sploot_server.inference.worker_pool import WorkerEmbedder


async def never(self: WorkerEmbedder, picture: Path) -> ImageAnalysis:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


if __name__ == "__main__":
    WorkerEmbedder.analyze_image = never  # type: ignore[method-assign]  # the only difference
    sys.argv += ["--max-upload-bytes", str(10**12)]
    main()
