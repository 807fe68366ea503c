"""Files that a program of the same user hands over by name: copied, verified, and made durable many at a time.

What is kept are the bytes that were read and hashed here, whatever becomes of the file that they were read from. The
order is that of any upload, for all of a request at once: bytes, their names, then the rows in one transaction.
"""

import asyncio
import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sploot_server.assets.sqlite import new_id
from sploot_server.blobs import FileBlobs
from sploot_server.library import Library, clean_filename, clean_tags
from sploot_server.model import Added, Invalid, NewAsset, NotAsAnnounced
from sploot_server.sniff import SNIFF_BYTES

A = TypeVar("A")
R = TypeVar("R")

PIECE_BYTES = 1024 * 1024
SYNCS_MAX = 8  # at once: the journal of the file system carries them together
_OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC  # a FIFO must not block


@dataclass(frozen=True, slots=True)
class Handed:
    """A file as it was announced; `checksum` in lower-case hex."""

    path: bytes
    size_bytes: int
    checksum: str
    filename: str
    tags: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Copy:
    """The bytes of a handed file under a temporary name. The descriptor is for its fsync, and then closed."""

    temporary: Path
    descriptor: int
    new: NewAsset


class HandOver:
    """Takes files over into a library whose originals are files, too."""

    def __init__(self, library: Library, blobs: FileBlobs) -> None:
        self._library = library
        self._blobs = blobs
        self._threads = ThreadPoolExecutor(SYNCS_MAX, thread_name_prefix="hand-over")

    def close(self) -> None:
        self._threads.shutdown()

    async def take(self, files: Sequence[Handed], *, owner: str) -> list[Added | Exception]:
        """What has become of each: the bytes and the rows of those that were added are durable."""
        library = self._library.of(owner)
        there = await library.find_all([file.checksum for file in files])
        outcomes: dict[int, Added | Exception] = {
            n: Added(there[file.checksum], created=False)
            for n, file in enumerate(files)
            if file.checksum in there and not file.tags
        }
        missing = [n for n in range(len(files)) if n not in outcomes]
        made: list[_Copy] = []  # all that there are, however this ends
        try:
            copied = await self._copied(library, [files[n] for n in missing], made)
            outcomes |= {n: each for n, each in zip(missing, copied, strict=True) if isinstance(each, Exception)}
            copies = {n: each for n, each in zip(missing, copied, strict=True) if isinstance(each, _Copy)}
            if copies:
                added = await self._kept(library, list(copies.values()))
                outcomes |= dict(zip(copies, added, strict=True))
        finally:
            _discard(made)
        return [outcomes[n] for n in range(len(files))]

    async def _kept(self, library: Library, copies: Sequence[_Copy]) -> Sequence[Added]:
        temporaries = {copy.temporary: copy.new.checksum for copy in copies}

        async def keep() -> None:
            folders = await asyncio.to_thread(self._blobs.move, temporaries)
            await self._shared(_sync_folders, list(folders), SYNCS_MAX)

        await self._shared(_sync_copies, copies, SYNCS_MAX)
        return await library.add_all([copy.new for copy in copies], keep)

    async def _copied(self, library: Library, files: Sequence[Handed], made: list[_Copy]) -> list[_Copy | Exception]:
        def copied(part: Sequence[Handed]) -> list[_Copy | Exception]:
            buffer = memoryview(bytearray(min(PIECE_BYTES, 1 + max(file.size_bytes for file in part))))
            outcomes = []
            for file in part:
                outcomes.append(outcome := self._copy_or_not(library, file, buffer))
                if isinstance(outcome, _Copy):
                    made.append(outcome)
            return outcomes

        return [each for part in await self._shared(copied, files, os.cpu_count() or 1) for each in part]

    def _copy_or_not(self, library: Library, file: Handed, buffer: memoryview) -> _Copy | Exception:
        try:
            return self._copy(library, file, buffer)
        except Exception as error:  # noqa: BLE001 - it is told of this file, and the others go on
            return error

    def _copy(self, library: Library, file: Handed, buffer: memoryview) -> _Copy:
        """Read, hash and write a file in one go."""
        if file.size_bytes == 0:
            raise Invalid("File appears to be empty")
        library.refuse_oversize(file.size_bytes)
        name, tags = clean_filename(file.filename), clean_tags(file.tags)
        with contextlib.ExitStack() as undo:
            source = _opened(file)
            undo.callback(os.close, source)
            mime = library.accepted_type(os.pread(source, SNIFF_BYTES, 0))
            with contextlib.ExitStack() as made:
                temporary = self._blobs.temporary()
                target = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                made.callback(temporary.unlink)
                made.callback(os.close, target)
                if _pumped(source, target, file.size_bytes, buffer) != file.checksum:
                    raise NotAsAnnounced("The file holds other bytes than were announced")
                made.pop_all()
        return _Copy(temporary, target, NewAsset(new_id(), file.checksum, name, mime, file.size_bytes, tags))

    async def _shared(self, work: Callable[[Sequence[A]], R], whole: Sequence[A], hands: int) -> list[R]:
        """`work` done by several threads, each on a part of the whole, to the end even where nobody waits for it."""
        length = -(-len(whole) // hands) or 1
        loop = asyncio.get_running_loop()
        parts = [whole[start : start + length] for start in range(0, len(whole), length)]
        working = [loop.run_in_executor(self._threads, work, part) for part in parts]
        try:
            return await asyncio.shield(asyncio.gather(*working))
        finally:
            await asyncio.wait(working) if working else None


def _opened(file: Handed) -> int:
    try:
        source = os.open(file.path, _OPEN_FLAGS)
    except (OSError, ValueError) as error:  # a ValueError is a path with a NUL
        raise NotAsAnnounced("The file cannot be opened") from error
    found = os.fstat(source)
    if not stat.S_ISREG(found.st_mode) or found.st_size != file.size_bytes:
        os.close(source)
        raise NotAsAnnounced("There is no regular file of the size that was announced")
    return source


def _pumped(source: int, target: int, size_bytes: int, buffer: memoryview) -> str:
    """Copy everything; the checksum of what was written. Raises NotAsAnnounced when it is more or less than that."""
    digest, left = hashlib.sha256(), size_bytes
    while length := os.readv(source, [buffer]):
        left -= length
        if left < 0:
            break
        piece = buffer[:length]
        digest.update(piece)
        while piece:
            piece = piece[os.write(target, piece) :]
    if left:
        raise NotAsAnnounced("The file became longer or shorter while it was read")
    return digest.hexdigest()


def _sync_copies(copies: Iterable[_Copy]) -> None:
    for copy in copies:
        os.fsync(copy.descriptor)


def _sync_folders(folders: Iterable[Path]) -> None:
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _discard(copies: Collection[_Copy]) -> None:
    """Close them, and remove those that were not moved to their place."""
    for copy in copies:
        os.close(copy.descriptor)
        copy.temporary.unlink(missing_ok=True)
