"""Thumbnail cache, filled on first request: `thumbnails/ab/<sha256>-256`.

Thumbnails can be rendered again, so nothing here is fsynced. A worker process renders them, because decoders may crash.
"""

import asyncio
import secrets
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from sploot_server.domain.embedding import EmbedderUnavailable, UnreadableImage, WorkerCrashed
from sploot_server.domain.entities import Asset, BackendUnavailable, NoThumbnail
from sploot_server.domain.image_formats import is_readable
from sploot_server.inference.worker_pool import WorkerSupervisor

SHARED_PX = 2048  # the size that share links show
SIDES_PX = (64, 128, 256, 512, 1024, SHARED_PX)  # bounds the number of files per asset
WORKER_THREADS = 2
RENDER_S_MAX = 20.0


class Thumbnails:
    """The thumbnail cache in one folder."""

    def __init__(self, folder: Path, *, idle_s: float) -> None:
        self._folder = folder
        self._worker = WorkerSupervisor(["--thumbnails", "--threads", str(WORKER_THREADS)], idle_s)
        self._render_slots = asyncio.Semaphore(WORKER_THREADS)

    async def get(self, asset: Asset, original: AbstractAsyncContextManager[Path], side_px: int) -> Path:
        """Return the thumbnail of `asset`, about `side_px` on its longer side; render it if it is not cached.

        Raises NoThumbnail if the asset cannot have one, BackendUnavailable if rendering fails at the moment.
        """
        if not is_readable(asset.mime):
            raise NoThumbnail
        target = self._path_for(asset.checksum, nearest_size(side_px))
        if await asyncio.to_thread(target.exists):
            return target
        async with self._render_slots, original as file:
            await self._render(file, target, nearest_size(side_px))
        return target

    async def remove(self, checksum: str) -> None:
        """Remove all sizes of a thumbnail."""
        for side_px in SIDES_PX:
            await asyncio.to_thread(self._path_for(checksum, side_px).unlink, missing_ok=True)

    async def close(self) -> None:
        await self._worker.stop()

    async def _render(self, original: Path, target: Path, side_px: int) -> None:
        await asyncio.to_thread(target.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
        temporary = target.with_name(f"{target.name}.{secrets.token_hex(8)}")
        try:
            request = {"thumbnail": str(original), "target": str(temporary), "side_px": side_px}
            response = await self._worker.send_request(request, RENDER_S_MAX)
            if "unreadable" in response:
                raise NoThumbnail
            if "error" in response:
                raise BackendUnavailable(f"The thumbnail could not be rendered: {response['error']}")
            await asyncio.to_thread(temporary.replace, target)
        except (UnreadableImage, WorkerCrashed) as error:
            raise NoThumbnail from error
        except EmbedderUnavailable as error:
            raise BackendUnavailable(str(error)) from error
        finally:
            await asyncio.to_thread(temporary.unlink, missing_ok=True)

    def _path_for(self, checksum: str, side_px: int) -> Path:
        return self._folder / checksum[:2] / f"{checksum}-{side_px}"


def nearest_size(side_px: int) -> int:
    """Return the smallest of SIDES_PX that is at least `side_px`, else the largest."""
    return next((each for each in SIDES_PX if each >= side_px), SIDES_PX[-1])
