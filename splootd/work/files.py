"""Reading what is to be sent: bounded in memory, on threads, and sure that it was one version from beginning to end."""

import asyncio
import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from splootd.budget import Budget
from splootd.core.item import Version
from splootd.core.magic import HEAD_BYTES, TAIL_BYTES, Kind, has_end, sniff
from splootd.errors import (
    Exhausted,
    FileChanged,
    FileEmpty,
    FileTooLarge,
    FileUnreadable,
    FileVanished,
    ItemError,
    NotAFile,
    NotAnImage,
    Unsupported,
)
from splootd.remote.answers import Limits, printable

__all__ = ["EXHAUSTION", "Content", "MemoryBudget", "amount", "called", "look", "look_in_thread", "read", "sniff"]

T = TypeVar("T")

HELD_BYTES_MAX = 1 << 20  # larger files are read twice: to be hashed, and to be sent
READ_BYTES = 1 << 20  # at once, to hash: larger pieces are no faster, and there is one for each lane
SEND_BYTES = 256 * 1024  # at once, to send
NAME_CHARS_MAX = 120

EXHAUSTION = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC})
"""What this machine has run out of when a call fails with one of these: files, sockets, memory, disk."""

_OPEN_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC  # a FIFO must not block


class MemoryBudget(Budget):
    """Bytes of file data in memory."""


@dataclass(frozen=True, slots=True)
class Content:
    """One version of a file, read and hashed. It lives as long as the `read` that gave it."""

    path: bytes
    version: Version
    sha256: bytes
    mime: str
    extension: str
    is_whole: bool  # False: its end is missing, so it may still be being written
    data: (
        bytes | None
    )  # all of it, or None where `pieces` reads it from `descriptor` again; after a survey neither is there
    descriptor: int | None

    @property
    def size(self) -> int:
        return self.version.size

    @property
    def name(self) -> str:
        """What the server is told: short, ASCII, and with the extension of what it is."""
        return f"{self.sha256.hex()[:12]}.{self.extension}"

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes, SEND_BYTES at a time; FileChanged before the last ones when they are not what was hashed."""
        if self.data is not None:
            for offset in range(0, self.size, SEND_BYTES):
                yield self.data[offset : offset + SEND_BYTES]
            return
        digest = hashlib.sha256()
        for offset in range(0, self.size, SEND_BYTES):
            piece = await _in_thread(self._piece, offset, digest)
            if offset + len(piece) == self.size and digest.digest() != self.sha256:
                raise _changed(self.path)
            yield piece

    async def part(self, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` to `end`, SEND_BYTES at a time; FileChanged when it is another version by now."""
        for offset in range(start, end, SEND_BYTES):
            yield await _in_thread(self._piece_of_version, offset, min(SEND_BYTES, end - offset))

    async def digest(self, start: int, end: int) -> bytes:
        """The SHA-256 of that part; FileChanged when it is another version by now."""
        digest = hashlib.sha256()
        async for piece in self.part(start, end):
            digest.update(piece)
        return digest.digest()

    def _piece(self, offset: int, digest: Any) -> bytes:
        piece = self._read(offset, min(SEND_BYTES, self.size - offset))
        digest.update(piece)
        return piece

    def _piece_of_version(self, offset: int, length: int) -> bytes:
        if self.data is not None:
            return self.data[offset : offset + length]
        assert self.descriptor is not None
        piece = self._read(offset, length)
        with _explained(self.path):
            if _version(os.fstat(self.descriptor), self.path) != self.version:
                raise _changed(self.path)
        return piece

    def _read(self, offset: int, length: int) -> bytes:
        assert self.descriptor is not None
        with _explained(self.path):
            piece = os.pread(self.descriptor, length, offset)
        if len(piece) != length:
            raise _changed(self.path)
        return piece


