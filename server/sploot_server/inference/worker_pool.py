"""Supervision of worker processes: starts them on demand, detects crashes and timeouts, stops them when idle."""

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

from sploot_server.domain.embedding import (
    EmbedderUnavailable,
    EmbeddingModel,
    ImageAnalysis,
    UnreadableImage,
    Vectors,
    WorkerCrashed,
)
from sploot_server.inference.clip_manifest import ClipManifest
from sploot_server.inference.installed_encoders import ADDED, DIMS, ENCODER_REVISION, list_text_encoders
from sploot_server.inference.model_folder import PICTURE_MODEL, TEXT_ENCODER, by_kind
from sploot_server.inference.text_manifest import TextManifest

RESPONSE_BYTES_MAX = 1024 * 1024
START_S_MAX = 60.0
ANALYZE_S_MAX = 60.0  # per image; the median is a tenth of a second
QUERY_S_MAX = 10.0
QUERY_THREADS = 2  # a short query does not wait for a long one

# Several images at once use the cores better than several threads per image. By default, glibc creates up to eight
# malloc arenas per core, and freed memory stays in each of them.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}

OCR_MODEL = "pp-ocrv6-tiny-small"

logger = structlog.get_logger()


class WorkerEmbedder:
    """Embedder on two worker processes: a low-priority one for images and a small one for queries.

    The query worker starts in a quarter of a second, needs 100 MB instead of 350, and never waits for images. Queries
    do not run in the server process, which must survive a crash of native code.
    """

    def __init__(self, *, threads: int, idle_s: float, models: Sequence[Path] = ()) -> None:
        """Use the models in the folders `models`, at most one of a kind. Raises ModelUnusable."""
        self.threads = threads
        self.model = _embedding_model(models)
        model_arguments = [f"--model={folder}" for folder in models]
        self._image_worker = WorkerSupervisor(["--images", "--threads", str(threads), *model_arguments], idle_s)
        self._query_worker = WorkerSupervisor(["--threads", str(QUERY_THREADS), *model_arguments], idle_s)

    async def analyze_image(self, path: Path) -> ImageAnalysis:
        response = await self._ask_image_worker({"analyze": str(path)})
        return ImageAnalysis(
            response["text"],
            _decode_base64(response["text_vector"]),
            response["width"],
            response["height"],
            _decode_base64(response["image_vector"]),
            _decode_base64(response["dhash"]),
            base64.b64decode(response["colours"]),
            _decode_base64(response["thumbnail"]),
            response["hubness"],
            base64.b64decode(response["features"]),
            response["aspect_ratio"],
        )

    async def describe_picture(self, path: Path) -> tuple[bytes, bytes]:
        response = await self._ask_image_worker({"describe": str(path)})
        return base64.b64decode(response["features"]), base64.b64decode(response["mirrored"])

    async def _ask_image_worker(self, request: dict[str, Any]) -> dict[str, Any]:
        response = await self._image_worker.send_request(request, ANALYZE_S_MAX)
        if "unreadable" in response:
            raise UnreadableImage(response["unreadable"])
        if "error" in response:
            raise RuntimeError(response["error"])
        return response

    async def embed_query(self, text: str) -> Vectors:
        if self.model.dim == self.model.image_dim == 0:
            raise EmbedderUnavailable("No text encoder is installed.")
        try:
            response = await self._query_worker.send_request({"embed_query": text}, QUERY_S_MAX)
        except WorkerCrashed as error:
            raise EmbedderUnavailable(str(error)) from error
        if "error" in response:
            raise EmbedderUnavailable(response["error"])
        return Vectors(_decode_base64(response["text"]), _decode_base64(response["image"]), response["background"])

    async def close(self) -> None:
        await asyncio.gather(self._image_worker.stop(), self._query_worker.stop())


def _embedding_model(models: Sequence[Path]) -> EmbeddingModel:
    folders = by_kind(models)
    added = TextManifest.read(folders[TEXT_ENCODER]) if TEXT_ENCODER in folders else None
    clip = ClipManifest.read(folders[PICTURE_MODEL]) if PICTURE_MODEL in folders else None
    names, dims = {each: each for each in DIMS}, dict(DIMS)
    if added is not None:
        names[ADDED], dims[ADDED] = f"{added.name}-{added.revision}", added.dim
    text_encoders = list_text_encoders(has_added=added is not None)
    dim = sum(dims[each] for each in text_encoders)
    name = "/".join([OCR_MODEL, *(names[each] for each in text_encoders), f"r{ENCODER_REVISION}"])
    if clip is None:
        return EmbeddingModel(name, dim)
    return EmbeddingModel(f"{name}/{clip.name}-{clip.revision}", dim, clip.dim, clip.cosine_range)


