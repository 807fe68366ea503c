"""Read and hash files: with bounded memory, in threads, and only if the file stays one version from start to end."""

import asyncio
import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from splootd.config import BROWSER_UPLOADS
from splootd.core.item import Version
from splootd.core.limits import Limits
from splootd.core.mime_sniff import HEAD_BYTES, TAIL_BYTES, FileType, is_complete, sniff
from splootd.errors import (
    FileChanged,
    FileEmpty,
    FileMissing,
    FileTooLarge,
    FileUnreadable,
    ItemError,
    NotAFile,
    NotAnImage,
    ResourceExhausted,
    Unsupported,
)
from splootd.text import display_name, format_size, printable
from splootd.weighted_semaphore import WeightedSemaphore

T = TypeVar("T")

BUFFERED_BYTES_MAX = 1 << 20  # larger files are read twice: once to hash, once to send
READ_BYTES = 1 << 20  # per read: larger ones are no faster, and every worker needs a buffer
SEND_BYTES = 256 * 1024  # per write to the connection

RESOURCE_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC})
"""Errors of this machine, not of the file: it is out of descriptors, sockets, memory or disk space."""

_OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
"""O_NONBLOCK: opening a FIFO without a writer would block the thread for ever. O_NOFOLLOW: if a link replaced the file
since the scan, its target must not be uploaded."""


class MemoryBudget(WeightedSemaphore):
    """Bytes of file data in memory."""


@dataclass(frozen=True, slots=True)
class Content:
    """One version of a file, read and hashed. It is valid until the `read_files` that returned it ends."""

    path: bytes
    version: Version
    sha256: bytes
    mime: str
    extension: str
    is_complete: bool  # False: truncated, so it may still be being written
    data: bytes | None  # the whole file, or None if `iter_bytes` reads it from `descriptor`; `hash_files` sets neither
    descriptor: int | None

    @property
    def size(self) -> int:
        return self.version.size

    @property
    def name(self) -> str:
        """The file name sent to the server: short, ASCII, with the extension of the detected type."""
        return f"{self.sha256.hex()[:12]}.{self.extension}"

    @property
    def original_name(self) -> str:
        """The name of the file after that of its folder, `folder/name.jpg`, for servers that keep it."""
        folder, _, name = os.fsencode(self.path).decode("utf-8", "replace").rpartition("/")
        folder = folder.rpartition("/")[2]
        return f"{folder}/{name}" if folder != BROWSER_UPLOADS else name

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        """Iterate over the file in pieces of SEND_BYTES. Raises FileChanged instead of the last ones if it changed.

        Without its last piece the request is incomplete, so the server cannot store bytes that differ from the hash.
        """
        if self.data is not None:
            for piece in _split(self.data):
                yield piece
            return
        digest = hashlib.sha256()
        for offset in range(0, self.size, READ_BYTES):
            block = await _run_in_thread(self._read_and_hash, offset, digest)
            if offset + len(block) == self.size and digest.digest() != self.sha256:
                raise _file_changed(self.path)
            for piece in _split(block):
                yield piece

    async def iter_range(self, start: int, end: int) -> AsyncIterator[bytes]:
        """Iterate over the bytes from `start` to `end`. Raises FileChanged if the version of the file changed."""
        for offset in range(start, end, SEND_BYTES):
            yield await _run_in_thread(self._read_unchanged, offset, min(SEND_BYTES, end - offset))

    async def hash_range(self, start: int, end: int) -> bytes:
        """Return the SHA-256 of the bytes from `start` to `end`. Raises FileChanged if the version changed."""
        digest = hashlib.sha256()
        async for piece in self.iter_range(start, end):
            digest.update(piece)
        return digest.digest()

    def _read_and_hash(self, offset: int, digest: Any) -> bytes:
        block = self._read(offset, min(READ_BYTES, self.size - offset))
        digest.update(block)
        return block

    def _read_unchanged(self, offset: int, length: int) -> bytes:
        if self.data is not None:
            return self.data[offset : offset + length]
        assert self.descriptor is not None
        piece = self._read(offset, length)
        with _map_os_errors(self.path):
            if _version_from_stat(os.fstat(self.descriptor), self.path) != self.version:
                raise _file_changed(self.path)
        return piece

    def _read(self, offset: int, length: int) -> bytes:
        assert self.descriptor is not None
        with _map_os_errors(self.path):
            piece = os.pread(self.descriptor, length, offset)
        if len(piece) != length:
            raise _file_changed(self.path)
        return piece


