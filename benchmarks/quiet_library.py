"""A `sploot-server` that stores files of any size and never reads a picture: only the storing is measured.

It takes the same arguments.
"""

import asyncio
import sys
from pathlib import Path

from sploot_server.app import main
from sploot_server.embedding import Reading
from sploot_server.workers import WorkerEmbedder


async def never(self: WorkerEmbedder, picture: Path) -> Reading:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


if __name__ == "__main__":
    WorkerEmbedder.read = never  # type: ignore[method-assign]  # the one thing that is to be different
    sys.argv += ["--max-upload-bytes", str(10**12)]
    main()
