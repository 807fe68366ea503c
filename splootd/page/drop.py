"""Files dropped on the page: written to disk as they come in, queued before all others, put away once they are safe.

A copy that is still being written has a name of its own. A whole one is writable until it is queued, and no longer
after that: so a start can tell after a crash what was never finished (removed) and never queued (queued now).
"""

import asyncio
import contextlib
import errno
import os
import secrets
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from splootd.clock import Clock
from splootd.control.endpoints import Endpoints
from splootd.errors import RequestError, SplootError
from splootd.logs import logger
from splootd.protocol import Add, PathOutcome
from splootd.remote.api import Server
from splootd.work.carry import carry
from splootd.work.files import amount
from splootd.work.intake import Intake
from splootd.work.trash import numbered

DROP_BYTES_MAX = 200_000_000
FOLDER_BYTES_MAX = 5_000_000_000  # of all that waits
DROPS_MAX = 4  # at once
WRITE_BYTES = 1_000_000  # at once
NAME_BYTES_MAX = 200
KEPT_S = 86_400.0  # what was sent is kept so long, for `sploot undo`
SWEEP_S = 3_600.0
PART = ".part-"
SENT = ".sent"
QUEUED = 0o400
UNNAMED = "picture"


class Drop:
    """Takes files into `folder`, which has no links in it. `run` sets right what a crash has left, and clears away."""

    def __init__(
        self, folder: Path, intake: Intake, server: Server, endpoints: Endpoints, *, clock: Clock, settle_s: float
    ) -> None:
        self._folder = folder
        self._intake = intake
        self._server = server
        self._endpoints = endpoints
        self._clock = clock
        self._settle_s = settle_s
        self._slots = asyncio.Semaphore(DROPS_MAX)
        self._held_bytes = 0
        self._settled = asyncio.Event()  # what an earlier daemon has left is not mixed up with what comes in
        self._log = logger("drop")

    def routes(self) -> list[BaseRoute]:
        return [Route("/v1/drop", self._endpoints.answering(self._put), methods=["PUT"])]

    async def run(self) -> None:
        try:
            await self._settle()
        except (OSError, SplootError) as error:
            self._log.warning("what was dropped could not be looked through", error=str(error))
        await self._sweep(KEPT_S)
        self._settled.set()
        while True:
            await asyncio.sleep(SWEEP_S)
            await self._sweep(KEPT_S)

    async def _settle(self) -> None:
        """What an earlier daemon was busy with."""
        for path in await asyncio.to_thread(_left, self._folder):
            outcome = await self._queue(path)
            self._log.info("queued what was dropped before", path=outcome.path, outcome=outcome.outcome)

    async def _sweep(self, kept_s: float) -> None:
        try:
            self._held_bytes = await asyncio.to_thread(_swept, self._folder, self._clock.now() - kept_s)
        except OSError as error:
            self._log.warning("what was dropped could not be cleared away", error=str(error))

    async def _put(self, http: Request) -> Response:
        async def change(key: str) -> dict[str, Any]:
            await self._settled.wait()
            async with self._slots:
                return await self._taken(http)

        return await self._endpoints.changed(http, change)

    async def _taken(self, http: Request) -> dict[str, Any]:
        name = cleaned(http.query_params.get("name", ""))
        limits = self._server.last_limits
        bytes_max = min(DROP_BYTES_MAX, limits.bytes_max) if limits else DROP_BYTES_MAX
        declared = http.headers.get("content-length", "")
        if declared and (not declared.isdecimal() or len(declared) > 18 or int(declared) > bytes_max):
            raise _too_large(name, bytes_max)
        await self._make_room(name, bytes_max)
        try:
            outcome = await self._queue(await self._written(http, name, bytes_max))
        except OSError as error:
            title = f"{name} was not taken: {error.strerror or error}"
            raise RequestError("no_room", title, "make room on the disk", status=507) from error
        kept = Path(outcome.path).name  # where copies lie is of no interest to whoever drops a file
        reason = outcome.detail and outcome.detail.replace(outcome.path, kept)
        return {"name": kept, "outcome": outcome.outcome, "id": outcome.item, "reason": reason}

    async def _make_room(self, name: str, needed: int) -> None:
        """RequestError unless `needed` bytes more may lie here, when nothing that was sent is kept any longer."""
        if self._held_bytes + needed <= FOLDER_BYTES_MAX:
            return
        await self._sweep(0.0)
        if self._held_bytes + needed > FOLDER_BYTES_MAX:
            title = f"{name} was not taken: {amount(self._held_bytes)} that were dropped wait to be sent"
            raise RequestError("no_room", title, "wait until some of it is sent", status=507)

    async def _written(self, http: Request, name: str, bytes_max: int) -> Path:
        """Where the whole body lies, under a name that nothing else has."""
        part = self._folder / f"{PART}{secrets.token_hex(8)}"
        stream = await asyncio.to_thread(_created, part)
        try:
            with stream:
                size = await _received(http, stream, bytes_max)
                if size > bytes_max:
                    raise _too_large(name, bytes_max)  # noqa: TRY301 - what was written goes, as with any other error
                # It has come to rest: nobody writes to it any more, so it need not settle.
                await asyncio.to_thread(_finished, stream, self._clock.now() - self._settle_s - 1.0)
            path = await asyncio.to_thread(_placed, part, name)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        self._held_bytes += size
        return path

    async def _queue(self, path: Path) -> PathOutcome:
        """Queue a copy; one that is no picture is not kept."""
        request = Add((str(path),), watch=False, priority="urgent", after=f"move:{self._folder / SENT}")
        (outcome,) = (await self._intake.add(request, f"drop {path} {secrets.token_hex(8)}")).paths
        if outcome.item is None:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        else:
            await asyncio.to_thread(path.chmod, QUEUED)
        return outcome


