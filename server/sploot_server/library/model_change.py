"""Changes the models of a library while it is in use.

Every picture is read with the new model into `StagedAnalyses`, in the background, while the old model serves searches
and new files. Then the new model takes over: the embeddings of the old one become stale, and the queue completes them
from the staged analyses, without reading anything. A crash at any point loses nothing: staged analyses are kept, and
the next start continues.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from sploot_server.domain.embedding import (
    Embedder,
    EmbedderUnavailable,
    EmbeddingModel,
    ImageAnalysis,
    UnreadableImage,
    Vectors,
    WorkerCrashed,
)
from sploot_server.domain.entities import BackendUnavailable
from sploot_server.domain.image_formats import is_readable
from sploot_server.inference.model_manifest import ModelUnusable
from sploot_server.library.embedding_jobs import EmbeddingQueue
from sploot_server.library.staged_analyses import StagedAnalyses
from sploot_server.models.installed_models import InstalledModels
from sploot_server.storage.assets import AssetStore
from sploot_server.storage.blobs.files import BlobStore

CONTENTS_PER_PAGE = 200
RETRY_S = 60.0

OnProgress = Callable[[int, int], None]
"""Takes the number of contents that were read with another model, and that of all; 0 and 0 at the end."""

logger = structlog.get_logger()


class ReplaceableEmbedder:
    """Embedder that passes everything on to another one, which can be replaced while it is in use."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    def model(self) -> EmbeddingModel:
        return self._embedder.model

    @property
    def threads(self) -> int:
        return self._embedder.threads

    async def analyze_image(self, path: Path) -> ImageAnalysis:
        return await self._embedder.analyze_image(path)

    async def describe_picture(self, path: Path) -> tuple[bytes, bytes]:
        return await self._embedder.describe_picture(path)

    async def embed_query(self, text: str) -> Vectors:
        return await self._embedder.embed_query(text)

    async def close(self) -> None:
        await self._embedder.close()

    async def replace(self, embedder: Embedder) -> None:
        """Use another embedder from now on; searches that the previous one still embeds match by words only."""
        previous, self._embedder = self._embedder, embedder
        await previous.close()


class ModelChange:
    """Reads the library anew when its wanted models are not those in use. `progress` counts contents: done, total."""

    def __init__(
        self,
        models: InstalledModels,
        open_embedder: Callable[[Sequence[Path]], Embedder],
        embedder: ReplaceableEmbedder,
        *,
        queue: EmbeddingQueue,
        assets: AssetStore,
        blobs: BlobStore,
        on_progress: OnProgress,
    ) -> None:
        self._models = models
        self._open_embedder = open_embedder
        self._embedder = embedder
        self._queue = queue
        self._assets = assets
        self._blobs = blobs
        self._staged = StagedAnalyses(models.staged)
        self._on_progress = on_progress
        self._changed = asyncio.Event()
        self.progress = (0, 0)

    def wake(self) -> None:
        """Look again at which models are wanted."""
        self._changed.set()

    async def run(self) -> None:
        """Carry out changes until cancelled."""
        while True:
            self._changed.clear()
            try:
                if self._models.wanted() != self._models.in_use():
                    await self._change(self._models.wanted())
                    continue
            except (ModelUnusable, EmbedderUnavailable, BackendUnavailable, OSError) as error:
                logger.warning("model change interrupted", error=str(error))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), RETRY_S)
                continue
            await self._changed.wait()

    async def _change(self, wanted: Sequence[Path]) -> None:
        """Read the library with other models and let them take over; stop early if others are wanted meanwhile."""
        embedder = self._open_embedder(wanted)
        try:
            await asyncio.to_thread(self._staged.prepare, embedder.model)
            if not await self._read_all(embedder):
                return
        except BaseException:
            await embedder.close()
            raise

        async def take_over() -> None:
            # Recorded first: after a crash the next start uses the new models, and the staged analyses with it.
            self._models.mark_in_use(wanted)
            await self._embedder.replace(embedder)

        await self._queue.change_model(take_over)
        logger.info("model changed", model=embedder.model.name)
        self._report(0, 0)

    async def _read_all(self, embedder: Embedder) -> bool:
        total, done, last = await self._assets.count_contents(), 0, ""
        logger.info("reading the library anew", model=embedder.model.name, contents=total)
        while page := await self._assets.list_live_contents_after(last, CONTENTS_PER_PAGE):
            for start in range(0, len(page), embedder.threads):
                if self._changed.is_set():
                    await embedder.close()
                    return False
                batch = page[start : start + embedder.threads]
                await asyncio.gather(*(self._read(embedder, *content) for content in batch))
                done += len(batch)
                self._report(done, max(done, total))
            last = page[-1][0]
        return True

    def _report(self, done: int, total: int) -> None:
        self.progress = (done, total)
        self._on_progress(done, total)

    async def _read(self, embedder: Embedder, checksum: str, mime: str) -> None:
        """Stage the analysis of one content; one that fails is left to the queue, which reports it."""
        if not is_readable(mime) or await asyncio.to_thread(self._staged.contains, checksum):
            return
        try:
            async with self._blobs.local_file(checksum) as path:
                analysis = await embedder.analyze_image(path)
        except (UnreadableImage, WorkerCrashed, FileNotFoundError, RuntimeError) as error:
            logger.info("not read with the new model", checksum=checksum, error=str(error))
            return
        await asyncio.to_thread(self._staged.add, checksum, replace(analysis, thumbnail=None))  # it exists already