def _decode_base64(encoded: str | None) -> bytes | None:
    return None if encoded is None else base64.b64decode(encoded)


class WorkerSupervisor:
    """Runs at most one worker process and stops it after `idle_s` without requests."""

    def __init__(self, arguments: Sequence[str], idle_s: float) -> None:
        self._arguments = arguments
        self._idle_s = idle_s
        self._ids = itertools.count()
        self._start_lock = asyncio.Lock()
        self._running: _WorkerProcess | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    async def send_request(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send one request; start the process if it is not running. Raises WorkerCrashed or EmbedderUnavailable."""
        process = await self._ensure_process()
        try:
            return await process.send_request(next(self._ids), request, timeout_s)
        finally:
            self._schedule_idle_stop()

    async def stop(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._running is not None:
            await self._running.stop()

    async def _ensure_process(self) -> "_WorkerProcess":
        async with self._start_lock:
            if self._running is None or self._running.has_ended:
                self._running = await _WorkerProcess.start(self._arguments)
            return self._running

    def _schedule_idle_stop(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._idle_timer = asyncio.get_running_loop().call_later(self._idle_s, self._stop_if_idle)

    def _stop_if_idle(self) -> None:
        if self._running is not None and not self._running.is_busy:
            self._running.close_stdin()


class _WorkerProcess:
    """A running worker; its exit fails all pending requests."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._pending: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader_task = asyncio.create_task(self._read_responses())
        self._timed_out = False
        self.has_ended = False

    @classmethod
    async def start(cls, arguments: Sequence[str]) -> "_WorkerProcess":
        """Start the process and wait until it is ready. Raises EmbedderUnavailable."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # do not import modules from the working directory
            "-m",
            "sploot_server.inference.worker_main",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=RESPONSE_BYTES_MAX,
            env={**os.environ, **ENVIRONMENT},
        )
        self = cls(process)
        try:
            async with asyncio.timeout(START_S_MAX):
                await self._ready
        except (TimeoutError, EmbedderUnavailable) as error:
            await self.stop()
            raise EmbedderUnavailable("The worker did not start; the log has the reason.") from error
        except asyncio.CancelledError:
            await self.stop()
            raise
        logger.info("worker started", pid=process.pid, arguments=list(arguments))
        return self

    @property
    def is_busy(self) -> bool:
        return bool(self._pending)

    async def send_request(self, request_id: int, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        self._pending[request_id] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": request_id, **request}).encode() + b"\n")
        try:
            async with asyncio.timeout(timeout_s):
                return await self._pending[request_id]
        except TimeoutError as error:
            self._timed_out = True
            self.kill()
            raise WorkerCrashed(f"The request exceeded its limit of {timeout_s:.0f} s.", is_isolated=True) from error
        finally:
            del self._pending[request_id]

    def close_stdin(self) -> None:
        """Close the worker's input, at the end of which it exits."""
        self.has_ended = True
        assert self._process.stdin is not None
        self._process.stdin.close()

    def kill(self) -> None:
        self.has_ended = True
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self) -> None:
        """Kill the process and wait for its exit; it holds no state that could be lost."""
        self.close_stdin()
        self.kill()
        await self._reader_task

    async def _read_responses(self) -> None:
        """Dispatch responses until the process closes its output, then fail the pending requests."""
        assert self._process.stdout is not None
        try:
            while line := await self._process.stdout.readline():
                self._dispatch(json.loads(line))
        except ValueError:  # invalid JSON, or a line longer than RESPONSE_BYTES_MAX
            logger.exception("malformed worker response", pid=self._process.pid)
            self.kill()
        self.has_ended = True
        exit_code = await self._process.wait()
        self._fail_pending(exit_code)

    def _dispatch(self, response: dict[str, Any]) -> None:
        if "ready" in response:
            if not self._ready.done():  # `start` may have been cancelled
                self._ready.set_result(None)
            return
        future = self._pending.get(response["id"])
        if future is not None and not future.done():
            future.set_result(response)

    def _fail_pending(self, exit_code: int) -> None:
        unanswered = [future for future in self._pending.values() if not future.done()]
        if not self._ready.done():
            self._ready.set_exception(EmbedderUnavailable(f"The worker exited with {exit_code} before it was ready."))
        log = logger.warning if unanswered else logger.info
        log("worker exited", pid=self._process.pid, exit_code=exit_code, unanswered=len(unanswered))
        is_isolated = len(unanswered) == 1 and not self._timed_out
        for future in unanswered:
            future.set_exception(
                WorkerCrashed(f"The worker process crashed on this request ({exit_code}).", is_isolated=is_isolated)
            )
