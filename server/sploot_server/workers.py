"""Worker processes as the server sees them: started on demand, watched over, stopped when idle."""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from sploot_server.embedding import Lost, Model, Reading, Unavailable, Unreadable, Vectors
from sploot_server.manifest import Manifest
from sploot_server.models import DIM, REVISION, installed

ANSWER_BYTES_MAX = 1024 * 1024
START_S_MAX = 60.0
READ_S_MAX = 60.0  # one picture; the median is a tenth of a second
QUERY_S_MAX = 10.0

# One thread per picture beats several threads for one; few malloc arenas keep the memory of the sessions together.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}

READER = "pp-ocrv6-small"

logger = structlog.get_logger()


class WorkerEmbedder:
    """Embedder on two kinds of worker: one niced process for pictures, one small one for queries.

    Queries have a process of their own because it is there in a quarter of a second, needs 100 MB instead of 350, and
    never waits behind pictures; and not the server itself, which must outlive a crash of young native code.
    """

    def __init__(self, *, threads: int, idle_s: float, model: Path | None = None) -> None:
        """`model` is the folder of a model that knows pictures. Raises ModelUnusable."""
        self.threads = threads
        self.model = _model(None if model is None else Manifest.read(model))
        chosen = [] if model is None else ["--model", str(model)]
        self._pictures = Worker(["--pictures", "--threads", str(threads), *chosen], idle_s)
        self._queries = Worker(chosen, idle_s)

    async def read(self, picture: Path) -> Reading:
        answer = await self._pictures.ask({"read": str(picture)}, READ_S_MAX)
        if "unreadable" in answer:
            raise Unreadable(answer["unreadable"])
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return Reading(
            answer["text"],
            _bytes(answer["vector"]),
            answer["width"],
            answer["height"],
            _bytes(answer["picture"]),
            _bytes(answer["look"]),
        )

    async def query(self, text: str) -> Vectors:
        if self.model.dim == self.model.picture_dim == 0:
            raise Unavailable("No model of meaning is installed.")
        try:
            answer = await self._queries.ask({"query": text}, QUERY_S_MAX)
        except Lost as error:
            raise Unavailable(str(error)) from error
        if "error" in answer:
            raise Unavailable(answer["error"])
        return Vectors(_bytes(answer["text"]), _bytes(answer["picture"]))

    async def close(self) -> None:
        await asyncio.gather(self._pictures.stop(), self._queries.stop())


def _model(pictures: Manifest | None) -> Model:
    meanings = installed()
    name = "/".join([READER, *meanings, f"r{REVISION}"])
    if pictures is None:
        return Model(name, DIM * len(meanings))
    named = f"{name}/{pictures.name}-{pictures.revision}"
    return Model(named, DIM * len(meanings), pictures.dim, pictures.cosines)


def _bytes(encoded: str | None) -> bytes | None:
    return None if encoded is None else base64.b64decode(encoded)


class Worker:
    """One process, or none at the moment."""

    def __init__(self, arguments: Sequence[str], idle_s: float) -> None:
        self._arguments = arguments
        self._idle_s = idle_s
        self._ids = itertools.count()
        self._starting = asyncio.Lock()
        self._running: _Process | None = None
        self._idle: asyncio.TimerHandle | None = None

    async def ask(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send one request, starting the process if there is none. Raises Lost or Unavailable."""
        process = await self._process()
        try:
            return await process.ask(next(self._ids), request, timeout_s)
        finally:
            self._rest_later()

    async def stop(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        if self._running is not None:
            await self._running.stop()

    async def _process(self) -> "_Process":
        async with self._starting:
            if self._running is None or self._running.ended:
                self._running = await _Process.start(self._arguments)
            return self._running

    def _rest_later(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._rest)

    def _rest(self) -> None:
        if self._running is not None and not self._running.busy:
            self._running.end_input()


class _Process:
    """A started worker. Its death answers all that it still owed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._owed: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listener = asyncio.create_task(self._listen())
        self._took_too_long = False
        self.ended = False

    @classmethod
    async def start(cls, arguments: Sequence[str]) -> "_Process":
        """Raises Unavailable if the process does not come up."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the working folder is nobody's module path
            "-m",
            "sploot_server.worker",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=ANSWER_BYTES_MAX,
            env={**os.environ, **ENVIRONMENT},
        )
        self = cls(process)
        try:
            async with asyncio.timeout(START_S_MAX):
                await self._ready
        except (TimeoutError, Unavailable) as error:
            await self.stop()
            raise Unavailable("The worker did not start; the log says why.") from error
        except asyncio.CancelledError:
            await self.stop()
            raise
        logger.info("worker started", pid=process.pid, arguments=list(arguments))
        return self

    @property
    def busy(self) -> bool:
        return bool(self._owed)

    async def ask(self, number: int, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        self._owed[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": number, **request}).encode() + b"\n")
        try:
            async with asyncio.timeout(timeout_s):
                return await self._owed[number]
        except TimeoutError as error:
            self._took_too_long = True
            self.kill()
            raise Lost(f"It took longer than {timeout_s:.0f} s to read.", alone=True) from error
        finally:
            del self._owed[number]

    def end_input(self) -> None:
        """Let the process end by itself."""
        self.ended = True
        assert self._process.stdin is not None
        self._process.stdin.close()

    def kill(self) -> None:
        self.ended = True
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self) -> None:
        """End it at once: it keeps nothing, so there is nothing to lose."""
        self.end_input()
        self.kill()
        await self._listener

    async def _listen(self) -> None:
        """Pass answers on until the end of the process's output, then settle what is left."""
        assert self._process.stdout is not None
        try:
            while line := await self._process.stdout.readline():
                self._hear(json.loads(line))
        except ValueError:  # not our protocol, or a line beyond the limit
            logger.exception("worker talks nonsense", pid=self._process.pid)
            self.kill()
        self.ended = True
        code = await self._process.wait()
        self._settle(code)

    def _hear(self, answer: dict[str, Any]) -> None:
        if "ready" in answer:
            if not self._ready.done():  # whoever started it may have been cancelled meanwhile
                self._ready.set_result(None)
            return
        owed = self._owed.get(answer["id"])
        if owed is not None and not owed.done():
            owed.set_result(answer)

    def _settle(self, code: int) -> None:
        unanswered = [owed for owed in self._owed.values() if not owed.done()]
        if not self._ready.done():
            self._ready.set_exception(Unavailable(f"The worker ended with {code} before it was ready."))
        log = logger.warning if unanswered else logger.info
        log("worker ended", pid=self._process.pid, code=code, unanswered=len(unanswered))
        alone = len(unanswered) == 1 and not self._took_too_long
        for owed in unanswered:
            owed.set_exception(Lost(f"The program that reads pictures broke down on it ({code}).", alone=alone))
