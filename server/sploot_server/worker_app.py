"""Composition root of `sploot-server worker`: run embedding jobs for a library that other processes serve."""

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
from sploot_server.app import background_task
from sploot_server.config import Config
from sploot_server.domain.embedding import Embedder
from sploot_server.domain.entities import BackendUnavailable
from sploot_server.inference.worker_pool import WorkerEmbedder
from sploot_server.library.embedding_jobs import EmbeddingQueue
from sploot_server.library.service import now_ms
from sploot_server.library.template_matcher import TemplateMatcher
from sploot_server.storage_backends import HealthCheck, open_stores

HEARTBEAT_INTERVAL_S = 10.0

logger = structlog.get_logger()


def run_worker(config: Config, embedder: Embedder | None = None) -> None:
    """Run embedding jobs until SIGTERM or SIGINT; release the unfinished jobs so that other workers take them.

    Originals from S3 are kept in a temporary folder while they are analysed. Raise ConfigError or DatabaseError.
    """
    os.umask(0o077)
    with contextlib.ExitStack() as stack:
        if config.blobs is not None:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="sploot-worker-"))
            config = replace(config, data=Path(scratch))
        asyncio.run(_run_until_stopped(config, embedder))


async def _run_until_stopped(config: Config, embedder: Embedder | None) -> None:
    stop_requested = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop_requested.set)
    async with open_worker(config, embedder):
        logger.info("worker started", version=__version__)
        await stop_requested.wait()
    logger.info("stopped")


@contextlib.asynccontextmanager
async def open_worker(config: Config, embedder: Embedder | None = None) -> AsyncIterator[None]:
    """Run embedding jobs within the block, in worker processes unless `embedder` is given."""
    async with contextlib.AsyncExitStack() as stack:
        stores = await stack.enter_async_context(open_stores(config, owns_data=False))
        await stores.verify_blob_store()
        embedder = embedder or WorkerEmbedder(
            threads=config.embedding_threads, idle_s=config.worker_idle_s, models=config.models
        )
        stack.push_async_callback(embedder.close)
        queue = EmbeddingQueue(
            stores.jobs, stores.blobs, embedder, stores.broker, now_ms, matcher=TemplateMatcher(stores.templates)
        )
        for task in (*stores.relay_tasks, *stores.background_tasks, queue.run):
            await stack.enter_async_context(background_task(task()))
        if config.heartbeat is not None:
            await stack.enter_async_context(background_task(_beat(config.heartbeat, stores.checks["database"])))
        yield


async def _beat(file: Path, check: HealthCheck) -> None:
    """Touch `file` while the database answers, until cancelled."""
    while True:
        try:
            await check()
            await asyncio.to_thread(file.touch)
        except (BackendUnavailable, OSError) as error:
            logger.warning("no heartbeat", error=str(error))
        await asyncio.sleep(HEARTBEAT_INTERVAL_S)
