"""A zip archive of originals, streamed while it is written, so that it needs no room on disk or in memory."""

import time
import zipfile
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from pathlib import PurePosixPath

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from splootd.errors import RequestError, SplootError
from splootd.remote.asset_responses import Asset
from splootd.remote.image_proxy import ImageProxy

FILE_NAME = "memes.zip"
MISSING_NAME = "not included.txt"
FIRST_TIME = (1980, 1, 1, 0, 0, 0)  # zip knows no earlier one
FILE_MODE = 0o644 << 16


class ZipResponse(Response):
    """Sends the originals of `assets`, each under a name of its own, as they come from the library.

    An original that cannot be fetched is named in a text file in the archive. One that ends early ends the archive
    early, which the browser reports as a failed download.
    """

    def __init__(self, http: Request, assets: AsyncIterator[tuple[str, Asset]], image_proxy: ImageProxy) -> None:
        super().__init__(media_type="application/zip")
        del self.headers["content-length"]
        self.headers["content-disposition"] = f'attachment; filename="{FILE_NAME}"'
        self._http = http
        self._assets = assets
        self._image_proxy = image_proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        with suppress(SplootError):
            async for piece in self._pieces():
                if await self._http.is_disconnected():
                    return
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    async def _pieces(self) -> AsyncIterator[bytes]:
        output, names, missing = _Output(), UniqueNames(), list[str]()
        with zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as archive:  # the images are compressed already
            async for name, asset in self._assets:
                has_begun = False
                try:
                    async with self._image_proxy.open_image(asset.url) as image:
                        has_begun = True
                        with archive.open(_describe(names.claim(name), asset.created_at), "w") as entry:
                            async for piece in image.pieces:
                                entry.write(piece)
                                yield output.take()
                except RequestError as error:
                    if has_begun:
                        raise
                    missing.append(f"{name}: {error}")
            if missing:
                archive.writestr(_describe(names.claim(MISSING_NAME), None), "\n".join([*missing, ""]))
        yield output.take()


class UniqueNames:
    """Names of files in one folder; a name that is taken gets a number, also where only its case differs."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def claim(self, name: str) -> str:
        """Return the name, or a similar one that is free, and take it."""
        safe = "".join(each if each.isprintable() and each not in "/\\" else "_" for each in name)
        plain = safe.strip(". ") or "meme"
        path, unique, number = PurePosixPath(plain), plain, 1
        while unique.casefold() in self._taken:
            number += 1
            unique = f"{path.stem} ({number}){path.suffix}"
        self._taken.add(unique.casefold())
        return unique


class _Output:
    """Collects what the archive writes; it cannot seek, so the archive puts sizes behind the contents."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def flush(self) -> None:
        """Do nothing: `take` hands over all that was written."""

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def take(self) -> bytes:
        """Return what was written since the last call."""
        written, self._written = bytes(self._written), bytearray()
        return written


def _describe(name: str, created_at: str | None) -> zipfile.ZipInfo:
    moment = time.localtime()
    with suppress(ValueError):
        moment = moment if created_at is None else datetime.fromisoformat(created_at).astimezone().timetuple()
    described = zipfile.ZipInfo(name, max((*moment[:6],), FIRST_TIME))
    described.external_attr = FILE_MODE
    return described
