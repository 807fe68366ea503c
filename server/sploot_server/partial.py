"""Uploads that come in parts, on disk: what is acknowledged is durable, and outlives the server.

`partial/<id>` holds the bytes. `partial/<id>.state` says in its first line how many of them count, always in as many
digits, so that it is overwritten in place and within one sector; the rest is JSON, which only changes at the end. Bytes
behind those that count are nobody's: they are overwritten by the next ones. The time of the state's last change is when
the upload last went on, from which its expiry follows.
"""

import asyncio
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from sploot_server.blobs import BUFFER_BYTES
from sploot_server.model import LibraryError
from sploot_server.turns import Turns

KEPT_S = 7 * 24 * 3600.0  # without going on
ENDED_KEPT_S = 24 * 3600.0  # for so long the outcome is told again
UNFINISHED_MAX = 1_000
SWEEP_S = 3600.0
OFFSET_DIGITS = 20
ID = re.compile(r"[0-9a-f]{32}")

logger = structlog.get_logger()


class Unknown(LibraryError):
    """There is no such upload, or none any more."""

    def __init__(self) -> None:
        super().__init__("There is no such upload, or it has expired. Begin anew")


class TooMany(LibraryError):
    """So many uploads are unfinished that no other may begin."""

    def __init__(self) -> None:
        super().__init__(f"{UNFINISHED_MAX} uploads are unfinished here. Finish some, or try again later")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an upload that is complete."""

    asset_id: str
    created: bool


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload as it was last acknowledged. `metadata` is the client's own text, `length` and `offset` are bytes."""

    id: str
    owner: str
    length: int
    metadata: str
    filename: str
    tags: Sequence[str]
    checksum: str | None  # of the whole, where the client has announced it
    outcome: Outcome | None = None
    offset: int = 0
    expires_s: float = 0.0  # since the epoch

    @property
    def complete(self) -> bool:
        return self.offset == self.length


