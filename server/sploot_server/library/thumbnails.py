"""Thumbnail cache: `thumbnails/yz/<asset id>-256`. Filled by the analysis of an image, and on first request.

The cache is keyed by asset, not by content: otherwise the time of a response would tell a user that another one has the
same file. Thumbnails can be rendered again, so nothing here is fsynced. A worker process renders them, because decoders
may crash.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from sploot_server.domain.embedding import EmbedderUnavailable, UnreadableImage, WorkerCrashed
from sploot_server.domain.entities import Asset, BackendUnavailable, NoThumbnail
from sploot_server.domain.image_formats import is_readable
from sploot_server.domain.image_sizes import WALL_PX
from sploot_server.inference.worker_pool import WorkerSupervisor
from sploot_server.library.cached_read import read_file
from sploot_server.library.turns import OwnerTurns

SHARED_PX = 2048  # the size that share links show
SIDES_PX = (64, 128, 256, 512, 1024, SHARED_PX)  # bounds the number of files per asset
WORKERS = 2  # processes: threads of one would delay each other
RENDER_S_MAX = 20.0


class Thumbnails:
    """The thumbnail cache in one folder. Sizes of one asset that wait for their turn are rendered from one decode."""

    def __init__(self, folder: Path, *, idle_s: float) -> None:
        self._folder = folder
        self._workers = [WorkerSupervisor(["--thumbnails"], idle_s) for _ in range(WORKERS)]
        self._idle_workers = list(self._workers)  # as many as there are free places
        self._turns = OwnerTurns(WORKERS)
        self._requested: dict[str, set[int]] = {}  # sizes by asset, until their rendering starts
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(
        self, asset: Asset, original: AbstractAsyncContextManager[Path], side_px: int, *, owner: str
    ) -> bytes:
        """Return the thumbnail of `asset`, about `side_px` on its longer side; render it if it is not cached.

        Raises NoThumbnail if the asset cannot have one, BackendUnavailable if rendering fails at the moment.
        """
        if not is_readable(asset.mime):
            raise NoThumbnail
        side_px = nearest_size(side_px)
        target = self._path_for(asset.id, side_px)
        with contextlib.suppress(FileNotFoundError):
            return await read_file(target)
        self._requested.setdefault(asset.id, set()).add(side_px)
        lock = self._locks.setdefault(asset.id, asyncio.Lock())
        try:
            async with lock, self._turns.turn(owner):
                if not await asyncio.to_thread(target.exists):
                    sizes = self._requested.pop(asset.id, set()) | {side_px}
                    async with original as file:
                        await self._render(file, {each: self._path_for(asset.id, each) for each in sizes})
        finally:
            if not lock.locked():
                self._locks.pop(asset.id, None)
                self._requested.pop(asset.id, None)
        return await read_file(target)

    async def keep(self, asset_id: str, thumbnail: bytes) -> None:
        """Keep the thumbnail that the analysis of an image has made, of WALL_PX on its longer side."""
        target = self._path_for(asset_id, WALL_PX)
        temporary = target.with_name(f"{target.name}.{secrets.token_hex(8)}")

        def write() -> None:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.write_bytes(thumbnail)
            temporary.replace(target)

        with contextlib.suppress(OSError):  # such as a full disk: it is rendered when it is requested
            await asyncio.to_thread(write)

    async def remove(self, asset_id: str) -> None:
        """Remove all sizes of a thumbnail."""
        for side_px in SIDES_PX:
            await asyncio.to_thread(self._path_for(asset_id, side_px).unlink, missing_ok=True)

    async def close(self) -> None:
        await asyncio.gather(*(each.stop() for each in self._workers))

    async def _render(self, original: Path, targets: Mapping[int, Path]) -> None:
        """Render a thumbnail of each size in `targets`."""
        temporaries = {
            side_px: target.with_name(f"{target.name}.{secrets.token_hex(8)}") for side_px, target in targets.items()
        }
        worker = self._idle_workers.pop()
        try:
            await asyncio.to_thread(next(iter(targets.values())).parent.mkdir, mode=0o700, parents=True, exist_ok=True)
            named = {str(side_px): str(temporary) for side_px, temporary in temporaries.items()}
            response = await worker.send_request({"thumbnail": str(original), "targets": named}, RENDER_S_MAX)
            if "unreadable" in response:
                raise NoThumbnail
            if "error" in response:
                raise BackendUnavailable(f"The thumbnail could not be rendered: {response['error']}")
            for side_px, target in targets.items():
                await asyncio.to_thread(temporaries[side_px].replace, target)
        except (UnreadableImage, WorkerCrashed) as error:
            raise NoThumbnail from error
        except EmbedderUnavailable as error:
            raise BackendUnavailable(str(error)) from error
        finally:
            self._idle_workers.append(worker)
            for temporary in temporaries.values():
                await asyncio.to_thread(temporary.unlink, missing_ok=True)

    def _path_for(self, asset_id: str, side_px: int) -> Path:
        return self._folder / asset_id[-2:] / f"{asset_id}-{side_px}"


def nearest_size(side_px: int) -> int:
    """Return the smallest of SIDES_PX that is at least `side_px`, else the largest."""
    return next((each for each in SIDES_PX if each >= side_px), SIDES_PX[-1])
