"""Upload by path: copies, verifies and stores local files that a program of the same user names, in batches.

The library stores the bytes that it read and hashed itself; later changes to the source file do not matter. The order
is that of any upload, but for a whole request at once: fsync the bytes, rename, fsync the folders, then insert the rows
in one transaction. A crash in between leaves files without rows, never rows without files.
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

from sploot_server.domain.entities import AddResult, ContentMismatch, InvalidInput, NewAsset, new_id
from sploot_server.domain.file_names import split_file_name
from sploot_server.domain.sniff import SNIFF_BYTES
from sploot_server.library.service import Library, clean_tags
from sploot_server.storage.blobs.files import FileBlobs

A = TypeVar("A")
R = TypeVar("R")

CHUNK_BYTES = 1024 * 1024
SYNCS_MAX = 8  # concurrent fsyncs: the file system's journal commits them together
# O_NONBLOCK: opening a FIFO for reading blocks until it has a writer. O_NOFOLLOW: a symbolic link could name any file
# that the server may read. O_NOCTTY: opening a terminal must not make it the controlling one.
_OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class DeclaredFile:
    """A file as the client declared it; `checksum` is lower-case hex."""

    path: bytes
    size_bytes: int
    checksum: str
    filename: str
    tags: Sequence[str]


@dataclass(frozen=True, slots=True)
class _CopiedFile:
    """The copy of a declared file under a temporary name; the open descriptor is for its fsync."""

    temporary: Path
    descriptor: int
    new: NewAsset


class UploadByPath:
    """Imports local files into a library whose blob store is on the same machine."""

    def __init__(self, library: Library, blobs: FileBlobs) -> None:
        self._library = library
        self._blobs = blobs
        self._executor = ThreadPoolExecutor(SYNCS_MAX, thread_name_prefix="upload-by-path")

    def close(self) -> None:
        self._executor.shutdown()

    async def import_files(self, files: Sequence[DeclaredFile], *, owner: str) -> list[AddResult | Exception]:
        """Import files and return the result of each; the bytes and rows of added ones are durable."""
        library = self._library.for_owner(owner)
        existing = await library.find_by_checksums([file.checksum for file in files])
        results: dict[int, AddResult | Exception] = {
            n: AddResult(existing[file.checksum], created=False)
            for n, file in enumerate(files)
            if file.checksum in existing and not file.tags
        }
        missing = [n for n in range(len(files)) if n not in results]
        temporaries: list[_CopiedFile] = []  # to be discarded in every case
        try:
            copied = await self._copy_all(library, [files[n] for n in missing], temporaries)
            results |= {n: each for n, each in zip(missing, copied, strict=True) if isinstance(each, Exception)}
            copies = {n: each for n, each in zip(missing, copied, strict=True) if isinstance(each, _CopiedFile)}
            if copies:
                added = await self._commit(library, list(copies.values()))
                results |= dict(zip(copies, added, strict=True))
        finally:
            _discard(temporaries)
        return [results[n] for n in range(len(files))]

    async def _commit(self, library: Library, copies: Sequence[_CopiedFile]) -> Sequence[AddResult]:
        checksums_by_path = {copy.temporary: copy.new.checksum for copy in copies}

        async def commit_blobs() -> None:
            folders = await asyncio.to_thread(self._blobs.move_all_into_place, checksums_by_path)
            await self._run_in_threads(_sync_folders, list(folders), SYNCS_MAX)

        await self._run_in_threads(_sync_copies, copies, SYNCS_MAX)
        return await library.add_all([copy.new for copy in copies], commit_blobs)

    async def _copy_all(
        self, library: Library, files: Sequence[DeclaredFile], temporaries: list[_CopiedFile]
    ) -> list[_CopiedFile | Exception]:
        def copy_part(part: Sequence[DeclaredFile]) -> list[_CopiedFile | Exception]:
            buffer = memoryview(bytearray(min(CHUNK_BYTES, 1 + max(file.size_bytes for file in part))))
            results = []
            for file in part:
                results.append(result := self._try_copy(library, file, buffer))
                if isinstance(result, _CopiedFile):
                    temporaries.append(result)
            return results

        return [each for part in await self._run_in_threads(copy_part, files, os.cpu_count() or 1) for each in part]

    def _try_copy(self, library: Library, file: DeclaredFile, buffer: memoryview) -> _CopiedFile | Exception:
        try:
            return self._copy(library, file, buffer)
        except Exception as error:  # noqa: BLE001 - the result of this file; the others continue
            return error

    def _copy(self, library: Library, file: DeclaredFile, buffer: memoryview) -> _CopiedFile:
        """Copy and hash a file in one pass, and verify its declared checksum."""
        if file.size_bytes == 0:
            raise InvalidInput("File appears to be empty")
        library.check_size(file.size_bytes)
        folder, name = split_file_name(file.filename)
        tags = clean_tags(file.tags)
        with contextlib.ExitStack() as undo:
            source = _open_regular_file(file)
            undo.callback(os.close, source)
            mime = library.detect_type(os.pread(source, SNIFF_BYTES, 0))
            with contextlib.ExitStack() as undo_copy:
                temporary = self._blobs.new_temporary_path()
                target = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                undo_copy.callback(temporary.unlink)
                undo_copy.callback(os.close, target)
                if _copy_and_hash(source, target, file.size_bytes, buffer) != file.checksum:
                    raise ContentMismatch("The content of the file does not match the declared checksum")
                undo_copy.pop_all()
        new = NewAsset(new_id(), file.checksum, name, mime, file.size_bytes, tags, folder=folder)
        return _CopiedFile(temporary, target, new)

    async def _run_in_threads(self, work: Callable[[Sequence[A]], R], items: Sequence[A], thread_count: int) -> list[R]:
        """Run `work` in several threads, each on a part of the items."""
        length = -(-len(items) // thread_count) or 1
        loop = asyncio.get_running_loop()
        parts = [items[start : start + length] for start in range(0, len(items), length)]
        futures = [loop.run_in_executor(self._executor, work, part) for part in parts]
        # A thread cannot be cancelled. Without the wait, a cancelled caller would discard temporaries and close
        # descriptors that the threads still use.
        try:
            return await asyncio.shield(asyncio.gather(*futures))
        finally:
            await asyncio.wait(futures) if futures else None


def _open_regular_file(file: DeclaredFile) -> int:
    try:
        source = os.open(file.path, _OPEN_FLAGS)
    except (OSError, ValueError) as error:  # ValueError: the path contains a NUL
        raise ContentMismatch("The file cannot be opened") from error
    status = os.fstat(source)  # of the descriptor: the path may name another file by now
    if not stat.S_ISREG(status.st_mode) or status.st_size != file.size_bytes:
        os.close(source)
        raise ContentMismatch("The path is not a regular file of the declared size")
    return source


def _copy_and_hash(source: int, target: int, size_bytes: int, buffer: memoryview) -> str:
    """Copy a file and return the checksum of the copy. Raises ContentMismatch if its size is not `size_bytes`."""
    digest, left = hashlib.sha256(), size_bytes
    while length := os.readv(source, [buffer]):
        left -= length
        if left < 0:
            break
        chunk = buffer[:length]
        digest.update(chunk)
        while chunk:
            chunk = chunk[os.write(target, chunk) :]
    if left:
        raise ContentMismatch("The size of the file changed while it was read")
    return digest.hexdigest()


def _sync_copies(copies: Iterable[_CopiedFile]) -> None:
    for copy in copies:
        os.fsync(copy.descriptor)


def _sync_folders(folders: Iterable[Path]) -> None:
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _discard(copies: Collection[_CopiedFile]) -> None:
    """Close the copies, and remove those that were not moved into place."""
    for copy in copies:
        os.close(copy.descriptor)
        copy.temporary.unlink(missing_ok=True)