class Partials:
    """The uploads of one folder, which no other process may use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.turns = Turns()

    def open(self) -> None:
        """Make the folder; throw away what was never begun to its end, and what has expired."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for stray in [*self._folder.glob("*.new"), *filter(self._is_stray, self._parts())]:
            stray.unlink()
        self.sweep()

    async def run(self) -> None:
        """Sweep once an hour."""
        while True:
            await asyncio.sleep(SWEEP_S)
            if swept := await asyncio.to_thread(self.sweep):
                logger.info("uploads expired", count=swept)

    def sweep(self) -> int:
        """Throw away what has expired; how many that were. Blocks."""
        swept = 0
        for state in self._folder.glob("*.state"):
            if state.stem not in self.turns and self._has_expired(state.stem):
                self._remove(state.stem)
                swept += 1
        return swept

    async def begin(
        self, owner: str, *, length: int, metadata: str, filename: str, tags: Sequence[str], checksum: str | None
    ) -> Upload:
        """A new upload, which is durable on return. Raises TooMany."""
        upload = Upload(secrets.token_hex(16), owner, length, metadata, filename, tags, checksum)
        await asyncio.to_thread(self._begin, upload)
        return await self.find(upload.id, owner)

    async def find(self, upload_id: str, owner: str) -> Upload:
        """Raises Unknown, also for what belongs to somebody else."""
        upload = await asyncio.to_thread(self._load, upload_id)
        if upload.owner != owner or upload.expires_s <= time.time():
            raise Unknown
        return upload

    def tail(self, upload: Upload, algorithm: str | None) -> "Tail":
        """Where the next bytes go; with an `algorithm` of hashlib they are hashed."""
        return Tail(self._folder / upload.id, self._state(upload.id), upload, algorithm)

    def path(self, upload: Upload) -> Path:
        """The file with its bytes: all of them once it is complete, and then nobody changes it any more."""
        return self._folder / upload.id

    async def head(self, upload: Upload, size_bytes: int) -> bytes:
        """The first bytes, whether or not they count."""
        with await asyncio.to_thread((self._folder / upload.id).open, "rb", buffering=0) as file:
            return await asyncio.to_thread(file.read, size_bytes)

    async def end(self, upload: Upload, outcome: Outcome) -> None:
        """Note the outcome; the bytes are no longer needed."""
        await asyncio.to_thread(self._end, replace(upload, outcome=outcome))

    async def remove(self, upload: Upload) -> None:
        await asyncio.to_thread(self._remove, upload.id)

    def _has_expired(self, upload_id: str) -> bool:
        try:
            return self._load(upload_id).expires_s <= time.time()
        except Unknown:
            return True

    def _begin(self, upload: Upload) -> None:
        if sum(1 for _ in self._parts()) >= UNFINISHED_MAX:
            raise TooMany
        with (self._folder / upload.id).open("xb") as part:
            os.fsync(part.fileno())
        self._write(upload)

    def _end(self, upload: Upload) -> None:
        self._write(upload)
        (self._folder / upload.id).unlink(missing_ok=True)

    def _write(self, upload: Upload) -> None:
        """The state as a whole: it is there afterwards as it was or as it is now, also after a power cut."""
        values = asdict(upload)
        text = f"{values.pop('offset'):0{OFFSET_DIGITS}d}\n{json.dumps(values)}\n"
        fresh = self._folder / f"{upload.id}.new"
        with fresh.open("wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._state(upload.id))
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _load(self, upload_id: str) -> Upload:
        if not ID.fullmatch(upload_id):
            raise Unknown
        try:
            with self._state(upload_id).open("rb") as file:
                changed_s = os.fstat(file.fileno()).st_mtime
                offset, values = int(file.readline()), json.loads(file.read())
            outcome = values.pop("outcome")
            held = values["length"] if outcome else (self._folder / upload_id).stat().st_size
            values |= {"offset": min(offset, held), "expires_s": changed_s + (ENDED_KEPT_S if outcome else KEPT_S)}
            return Upload(**values, outcome=outcome and Outcome(**outcome))
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            raise Unknown from error

    def _remove(self, upload_id: str) -> None:
        self._state(upload_id).unlink(missing_ok=True)
        (self._folder / upload_id).unlink(missing_ok=True)

    def _state(self, upload_id: str) -> Path:
        return self._folder / f"{upload_id}.state"

    def _parts(self) -> list[Path]:
        return [each for each in self._folder.iterdir() if not each.suffix]

    def _is_stray(self, part: Path) -> bool:
        return not self._state(part.name).exists()


class Tail:
    """The next bytes of an upload. They count once `commit` has returned; leaving the `with` forgets the others."""

    def __init__(self, part: Path, state: Path, upload: Upload, algorithm: str | None) -> None:
        self.upload = upload
        self._part = os.open(part, os.O_WRONLY | os.O_CLOEXEC)
        self._state = os.open(state, os.O_WRONLY | os.O_CLOEXEC)
        self._hash = hashlib.new(algorithm) if algorithm else None
        self._buffer = bytearray()
        self._written = upload.offset

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._part)
        os.close(self._state)

    @property
    def size_bytes(self) -> int:
        """Of the upload with all that was taken in."""
        return self._written + len(self._buffer)

    @property
    def digest(self) -> bytes:
        """Of all that was flushed."""
        assert self._hash is not None
        return self._hash.digest()

    def write(self, data: bytes) -> None:
        """Take bytes in; await `settle` before the next call, so that memory stays bounded."""
        self._buffer += data

    async def settle(self) -> None:
        if len(self._buffer) >= BUFFER_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Write what was taken in to the file; it does not count yet."""
        await to_its_end(self._flush)

    async def commit(self) -> None:
        """Make all bytes durable, and only then let them count."""
        await to_its_end(self._commit)

    def _flush(self) -> None:
        if self._hash is not None:
            self._hash.update(self._buffer)
        with memoryview(self._buffer) as view:
            done = 0
            while done < len(view):
                done += os.pwrite(self._part, view[done:], self._written + done)
        self._written += len(self._buffer)
        self._buffer.clear()

    def _commit(self) -> None:
        self._flush()
        os.fsync(self._part)
        os.pwrite(self._state, f"{self._written:0{OFFSET_DIGITS}d}".encode(), 0)
        os.fsync(self._state)
        self.upload = replace(self.upload, offset=self._written, expires_s=time.time() + KEPT_S)


async def to_its_end(work: Callable[[], None]) -> None:
    """Run `work` in a thread, and wait for it even when cancelled: it holds descriptors."""
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
