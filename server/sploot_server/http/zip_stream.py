"""A ZIP file that is written while it is sent: nothing is stored on disk, and one chunk at a time is in memory."""

import zipfile
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from pathlib import PurePosixPath

from sploot_server.domain.entities import Asset


class _Sink:
    """What `zipfile` writes to: it collects the bytes until `take`. It cannot seek, so sizes follow the contents."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        taken = bytes(self._written)
        self._written.clear()
        return taken


async def stream_zip(assets: Iterable[Asset], read: Callable[[Asset], AsyncIterator[bytes]]) -> AsyncIterator[bytes]:
    """Yield a ZIP file of the originals, stored as they are, under distinct names."""
    sink, names = _Sink(), set[str]()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]  # writing suffices
        for asset in assets:
            time = datetime.fromtimestamp(asset.created_at_ms / 1000, UTC).timetuple()[:6]
            with archive.open(zipfile.ZipInfo(_free_name(asset.filename, names), time), "w", force_zip64=True) as entry:
                async for chunk in read(asset):
                    entry.write(chunk)
                    yield sink.take()
    yield sink.take()


def _free_name(filename: str, taken: set[str]) -> str:
    """Return a file name, with a number if it is taken in any case: not every file system tells cases apart."""
    path, number, name = PurePosixPath(filename), 1, filename
    while name.casefold() in taken:
        number += 1
        name = f"{path.stem} ({number}){path.suffix}"
    taken.add(name.casefold())
    return name
