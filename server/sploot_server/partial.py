"""Uploads that come in parts, on disk: what is acknowledged is durable, and outlives the server.

`partial/<id>` holds the bytes. `partial/<id>.state` says in its first line how many of them count, always in as many
digits, so that it is overwritten in place and within one sector; the rest is JSON, which only changes at the end. Bytes
behind those that count are nobody's: they are overwritten by the next ones. The time of the state's last change is when
the upload last went on, from which its expiry follows.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import structlog

from sploot_server.model import LibraryError
from sploot_server.tail import OFFSET_DIGITS, Tail
from sploot_server.turns import Held, Turn, Turns

KEPT_S = 7 * 24 * 3600.0  # without going on
ENDED_KEPT_S = 24 * 3600.0  # for so long the outcome is told again
STRAY_S = 3600.0  # nothing takes so long to be begun
UNFINISHED_MAX = 200  # of one owner; then the one that was left longest ago gives way
SWEEP_S = 3600.0
ID = re.compile(r"[0-9a-f]{32}")

logger = structlog.get_logger()


class Unknown(LibraryError):
    """There is no such upload, or none any more."""

    def __init__(self) -> None:
        super().__init__("There is no such upload, or it has expired. Begin anew")


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
    """The uploads of one folder, in which several servers may work: each upload is in one hand at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turns = Turns()

    def open(self) -> None:
        """Make the folder; throw away what has expired."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.sweep()

    async def run(self) -> None:
        """Sweep once an hour."""
        while True:
            await asyncio.sleep(SWEEP_S)
            if swept := await asyncio.to_thread(self.sweep):
                logger.info("uploads expired", count=swept)

    def sweep(self) -> int:
        """Throw away what has expired, and what was never begun to its end; how many that were. Blocks."""
        swept = 0
        for state in self._folder.glob("*.state"):
            if state.stem not in self._turns and self._has_expired(state.stem):
                self._remove(state.stem)
                swept += 1
        for stray in [*self._folder.glob("*.new"), *filter(self._is_stray, self._parts())]:
            with contextlib.suppress(FileNotFoundError):  # if another server was faster
                if stray.stat().st_mtime < time.time() - STRAY_S:
                    stray.unlink()
        return swept

    async def begin(
        self, owner: str, *, length: int, metadata: str, filename: str, tags: Sequence[str], checksum: str | None
    ) -> Upload:
        """A new upload, which is durable on return."""
        upload = Upload(secrets.token_hex(16), owner, length, metadata, filename, tags, checksum)
        await asyncio.to_thread(self._begin, upload)
        return await self.find(upload.id, owner)

    async def find(self, upload_id: str, owner: str) -> Upload:
        """Raises Unknown, also for what belongs to somebody else."""
        upload = await asyncio.to_thread(self._load, upload_id)
        if upload.owner != owner or upload.expires_s <= time.time():
            raise Unknown
        return upload

    @contextlib.asynccontextmanager
    async def turn(self, upload_id: str) -> AsyncIterator[Turn]:
        """The right to change an upload. Raises Held when another request has it, or Unknown."""
        async with self._turns.of(upload_id) as turn:
            fd = self._locked(upload_id)
            try:
                yield turn
            finally:
                os.close(fd)

    def tail(self, upload: Upload, algorithm: str | None) -> Tail:
        """Where the next bytes go; with an `algorithm` of hashlib they are hashed."""
        return Tail(self.path(upload), self._state(upload.id), upload.offset, algorithm)

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

    def _locked(self, upload_id: str) -> int:
        """A descriptor that keeps other servers away; the lock ends with the process, however that ends."""
        try:
            fd = os.open(self._state(upload_id), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise Unknown from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(fd)
            raise Held from error
        return fd

    def _has_expired(self, upload_id: str) -> bool:
        try:
            return self._load(upload_id).expires_s <= time.time()
        except Unknown:
            return True

    def _make_room(self, owner: str) -> None:
        """For one more upload of this owner."""
        mine = list(self._unfinished(owner))
        idle = sorted((each for each in mine if each.id not in self._turns), key=lambda each: each.expires_s)
        for left in idle[: max(0, len(mine) + 1 - UNFINISHED_MAX)]:
            self._remove(left.id)

    def _unfinished(self, owner: str) -> Iterator[Upload]:
        for part in self._parts():
            with contextlib.suppress(Unknown):
                if (upload := self._load(part.name)).owner == owner:
                    yield upload

    def _begin(self, upload: Upload) -> None:
        self._make_room(upload.owner)
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
