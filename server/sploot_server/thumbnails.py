"""Stills of the pictures in the library, made when they are first asked for, and kept: `thumbnails/ab/<sha256>-256`.

They can always be made again, so nothing here is synced. A worker process makes them, which may die of a picture.
"""

import asyncio
import secrets
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from sploot_server.embedding import Lost, Unavailable, Unreadable
from sploot_server.formats import is_readable
from sploot_server.model import Asset, NoThumbnail, Unreachable
from sploot_server.workers import Worker

SHOWN_PX = 2048  # what is shown to everybody by a link
SIDES_PX = (64, 128, 256, 512, 1024, SHOWN_PX)  # a few, so that few are kept
THREADS = 2
MADE_S_MAX = 20.0


class Thumbnails:
    """A folder of them."""

    def __init__(self, folder: Path, *, idle_s: float) -> None:
        self._folder = folder
        self._worker = Worker(["--stills", "--threads", str(THREADS)], idle_s)
        self._making = asyncio.Semaphore(THREADS)

    async def of(self, asset: Asset, original: AbstractAsyncContextManager[Path], side_px: int) -> Path:
        """The still of `asset`, about `side_px` on its longer side.

        Raises NoThumbnail if there never will be one, Unreachable if there is none now.
        """
        if not is_readable(asset.mime):
            raise NoThumbnail
        target = self._place(asset.checksum, nearest(side_px))
        if await asyncio.to_thread(target.exists):
            return target
        async with self._making, original as file:
            await self._make(file, target, nearest(side_px))
        return target

    async def remove(self, checksum: str) -> None:
        """All sizes of it."""
        for side_px in SIDES_PX:
            await asyncio.to_thread(self._place(checksum, side_px).unlink, missing_ok=True)

    async def close(self) -> None:
        await self._worker.stop()

    async def _make(self, original: Path, target: Path, side_px: int) -> None:
        await asyncio.to_thread(target.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
        unfinished = target.with_name(f"{target.name}.{secrets.token_hex(8)}")
        try:
            request = {"still": str(original), "target": str(unfinished), "side_px": side_px}
            answer = await self._worker.ask(request, MADE_S_MAX)
            if "unreadable" in answer:
                raise NoThumbnail
            if "error" in answer:
                raise Unreachable(f"A thumbnail could not be made: {answer['error']}")
            await asyncio.to_thread(unfinished.replace, target)
        except (Unreadable, Lost) as error:
            raise NoThumbnail from error
        except Unavailable as error:
            raise Unreachable(str(error)) from error
        finally:
            await asyncio.to_thread(unfinished.unlink, missing_ok=True)

    def _place(self, checksum: str, side_px: int) -> Path:
        return self._folder / checksum[:2] / f"{checksum}-{side_px}"


def nearest(side_px: int) -> int:
    """The smallest of SIDES_PX that is not smaller, else the largest."""
    return next((each for each in SIDES_PX if each >= side_px), SIDES_PX[-1])
