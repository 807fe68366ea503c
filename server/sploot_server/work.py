"""Composition root of `sploot-server worker`: reads the pictures of a library that others serve."""

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import structlog

from sploot_server import __version__
from sploot_server.config import Config
from sploot_server.embedding import Embedder
from sploot_server.jobs import EmbeddingQueue
from sploot_server.library import now_ms
from sploot_server.serve import running
from sploot_server.stores import opened
from sploot_server.workers import WorkerEmbedder

logger = structlog.get_logger()


def work(config: Config, embedder: Embedder | None = None) -> None:
    """Read pictures until told to stop by SIGTERM or SIGINT; what is then in hand, others take up at once.

    Originals from elsewhere lie in a temporary folder while they are read. Raises ConfigError or DatabaseError.
    """
    os.umask(0o077)
    with contextlib.ExitStack() as stack:
        if config.blobs is not None:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="sploot-worker-"))
            config = replace(config, data=Path(scratch))
        asyncio.run(_work(config, embedder))


async def _work(config: Config, embedder: Embedder | None) -> None:
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    async with working(config, embedder):
        logger.info("working", version=__version__)
        await told_to_stop.wait()
    logger.info("stopped")


@contextlib.asynccontextmanager
async def working(config: Config, embedder: Embedder | None = None) -> AsyncIterator[None]:
    """Read pictures within the block; worker processes do it by default."""
    async with contextlib.AsyncExitStack() as stack:
        stores = await stack.enter_async_context(opened(config, owns_data=False))
        embedder = embedder or WorkerEmbedder(
            threads=config.embedding_threads, idle_s=config.worker_idle_s, model=config.model
        )
        stack.push_async_callback(embedder.close)
        queue = EmbeddingQueue(stores.jobs, stores.blobs, embedder, stores.news, now_ms)
        for task in (*stores.tasks, *stores.chores, queue.run):
            await stack.enter_async_context(running(task()))
        yield