async def _received(http: Request, stream: BinaryIO, bytes_max: int) -> int:
    """Write the body down; how many bytes it has, or any number above `bytes_max` when that is not all of it."""
    size, held = 0, bytearray()
    async for piece in http.stream():
        size += len(piece)
        held += piece
        if size > bytes_max:
            return size
        if len(held) >= WRITE_BYTES:
            await asyncio.to_thread(stream.write, bytes(held))
            held.clear()
    await asyncio.to_thread(stream.write, bytes(held))
    return size


def cleaned(name: str) -> str:
    """A name for a file, of whatever a browser calls it: never a path, never hidden, nothing that does not show."""
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rstrip("/").rpartition("/")[2]
    shown = "".join(each for each in last if each.isprintable()).strip().lstrip(".").strip()
    stem, dot, extension = shown.rpartition(".")
    end = os.fsencode(dot + extension) if stem and len(os.fsencode(extension)) <= 16 else b""
    start = os.fsencode(shown)[: -len(end) or None][: NAME_BYTES_MAX - len(end)]
    return (start + end).decode("utf-8", "ignore") or UNNAMED


def _created(part: Path) -> BinaryIO:
    (part.parent / SENT).mkdir(mode=0o700, parents=True, exist_ok=True)
    part.parent.chmod(0o700)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    return open(descriptor, "wb")  # noqa: PTH123 - a descriptor, which the caller closes


def _finished(stream: BinaryIO, rested_at: float) -> None:
    stream.flush()
    os.utime(stream.fileno(), (rested_at, rested_at))
    os.fsync(stream.fileno())


def _placed(part: Path, name: str) -> Path:
    """Give it a name in its folder: `name`, or `name` with a number."""
    for candidate in numbered(name):
        with contextlib.suppress(FileExistsError):
            carry(part, part.parent / candidate)
            return part.parent / candidate
    raise OSError(errno.EEXIST, "there is no free name for it")


def _left(folder: Path) -> list[Path]:
    """What is whole and was never queued. What is not whole is taken away."""
    whole = []
    for path, status in _files(folder):
        if path.name.startswith(PART):
            path.unlink(missing_ok=True)
        elif status.st_mode & stat.S_IWUSR:
            whole.append(path)
    return sorted(whole)


def _swept(folder: Path, before: float) -> int:
    """Take away what was put away before that time. The bytes of all that is left."""
    left = sum(status.st_size for _, status in _files(folder))
    for path, status in _files(folder / SENT):
        if status.st_ctime < before:
            path.unlink(missing_ok=True)
        else:
            left += status.st_size
    return left


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    yield path, status


def _too_large(name: str, bytes_max: int) -> RequestError:
    title = f"{name} is larger than {amount(bytes_max)}, the most that is taken"
    return RequestError("too_large", title, "make it smaller", status=413)