@contextlib.asynccontextmanager
async def read(
    path: bytes, version: Version, *, budget: MemoryBudget, limits: Limits, rank: int = 0
) -> AsyncIterator[Content]:
    """Read and hash `version` of the file, if the server would take it. Its memory is reserved until the end.

    Where memory is short, the smallest `rank` is served first.

    Raises the FileError that says why it is not to be sent, or Exhausted.
    """
    is_held = version.size <= min(HELD_BYTES_MAX, budget.total // 2)
    needed = 2 * version.size if is_held else min(READ_BYTES, budget.total)  # what is held stands in the form again
    with contextlib.ExitStack() as closing:
        async with budget.reserve(needed, rank) as share:
            content = await _in_thread(_read, path, version, limits, None if is_held else needed, closing)
            if not is_held:
                share.shrink(min(SEND_BYTES, needed))
            yield content


async def survey(
    wanted: Sequence[tuple[bytes, Version]], *, budget: MemoryBudget, limits: Limits, rank: int = 0
) -> list[Content | ItemError]:
    """Read and hash several files, one after the other; what has become of each. Nothing of them is held."""

    def each(path: bytes, version: Version) -> Content | ItemError:
        try:
            return _read(path, version, limits, min(piece_bytes, version.size + 1), None)
        except ItemError as error:
            return error

    piece_bytes = min(READ_BYTES, budget.total)
    async with budget.reserve(piece_bytes, rank):
        return await _in_thread(lambda: [each(path, version) for path, version in wanted])


def look(path: bytes) -> Version:
    """The version that lies at `path` now. Raises FileVanished, NotAFile, FileUnreadable or Exhausted."""
    with _explained(path):
        return _version(os.lstat(path), path)


async def look_in_thread(path: bytes) -> Version:
    """As `look`, where a slow disk must not hold up the loop."""
    return await _in_thread(look, path)


def called(path: bytes) -> str:
    """The file's name, fit for a sentence."""
    return printable(path.rpartition(b"/")[2].decode("utf-8", "backslashreplace"), NAME_CHARS_MAX)


def amount(size_bytes: int) -> str:
    """A size for people, in powers of ten."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if size_bytes >= scale:
            return f"{size_bytes / scale:.1f}".removesuffix(".0") + f" {unit}"
    return "1 byte" if size_bytes == 1 else f"{size_bytes} bytes"


def _read(
    path: bytes, version: Version, limits: Limits, piece_bytes: int | None, closing: contextlib.ExitStack | None
) -> Content:
    """All of the reading, in a thread. With `piece_bytes` the file stays open if there is a `closing` to close it."""
    with contextlib.ExitStack() as opened, _explained(path):
        descriptor = os.open(path, _OPEN_FLAGS)
        opened.callback(os.close, descriptor)
        if _version(os.fstat(descriptor), path) != version:
            raise _changed(path)
        head = os.pread(descriptor, HEAD_BYTES, 0)
        mime, extension = _taken(path, head, version.size, limits)
        if piece_bytes is None:
            data = _read_all(descriptor, version.size)
            digest, tail = hashlib.sha256(data), data[-TAIL_BYTES:]
        else:
            data = None
            digest, tail = _hash(descriptor, piece_bytes)
        if _version(os.fstat(descriptor), path) != version or (data is not None and len(data) != version.size):
            raise _changed(path)
        is_whole = has_end(mime, tail, head=head, size=version.size)
        kept = None
        if data is None and closing is not None:
            closing.push(opened.pop_all())
            kept = descriptor
        return Content(path, version, digest.digest(), mime, extension, is_whole, data, kept)


def _read_all(descriptor: int, size: int) -> bytes:
    """`size` bytes, or fewer where the file has become shorter."""
    data = os.pread(descriptor, size, 0)
    while len(data) < size:
        more = os.pread(descriptor, size - len(data), len(data))
        if not more:
            break
        data += more
    return data


def _hash(descriptor: int, piece_bytes: int) -> tuple[Any, bytes]:
    """The digest of the whole file, and its last TAIL_BYTES. One buffer of `piece_bytes`, whatever the size."""
    digest, tail = hashlib.sha256(), b""
    buffer = memoryview(bytearray(piece_bytes))
    while length := os.readv(descriptor, [buffer]):
        digest.update(buffer[:length])
        tail = (tail + bytes(buffer[max(0, length - TAIL_BYTES) : length]))[-TAIL_BYTES:]
    return digest, tail


def _taken(path: bytes, head: bytes, size: int, limits: Limits) -> Kind:
    """What kind of image it is. Raises the FileError that says why the server would not take it."""
    name = called(path)
    if size == 0:
        raise FileEmpty(f"{name} is empty", "if it should not be, get it again, then `sploot retry`")
    kind = sniff(head)
    if kind is None:
        raise NotAnImage(f"{name} is not an image, whatever its name says", "`sploot forget` it, or replace the file")
    if kind[0] not in limits.types:
        taken = ", ".join(sorted(each.partition("/")[2] for each in limits.types))
        raise Unsupported(f"{name} is {kind[0]}; the server takes {printable(taken)}", "convert it, and add the result")
    if size > limits.bytes_max:
        is_close = amount(size) == amount(limits.bytes_max)
        found, allowed = (f"{each:,} bytes" if is_close else amount(each) for each in (size, limits.bytes_max))
        raise FileTooLarge(
            f"{name} is {found}; the server takes at most {allowed}",
            "make it smaller, then `sploot retry`",
        )
    return kind


def _version(found: os.stat_result, path: bytes) -> Version:
    if not stat.S_ISREG(found.st_mode):
        raise NotAFile(f"{called(path)} is not a regular file", "add the file itself, not a link, a pipe or a device")
    return Version(found.st_size, found.st_mtime_ns, found.st_dev, found.st_ino)


def _changed(path: bytes) -> FileChanged:
    return FileChanged(f"{called(path)} changed while it was read; its new version is sent when it has come to rest")


@contextlib.contextmanager
def _explained(path: bytes) -> Iterator[None]:
    """Turn the system's errors about a file into ours."""
    try:
        yield
    except OSError as error:
        raise _file_error(error, path) from error
    except MemoryError as error:
        raise Exhausted("this machine has no memory left", "close some programs; sending goes on by itself") from error


def _file_error(error: OSError, path: bytes) -> ItemError:
    name = called(path)
    if error.errno in EXHAUSTION:
        return Exhausted(f"this machine ran out of something: {error.strerror}", "sending goes on by itself")
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return FileVanished(f"{name} is no longer there")
        case errno.ELOOP | errno.ENXIO | errno.EISDIR:
            return NotAFile(f"{name} is not a regular file", "add the file itself, not a link, a pipe or a device")
        case errno.EACCES | errno.EPERM:
            return FileUnreadable(f"{name} may not be read by you", "allow it (chmod u+r), then `sploot retry`")
        case _:
            return FileUnreadable(f"{name} cannot be read: {error.strerror}", "check the disk, then `sploot retry`")


async def _in_thread(work: Callable[..., T], *args: Any) -> T:
    """Run `work` in a thread, and to its end even when cancelled: it may hold a descriptor and memory."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *args))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        running.exception()  # seen, and of no interest any more
        raise