def _split(data: bytes) -> Iterator[bytes]:
    return (data[offset : offset + SEND_BYTES] for offset in range(0, len(data), SEND_BYTES))


def get_buffered_bytes_max(budget: MemoryBudget) -> int:
    """Return the size up to which files are buffered, alone or together. The request holds a second copy of them."""
    return min(BUFFERED_BYTES_MAX, budget.total // 2)


@contextlib.asynccontextmanager
async def read_files(
    files: Sequence[tuple[bytes, Version]], *, budget: MemoryBudget, limits: Limits, priority: int = 0
) -> AsyncIterator[list[Content | Exception]]:
    """Read and hash versions of files. Their memory stays reserved until the block ends.

    Several files must fit into `get_buffered_bytes_max` together. If memory is short, the lowest `priority` is served
    first. Yields for each file its content or an exception: the FileError that explains why the file cannot be
    uploaded, or ResourceExhausted.
    """
    size = sum(version.size for _, version in files)
    is_buffered = size <= get_buffered_bytes_max(budget)
    needed = 2 * size if is_buffered else min(READ_BYTES, budget.total)
    piece_bytes = None if is_buffered else needed
    with contextlib.ExitStack() as closing:

        def read_file(path: bytes, version: Version) -> Content | Exception:
            try:
                return _read_file(path, version, limits, piece_bytes, closing)
            except Exception as error:  # noqa: BLE001 - one file must not stop the others
                return error

        async with budget.reserve(needed, priority):
            yield await _run_in_thread(lambda: [read_file(path, version) for path, version in files])


async def hash_files(
    files: Sequence[tuple[bytes, Version]], *, budget: MemoryBudget, limits: Limits, priority: int = 0
) -> list[Content | ItemError]:
    """Read and hash several files one after the other. Return a result or error for each, without its data."""

    def hash_file(path: bytes, version: Version) -> Content | ItemError:
        try:
            return _read_file(path, version, limits, min(piece_bytes, version.size + 1), None)
        except ItemError as error:
            return error

    piece_bytes = min(READ_BYTES, budget.total)
    async with budget.reserve(piece_bytes, priority):
        return await _run_in_thread(lambda: [hash_file(path, version) for path, version in files])


def stat_version(path: bytes) -> Version:
    """Return the current version of the file. Raises FileMissing, NotAFile, FileUnreadable or ResourceExhausted."""
    with _map_os_errors(path):
        return _version_from_stat(os.lstat(path), path)


async def stat_version_in_thread(path: bytes) -> Version:
    """As `stat_version`, without blocking the event loop on a slow disk."""
    return await _run_in_thread(stat_version, path)


async def stat_versions_in_thread(paths: Sequence[bytes]) -> list[Version | None]:
    """Return the current version of each file, or None if there is no readable file."""

    def stat_or_none(path: bytes) -> Version | None:
        try:
            return stat_version(path)
        except ItemError:
            return None

    return await _run_in_thread(lambda: [stat_or_none(path) for path in paths])


def _read_file(
    path: bytes, version: Version, limits: Limits, piece_bytes: int | None, closing: contextlib.ExitStack | None
) -> Content:
    """Read and hash a file; runs in a thread. With `piece_bytes` its data is not kept.

    The descriptor stays open if there is a `closing` to close it. The version is compared before and after reading:
    a write in between changes mtime or size, so the hash belongs to exactly this version.
    """
    with contextlib.ExitStack() as opened, _map_os_errors(path):
        descriptor = os.open(path, _OPEN_FLAGS)
        opened.callback(os.close, descriptor)
        if _version_from_stat(os.fstat(descriptor), path) != version:
            raise _file_changed(path)
        head = os.pread(descriptor, HEAD_BYTES, 0)
        mime, extension = _detect_type(path, head, version.size, limits)
        if piece_bytes is None:
            data = _read_all(descriptor, version.size)
            digest, tail = hashlib.sha256(data), data[-TAIL_BYTES:]
        else:
            data = None
            digest, tail = _hash(descriptor, piece_bytes)
        if _version_from_stat(os.fstat(descriptor), path) != version or (
            data is not None and len(data) != version.size
        ):
            raise _file_changed(path)
        is_whole = is_complete(mime, tail, head=head, size=version.size)
        kept = None
        if data is None and closing is not None:
            closing.push(opened.pop_all())
            kept = descriptor
        return Content(path, version, digest.digest(), mime, extension, is_whole, data, kept)


def _read_all(descriptor: int, size: int) -> bytes:
    """Read `size` bytes, or fewer if the file was truncated in the meantime."""
    data = os.pread(descriptor, size, 0)
    while len(data) < size:
        more = os.pread(descriptor, size - len(data), len(data))
        if not more:
            break
        data += more
    return data


def _hash(descriptor: int, piece_bytes: int) -> tuple[Any, bytes]:
    """Hash the whole file through one buffer of `piece_bytes`. Return the digest and the last TAIL_BYTES."""
    digest, tail = hashlib.sha256(), b""
    buffer = memoryview(bytearray(piece_bytes))
    while length := os.readv(descriptor, [buffer]):
        digest.update(buffer[:length])
        tail = (tail + bytes(buffer[max(0, length - TAIL_BYTES) : length]))[-TAIL_BYTES:]
    return digest, tail


def _detect_type(path: bytes, head: bytes, size: int, limits: Limits) -> FileType:
    """Return the type of the file. Raises the FileError that explains why the server would not accept it."""
    name = display_name(path)
    if size == 0:
        raise FileEmpty(f"{name} is empty")
    kind = sniff(head)
    if kind is None:
        raise NotAnImage(f"{name} is not an image or video")
    if kind[0] not in limits.types:
        if extra := limits.missing_decoder(kind[0]):
            install = f"pip install 'sploot[{extra}]'"
            raise Unsupported(f"{name} is {kind[0]}; its decoder is missing. Run: {install} && sploot daemon restart")
        supported = ", ".join(sorted(each.partition("/")[2] for each in limits.types))
        raise Unsupported(f"{name} is {kind[0]}; the server accepts {printable(supported)}")
    if size > limits.bytes_max:
        is_close = format_size(size) == format_size(limits.bytes_max)
        actual, allowed = (f"{each:,} bytes" if is_close else format_size(each) for each in (size, limits.bytes_max))
        raise FileTooLarge(f"{name} is {actual}; the server accepts at most {allowed}")
    return kind


def _version_from_stat(stat_result: os.stat_result, path: bytes) -> Version:
    if not stat.S_ISREG(stat_result.st_mode):
        raise NotAFile(f"{display_name(path)} is not a regular file, but a link, a pipe or a device")
    return Version(stat_result.st_size, stat_result.st_mtime_ns, stat_result.st_dev, stat_result.st_ino)


def _file_changed(path: bytes) -> FileChanged:
    return FileChanged(
        f"{display_name(path)} changed while it was read; its new version is uploaded once it stops changing"
    )


@contextlib.contextmanager
def _map_os_errors(path: bytes) -> Iterator[None]:
    """Convert OSError and MemoryError raised in the block to ItemErrors about the file."""
    try:
        yield
    except OSError as error:
        raise _file_error(error, path) from error
    except MemoryError as error:
        raise ResourceExhausted(
            "this machine is out of memory", "close some programs; uploads resume automatically"
        ) from error


def _file_error(error: OSError, path: bytes) -> ItemError:
    name = display_name(path)
    if error.errno in RESOURCE_ERRNOS:
        return ResourceExhausted(f"this machine is out of resources: {error.strerror}", "uploads resume automatically")
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return FileMissing(f"{name} no longer exists")
        case errno.ELOOP | errno.ENXIO | errno.EISDIR:
            return NotAFile(f"{name} is not a regular file", "add the file itself, not a link, a pipe or a device")
        case errno.EACCES | errno.EPERM:
            return FileUnreadable(f"no permission to read {name}", "allow it (chmod u+r), then `sploot retry`")
        case _:
            return FileUnreadable(f"{name} cannot be read: {error.strerror}", "check the disk, then `sploot retry`")


async def _run_in_thread(work: Callable[..., T], *args: Any) -> T:
    """Run `work` in a thread, to its end even if this task is cancelled.

    A thread cannot be cancelled. Returning early would close the descriptor and free the reserved memory while the
    thread still uses them; the descriptor's number could then belong to another file.
    """
    running = asyncio.get_running_loop().run_in_executor(None, work, *args)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        running.exception()  # retrieve it, or asyncio logs "exception was never retrieved"
        raise
